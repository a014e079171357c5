# `make demo` and `make test` do all of their own set-up in .venv.
PYTHON ?= python3
OLDEST ?= python3.10
BIN := .venv/bin
# One thread for each of pytest's processes: small networks gain nothing from more.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto

.PHONY: demo test test-quick test-oldest lint clean

demo: .venv/ready
	$(BIN)/ganaug demo --out demo

test: lint
	$(PYTEST) -m "not long"

test-quick: .venv/ready-dev
	$(PYTEST) -m "not slow"

# The quick part on the oldest Python and the lower bounds of pyproject.toml.
test-oldest: .venv-oldest/ready
	OMP_NUM_THREADS=1 .venv-oldest/bin/pytest -n auto -m "not slow" --ignore tests/device  # torch 2.6 has no backends in Python

lint: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/ready-dev: .venv/ready
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

.venv-oldest/ready: pyproject.toml .ci/oldest.py
	$(OLDEST) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet tomli packaging
	.venv-oldest/bin/python .ci/oldest.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/pip install --quiet --editable ".[test]" --constraint .venv-oldest/constraints.txt
	touch $@

clean:
	rm -rf .venv .venv-oldest demo build dist
