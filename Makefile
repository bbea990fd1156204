# Everything that CI calls. `make setup` needs Python 3.11+, pip and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=

.PHONY: setup demo demo-quick test test-slow fuzz lint format bench bench-fleet bench-generator package clean

setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m demo $(if $(DATA),--data $(DATA))

demo-quick: setup
	$(BIN)/python -m demo --quick

# One thread a process: two workers fill two cores.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow and not bench' -n 2 --dist worksteal

test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --timeout 3600

# Coverage-guided, every decoder of bytes from outside; what breaks one is left in fuzz-out/.
FUZZ_SECONDS ?= 60
fuzz: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.common.fuzz.run --seconds $(FUZZ_SECONDS) --jobs 2 $(FUZZ)

# docs/limits.md from the sources.
limits: setup
	$(BIN)/python -m tests.common.limits_page

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.privacy
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.ledger

# Memory for a package of 1 GB; a campaign over 100 nodes. Needs 5 GB of memory and disk.
bench-fleet: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.large_package
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.fleet_load

# QUICK=1: a smaller zoo, fewer data sets and seeds. Goes on where it stopped.
BENCH_HOME := bench/out/$(if $(QUICK),quick,full)
BENCH_PLAN := $(if $(QUICK),demo,default)
bench-generator: setup
	test -d $(BENCH_HOME) || $(BIN)/wg-server init --home $(BENCH_HOME) --port 0
	OMP_NUM_THREADS=1 $(BIN)/wg-server zoo build --home $(BENCH_HOME) --plan $(BENCH_PLAN) --workers 2
	OMP_NUM_THREADS=1 $(BIN)/wg-server train --home $(BENCH_HOME) --plan $(BENCH_PLAN)
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.generator --home $(BENCH_HOME) $(if $(QUICK),--quick) --workers 2 \
	  $(if $(DATA),--datasets $(DATA)) --results $(BENCH_HOME)/results.jsonl --cache $(BENCH_HOME)/cache \
	  --table $(BENCH_HOME)/table.md --plots $(BENCH_HOME)/plots
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.generator_speed --home $(BENCH_HOME)

package: setup
	rm -rf dist
	$(BIN)/python -m build --wheel --sdist --outdir dist .

clean:
	rm -rf $(VENV) dist build demo/out bench/out
