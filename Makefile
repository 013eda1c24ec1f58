# make demo   environment, install, train on an embedded data set, scores, report
# make test   the same environment, then format, lint, types and the whole suite on three backends
# make check  format, lint and types only

PYTHON ?= python3
BIN := .venv/bin
export MPLBACKEND := Agg
export TF_CPP_MIN_LOG_LEVEL := 3
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# TensorFlow's CPU wheel exists for Linux on x86-64; elsewhere the ordinary one is small.
TENSORFLOW := $(if $(filter Linux-x86_64,$(shell uname -sm | tr ' ' -)),tensorflow-cpu,tensorflow)

# What runs on every backend; the other tests start processes of other backends by themselves, or need none.
ANYWHERE := tests/losses tests/metrics tests/data/test_augment.py tests/training/test_recalibrate.py \
            tests/training/test_checkpoint.py

.PHONY: demo test check clean

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
	KERAS_BACKEND=tensorflow $(BIN)/pytest
	KERAS_BACKEND=jax $(BIN)/pytest $(ANYWHERE)
	KERAS_BACKEND=torch $(BIN)/pytest $(ANYWHERE)

clean:
	rm -rf .venv demo .pytest_cache .mypy_cache .ruff_cache
