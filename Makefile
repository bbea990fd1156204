# Everything that CI calls. `make setup` needs Python 3.11+ with venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?=
# The lock, requirements/dev.txt, has every package by hash, for this version of Python. It is used where it fits;
# LOCKED= on the command line does without it.
LOCK_PYTHON := 3.11
VERSION = $(shell $(PYTHON) -c 'import sys; print(*sys.version_info[:2], sep=".")')
LOCKED ?= $(if $(filter $(LOCK_PYTHON),$(VERSION)),1)
# Not in the lock, and not hashed: their builds differ by machine (CPU, CUDA), and so do the hashes.
TORCH := 'torch>=2.6,<2.16' 'torchvision>=0.21,<0.30'
EPOCH := $(shell git log -1 --format=%ct 2>/dev/null || echo 1577836800)

.PHONY: setup demo test test-slow test-browser test-bounds test-lowest test-newest docs fuzz limits lint format bench bench-fleet bench-generator package lock sizes sbom audit-deps clean

setup: $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
ifneq ($(strip $(LOCKED)),)
	@echo 'packages as in requirements/dev.txt, by hash; torch and torchvision without: their builds differ by machine'
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps $(TORCH)
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
else
	@echo 'warning: the newest packages that pyproject.toml allows, without hashes: the lock is for Python $(LOCK_PYTHON), this is $(VERSION)'
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
endif
	touch $@

# LANGUAGE=ja: in Japanese. Where make alone says it: GNU gettext has a variable of that name.
IN := $(if $(findstring command,$(origin LANGUAGE)),--language $(LANGUAGE))
demo: setup
	$(BIN)/python -m demo $(IN)

# One thread a process: three workers fill two cores, since many tests wait for other processes.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow and not bench' -n 3 --dist worksteal

test-slow: setup build/node_modules/axe-core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --timeout 3600

# The console in Chromium (Debian: chromium); part of test-slow.
test-browser: setup build/node_modules/axe-core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/browser

# Before a release: the default suite at both ends of pyproject.toml's bounds, in environments of their own;
# prints the table of docs/operations.md. torch is PyPI's build: 7 GB of disk an end. uv came with flwr.
RESOLUTION_lowest := lowest-direct
RESOLUTION_newest := highest
test-bounds: test-lowest test-newest
	$(BIN)/python requirements/bounds.py build/lowest.txt build/newest.txt

test-lowest test-newest: test-%: setup
	mkdir -p build
	$(BIN)/uv pip compile --quiet --upgrade --no-header --no-annotate --resolution $(RESOLUTION_$*) \
	  --extra test --output-file build/$*.txt pyproject.toml
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/$*
	$(BIN)/uv pip install --quiet --python build/$*/bin/python --requirement build/$*.txt
	$(BIN)/uv pip install --quiet --python build/$*/bin/python --no-deps --no-build-isolation --editable .
	OMP_NUM_THREADS=1 build/$*/bin/python -m pytest -m 'not slow and not bench' -n 3 --dist worksteal

# axe-core (MPL-2.0) finds barriers on pages. A file for tests: in no package, and skipped where npm is missing.
AXE := axe-core@4.14.1
build/node_modules/axe-core:
	mkdir -p build
	-npm install --silent --no-save --no-audit --ignore-scripts --prefix build $(AXE)

# The documentation as a site that needs no network: build/site/index.html. Strict: a broken link or anchor ends it.
# A virtual environment of its own: the generator is no part of what is tested or released.
SITE := zensical==0.0.73
docs: build/docs-venv/.stamp
	$(PYTHON) requirements/docs_site.py build/docs-pages
	build/docs-venv/bin/zensical build --clean --strict

build/docs-venv/.stamp: Makefile
	$(PYTHON) -m venv build/docs-venv
	build/docs-venv/bin/python -m pip install --quiet $(SITE)
	touch $@

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

# A campaign over 100 nodes, and one under attack.
bench-fleet: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.fleet --nodes 100
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.hostile --parts server

# QUICK=1: a smaller zoo, fewer data sets and seeds. Goes on where it stopped.
BENCH_HOME := bench/out/$(if $(QUICK),quick,full)
BENCH_PLAN := $(if $(QUICK),demo,default)
bench-generator: setup
	test -d $(BENCH_HOME) || $(BIN)/wg-server init --home $(BENCH_HOME) --port 0
	OMP_NUM_THREADS=1 $(BIN)/wg-server zoo build --home $(BENCH_HOME) --plan $(BENCH_PLAN) --workers 2
	OMP_NUM_THREADS=1 $(BIN)/wg-server train --home $(BENCH_HOME) --plan $(BENCH_PLAN) || test $$? -eq 6 # a card that fails is shown
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.generator --home $(BENCH_HOME) $(if $(QUICK),--quick) --workers 2 \
	  $(if $(DATA),--datasets $(DATA)) --results $(BENCH_HOME)/results.jsonl --cache $(BENCH_HOME)/cache \
	  --table $(BENCH_HOME)/table.md
	OMP_NUM_THREADS=1 $(BIN)/python -m bench.generator_speed --home $(BENCH_HOME)

# Twice, and the same bytes: whoever builds this commit gets the files that were released.
package: setup
	rm -rf dist build/again
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build --no-isolation --wheel --sdist --outdir dist .
	SOURCE_DATE_EPOCH=$(EPOCH) $(BIN)/python -m build --no-isolation --wheel --sdist --outdir build/again .
	for file in dist/*; do cmp $$file build/again/$$(basename $$file) || exit 1; done
	cd dist && sha256sum * > SHA256SUMS

# requirements/dev.txt: every package that CI and a release use, by version and hash.
lock: setup
	CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-emit-options \
	  --unsafe-package torch --unsafe-package torchvision --extra dev --output-file requirements/dev.txt pyproject.toml
	sed -i -e '/^# WARNING: pip install/d' -e '/^# Consider using a hashable/d' \
	  -e '/^weightgate @ file/,/via weightgate/d' -e '/^# WARNING: The following/,$$d' requirements/dev.txt

# What is installed, as CycloneDX, and the licence of each component.
sbom: setup
	mkdir -p dist
	$(BIN)/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible \
	  --output-format JSON --output-file dist/sbom.cdx.json
	$(BIN)/python requirements/licences.py dist/sbom.cdx.json dist/licences.txt

# How large an installation is: auditor, plant, server; of what is installed here.
sizes: setup
	$(BIN)/python requirements/sizes.py

# Known weaknesses of locked packages. News must not break a build, so they are a warning; so is what was not looked
# up, of which nothing is known.
audit-deps: setup
	mkdir -p build
	timeout 120 $(BIN)/pip-audit --requirement requirements/dev.txt --require-hashes --disable-pip \
	  --progress-spinner off --timeout 15 > build/audit-deps.txt 2>&1 \
	  || echo 'warning: known weaknesses, or the advisory database cannot be reached:'
	@grep -v -e 'could not be audited' -e '^No known vulnerabilities' build/audit-deps.txt || true
	@missed=$$(grep -c 'could not be audited' build/audit-deps.txt); \
	  if [ "$$missed" != 0 ]; then echo "warning: $$missed packages were not looked up; nothing is known of them"; \
	  else grep '^No known vulnerabilities' build/audit-deps.txt || echo 'warning: this is no all-clear'; fi

clean:
	rm -rf $(VENV) dist build demo/out bench/out
