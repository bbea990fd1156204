# Everything that CI calls. `make setup` needs Python 3.11+, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=

.PHONY: setup demo demo-quick test test-slow lint format bench package clean

setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m demo $(if $(DATA),--data $(DATA))

demo-quick: setup
	$(BIN)/python -m demo --quick

test: setup
	$(BIN)/python -m pytest -m 'not slow and not bench'

test-slow: setup
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m pytest -m bench

package: setup
	rm -rf dist
	$(BIN)/python -m build --wheel --sdist --outdir dist .

clean:
	rm -rf $(VENV) dist build demo/out
