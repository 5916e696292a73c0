# forkpolicy from a checkout. `make demo` shows it at work, `make test` proves it, `make help` lists the rest.
# Every target may be run again at any time: it does what is missing and nothing else.

# Debian's Python before any other, because it is built with profile-guided optimisation (loadtest/measure/interpreter.py).
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell /usr/bin/python3 -c '$(RECENT)' 2>/dev/null && /usr/bin/python3 -c 'import ensurepip, venv' 2>/dev/null \
	&& echo /usr/bin/python3 || echo python3)
# Servers run with the turn of a connection in C; these tests run again with it in Python (forkpolicy/worker/implementation.py).
IN_PYTHON := $(addprefix tests/process/test_,at_once.py hot_swap.py life.py upgrade.py)
# Files of tests run next to each other, one on each core. What measures the time of a clock runs afterwards, alone.
AT_ONCE := -n auto --maxprocesses 4 --dist loadfile
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo gateway test test-all lint man completion loadtest bench sanitize deb image lock release-check postfix servers clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1:/p' Makefile | column -t -s: 2>/dev/null || sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

demo: $(VENV)/.installed ## install, start a server in the checkout, send it the founding requests, explain each verdict; on a terminal with a console
	@$(BIN)/python -m loadtest demo

gateway: $(VENV)/.installed-dev ## as root: a whole gateway on loopback with a backend, to send mail to; asks before it installs Postfix, rspamd, Redis and swaks
	@sh loadtest/gateway.sh
	@$(BIN)/python -m loadtest site

test: $(VENV)/.installed-dev postfix servers ## every test; as root it installs the servers that they need
ifdef PYTEST_ARGS
	$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	$(BIN)/python -m pytest $(AT_ONCE) -m "not alone"
	$(BIN)/python -m pytest -m alone tests/process tests/postfix
	FORKPOLICY_PURE=1 $(BIN)/python -m pytest $(AT_ONCE) $(IN_PYTHON)
endif

test-all: ## unit tests and some of processes with each Python that Debian's releases have, and 3.12 and 3.14 where they are
	@packaging/test-all $(PYTEST_ARGS)

lint: $(VENV)/.installed-dev ## style, types, import contracts, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

man: $(VENV)/.installed-dev ## the manual pages in build/man; read one with man -l build/man/forkpolicy.8
	$(BIN)/python -m manual build/man

completion: $(VENV)/.installed-dev ## completion for bash, zsh and fish in build/completion, under the names that shells look for
	mkdir -p $(addprefix build/completion/,bash zsh fish)
	for program in forkpolicy forkpolicy-compile; do \
		$(BIN)/forkpolicy completion bash $$program >build/completion/bash/$$program && \
		$(BIN)/forkpolicy completion zsh $$program >build/completion/zsh/_$$program && \
		$(BIN)/forkpolicy completion fish $$program >build/completion/fish/$$program.fish || exit; \
	done

loadtest: $(VENV)/.installed-dev postfix ## a small day of mail through a real Postfix, every verdict checked
	$(BIN)/python -m loadtest day --profile small --report demo/loadtest

bench: $(VENV)/.installed-dev ## CPU per request of one worker, next to bare echo servers; with AGAINST=COMMIT also to that commit
	$(BIN)/python -m loadtest bench $(if $(AGAINST),--against $(AGAINST))

sanitize: $(VENV)/.installed-dev ## the tests of the part in C with the compiler's sanitizers of memory and undefined behaviour
	$(BIN)/python -m tests.sanitize

deb: ## the Debian package of this release of Debian in dist/; with DIST=trixie for another, as root
	@packaging/build-deb $(if $(DIST),--dist $(DIST))

image: ## the container image localhost/forkpolicy, with buildah, as root
	@packaging/build-image

release-check: $(VENV)/.installed-dev ## whether this checkout can be released, each step with its result; STEPS="--quick" or names of steps
	@$(BIN)/python packaging/release_check.py $(STEPS)

# Later versions only with UPGRADE=1. Every version of Python and every kind of machine is in the two files.
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
	$(if $(UPGRADE),--upgrade)
EXTRAS := console dns gateway https ldap mmdb oidc postgresql redis sql terminal

lock: ## pin and hash the packages that a package of ours has inside, in packaging/lock.txt, packaging/build.txt
	$(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet uv==0.13.9
	build/lock/bin/uv $(LOCK) $(EXTRAS:%=--extra %) --output-file packaging/lock.txt pyproject.toml
	build/lock/bin/uv $(LOCK) --output-file packaging/build.txt packaging/build.in

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
	$(BIN)/pip install --quiet --editable '.[console,terminal]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml Makefile forkpolicy/worker/_turn.c | $(BIN)/pip
	$(BIN)/pip install --quiet --editable '.[console,dev,dns,gateway,https,ldap,loadtest,mmdb,oidc,postgresql,redis,sql,terminal]'
	@touch $@ $(VENV)/.installed
