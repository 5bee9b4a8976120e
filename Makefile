# Everything sets itself up: a machine with Python >= 3.11, pip and make is enough.
PYTHON ?= python3
BIN := .venv/bin
JOBS ?= 2

.PHONY: demo test check bench results pages golden papers clean

demo: .venv/.core  ## four strategies, three seeds, on scikit-learn's digits; ends with a table and the path of the report
	@$(BIN)/clframe run --scenario split-digits --strategy finetune,lwf,ewc,er --seeds 3 --epochs 3 --out demo

test: .venv/.test  ## the default tests
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not browser"

check: .venv/.dev  ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.bench  ## ratios against hand-written loops and, where it installs, Avalanche
	$(BIN)/python -m benchmarks

results: .venv/.core  ## the table of methods: about an hour of two cores; needs DATA_DIR with mnist.npz and fashion-mnist.npz
	$(BIN)/python -m papers.methods.run --data-dir "$(DATA_DIR)"
	$(BIN)/python -m papers.methods.frozen_features --data-dir "$(DATA_DIR)"
	$(BIN)/python -m papers.methods.pages

pages: .venv/.core  ## the method pages again, from docstrings, results and costs
	$(BIN)/python -m papers.methods.pages

golden: .venv/.test  ## record the golden curves again, on purpose
	$(BIN)/python tests/golden/golden_curves.py

clean:
	rm -rf .venv demo

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("clframe needs Python >= 3.11; give another one with: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv

.venv/.core: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.test: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ .venv/.core

.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ .venv/.core .venv/.test

.venv/.bench: .venv/.core
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[avalanche]'
	@touch $@
