# make demo   create the environment, install, draw a data set, train, evaluate, and write a report
# make test   check format, lint and types; run the tests on three backends and, in part, on the lowest versions
# make peers  regenerate the stored outputs of smp, and run the comparisons that need other libraries
# make check  check format, lint and types

PYTHON ?= python3
BIN := .venv/bin
export MPLBACKEND := Agg
export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The CPU-only wheel exists for Linux on x86-64. On other platforms, the standard wheel has no CUDA and is small.
TENSORFLOW := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),tensorflow-cpu,tensorflow)

# Tests that run on every backend. Other tests do not depend on the backend, or start processes with another one.
ON_EACH_BACKEND := tests/losses tests/metrics tests/rewrite/test_fused_norm.py \
    tests/networks/test_attention.py tests/networks/test_bilinear_upsampling.py tests/networks/test_cell_pooling.py \
    tests/training/test_checkpoint.py tests/training/test_muon.py tests/training/test_precise_bn.py \
    tests/training/test_train_step.py tests/training/test_weight_averaging.py tests/weights/test_input_channels.py

# Tests that run on the lowest declared versions: reading and writing images, values of losses and metrics, and commands
# that train, evaluate and predict with a small network.
ON_LOWEST_VERSIONS := tests/images/test_read_image.py tests/images/test_read_mask.py tests/images/test_read_tiff.py \
    tests/images/test_write.py tests/losses/test_values.py tests/metrics/test_scores.py \
    tests/metrics/test_keras_scores.py tests/weights/test_keras_file.py tests/cli/test_application.py \
    tests/cli/test_check.py tests/cli/test_train.py tests/cli/test_evaluate.py tests/cli/test_predict.py

# Two processes, each of which runs whole test files: much of the time, a test uses one core only.
TWO_PROCESSES := -n 2 --dist loadfile

.PHONY: demo test test-lowest peers check clean

.venv/demo.installed: pyproject.toml requirements/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else "TensorFlow needs Python 3.11 to 3.13, found " + sys.version.split()[0] + "; choose another with make PYTHON=python3.12")'
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

test: check test-lowest
	KERAS_BACKEND=tensorflow $(BIN)/pytest $(TWO_PROCESSES)
	KERAS_BACKEND=jax $(BIN)/pytest $(TWO_PROCESSES) $(ON_EACH_BACKEND)
	KERAS_BACKEND=torch $(BIN)/pytest $(ON_EACH_BACKEND)

.venv-lowest/installed: pyproject.toml requirements/lowest.txt
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install -q -c requirements/lowest.txt -e '.[train]' $(TENSORFLOW) pytest hypothesis
	touch $@

test-lowest: .venv-lowest/installed
	KERAS_BACKEND=tensorflow .venv-lowest/bin/pytest $(ON_LOWEST_VERSIONS)

.venv-smp/installed:
	$(PYTHON) -m venv .venv-smp
	.venv-smp/bin/python -m pip install -q torch==2.14.1 torchvision==0.29.1 segmentation-models-pytorch==0.6.0
	touch $@

# REFERENCE_TESTS: the `tests` folder of a clone of https://github.com/qubvel/segmentation_models (optional).
peers: .venv/test.installed .venv-smp/installed
	.venv-smp/bin/python tests/peers/smp_reference.py
	MASKWRIGHT_SMP_PYTHON=.venv-smp/bin/python $(BIN)/pytest tests/peers
	$(BIN)/python benchmarks/equality_legacy.py --peer-python $(BIN)/python --markdown .venv-smp/equality_legacy.md
	$(BIN)/python benchmarks/equality_smp.py --peer-python .venv-smp/bin/python --markdown .venv-smp/equality_smp.md
	test -z "$(REFERENCE_TESTS)" || PYTHONPATH=tests/peers/alias $(BIN)/pytest --import-mode=prepend -p no:cacheprovider \
	    -c /dev/null --rootdir=$(REFERENCE_TESTS) $(REFERENCE_TESTS)/test_models.py $(REFERENCE_TESTS)/test_metrics.py

clean:
	rm -rf .venv .venv-lowest .venv-smp demo .pytest_cache .mypy_cache .ruff_cache
