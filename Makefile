# make demo   environment, install, train on an embedded data set, scores, report
# make test   the same environment, then format, lint, types and the whole suite on three backends
# make peers  regenerate the stored outputs of smp, then compare with libraries that need an environment of their own
# make check  format, lint and types only

PYTHON ?= python3
BIN := .venv/bin
export MPLBACKEND := Agg
export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# TensorFlow's CPU wheel exists for Linux on x86-64; elsewhere the ordinary one is small.
TENSORFLOW := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),tensorflow-cpu,tensorflow)

# What runs on every backend; the other tests start processes of other backends by themselves, or need none.
ANYWHERE := tests/losses tests/metrics tests/training/test_precise_bn.py tests/training/test_train_step.py tests/rewrite/test_fused_norm.py \
            tests/training/test_checkpoint.py tests/training/test_weight_averaging.py tests/training/test_muon.py \
            tests/networks/test_bilinear_upsampling.py tests/networks/test_cell_pooling.py \
            tests/networks/test_attention.py tests/weights/test_input_channels.py

# Two processes, each of which takes whole files: loading a framework and training use one core half of the time.
IN_TWO := -n 2 --dist loadfile

.PHONY: demo test peers check clean

.venv/demo.installed: pyproject.toml requirements/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "TensorFlow needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + ": give one with make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q -c requirements/constraints.txt -e '.[train]' $(TENSORFLOW)
	touch $@

.venv/test.installed: .venv/demo.installed requirements/test.txt requirements/peer.txt
	$(BIN)/python -m pip install -q -c requirements/constraints.txt -r requirements/test.txt
	$(BIN)/python -m pip install -q --no-deps -c requirements/constraints.txt -r requirements/peer.txt
	touch $@

demo: .venv/demo.installed
	$(BIN)/maskwright demo --out demo --overwrite

check: .venv/test.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: check
	KERAS_BACKEND=tensorflow $(BIN)/pytest $(IN_TWO)
	KERAS_BACKEND=jax $(BIN)/pytest $(IN_TWO) $(ANYWHERE)
	KERAS_BACKEND=torch $(BIN)/pytest $(ANYWHERE)

.venv-smp/installed:
	$(PYTHON) -m venv .venv-smp
	.venv-smp/bin/python -m pip install -q torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0
	touch $@

# REFERENCE_TESTS names the `tests` folder of a clone of https://github.com/qubvel/segmentation_models, if there is one.
peers: .venv/test.installed .venv-smp/installed
	.venv-smp/bin/python tests/peers/smp_reference.py
	MASKWRIGHT_SMP_PYTHON=.venv-smp/bin/python $(BIN)/pytest tests/peers
	$(BIN)/python benchmarks/equality_legacy.py --peer-python $(BIN)/python --markdown .venv-smp/equality_legacy.md
	$(BIN)/python benchmarks/equality_smp.py --peer-python .venv-smp/bin/python --markdown .venv-smp/equality_smp.md
	test -z "$(REFERENCE_TESTS)" || PYTHONPATH=tests/peers/alias $(BIN)/pytest --import-mode=prepend -p no:cacheprovider \
	    -c /dev/null --rootdir=$(REFERENCE_TESTS) $(REFERENCE_TESTS)/test_models.py $(REFERENCE_TESTS)/test_metrics.py

clean:
	rm -rf .venv .venv-smp demo .pytest_cache .mypy_cache .ruff_cache
