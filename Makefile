# forkpolicy from a checkout. `make demo` shows it at work, `make test` proves it, `make help` lists the rest.
# Every target may be run again at any time: it does what is missing and nothing else.

# Debian's Python before any other, because it is built with profile-guided optimisation (loadtest/measure/interpreter.py).
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell /usr/bin/python3 -c '$(RECENT)' 2>/dev/null && /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null \
	&& echo /usr/bin/python3 || echo python3)
# Servers run with the turn of a connection in C; these tests run again with it in Python (forkpolicy/worker/implementation.py).
IN_PYTHON := $(addprefix tests/process/test_,at_once.py hot_swap.py life.py upgrade.py)
# Files that start no servers and measure no time run next to each other; the others run one after the other.
AT_ONCE := -n auto --maxprocesses 4 --dist loadfile tests/unit tests/qa tests/property
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test lint loadtest bench sanitize postfix servers clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1:/p' Makefile | column -t -s: 2>/dev/null || sed -n 's/^\([a-z]*\):.*## /\1: /p' Makefile

demo: $(VENV)/.installed ## install, start a server in the checkout, send it the founding requests, explain each verdict
	@$(BIN)/python -m loadtest demo

test: $(VENV)/.installed-dev postfix servers ## every test; as root it installs the servers that they need
ifdef PYTEST_ARGS
	$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	$(BIN)/python -m pytest $(AT_ONCE)
	$(BIN)/python -m pytest tests/postfix tests/process
	FORKPOLICY_PURE=1 $(BIN)/python -m pytest $(IN_PYTHON)
endif

lint: $(VENV)/.installed-dev ## style, types, import contracts, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

loadtest: $(VENV)/.installed-dev postfix ## a small day of mail through a real Postfix, every verdict checked
	$(BIN)/python -m loadtest day --profile small --report demo/loadtest

bench: $(VENV)/.installed-dev ## CPU per request of one worker, next to bare echo servers; with AGAINST=COMMIT also to that commit
	$(BIN)/python -m loadtest bench $(if $(AGAINST),--against $(AGAINST))

sanitize: $(VENV)/.installed-dev ## the tests of the part in C with the compiler's sanitizers of memory and undefined behaviour
	$(BIN)/python -m tests.sanitize

postfix:
	@sh tests/postfix/install.sh

servers:
	@sh tests/servers.sh

clean: ## remove what these targets made
	rm -rf $(VENV) demo build dist *.egg-info forkpolicy/worker/*.so

$(BIN)/pip:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing: apt-get install python3 python3-venv" >&2; exit 1; }
	@$(PYTHON) -c '$(RECENT)' || { echo "$(PYTHON) is older than 3.11: set PYTHON=/path/to/python3.11 or newer" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "python3-venv is missing: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'from loadtest.measure import interpreter; interpreter.optimised() or print(interpreter.NOT_OPTIMISED)'
	$(PYTHON) -m venv $(VENV)

# Order-only: a newer pip is no reason to install again, a changed pyproject.toml is.
$(VENV)/.installed: pyproject.toml forkpolicy/worker/_turn.c | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[terminal]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml Makefile forkpolicy/worker/_turn.c | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[dev,dns,loadtest,mmdb,redis,sql,terminal]'
	@touch $@ $(VENV)/.installed
