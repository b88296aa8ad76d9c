# One command per need; each does its own set-up. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 3
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

.PHONY: help run test test-long check bench deb clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "shipper needs Python 3.11 or later; run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV), once: half a minute'
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,fast]'
	@touch $(STAMP)

run: $(STAMP) ## a small node in a temporary directory, the real agent on it, live counts and the proof
	$(BIN)/shipper demo $(ARGS)

test: $(STAMP) ## the suite (installs Debian's rsyslog, kubectl, promtool, chromium first where SHIPPER_TEST_APT=1)
	@sh tests/support/need_rsyslogd.sh
	@sh tests/support/need_kubectl.sh
	@sh tests/support/need_chromium.sh
	@sh tests/support/need_journal.sh
	$(BIN)/python -m pytest -m 'not long' -n $(JOBS) --dist worksteal $(ARGS)

test-long: $(STAMP) ## the full numbers: thousands of kills, long fuzzing; writes tests/results/
	@sh tests/support/need_rsyslogd.sh
	@sh tests/support/need_kubectl.sh
	@sh tests/support/need_chromium.sh
	@sh tests/support/need_journal.sh
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	SHIPPER_KEEP_RESULTS=1 $(BIN)/python -m pytest -m 'long' --timeout 7200 $(ARGS)

check: $(STAMP) ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check shipper tests
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is measured is what a user installs: not editable, without the development tools (the agent's imports find fewer packages).
$(BENCH_STAMP): pyproject.toml $(shell find shipper config -type f -not -name '*.pyc')
	@test -x $(BENCH_VENV)/bin/pip || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/pip install --quiet --disable-pip-version-check --upgrade '.[fast,bigquery]'
	@touch $(BENCH_STAMP)

bench: $(STAMP) $(BENCH_STAMP) ## side by side with rsyslogd; results in tests/bench/results/
	@sh tests/support/need_rsyslogd.sh
	$(BIN)/python -m tests.bench $(ARGS)

deb: ## build/shipper_*.deb, for a host with the Python version of PYTHON (needs dpkg-deb)
	@PYTHON=$(PYTHON) sh packaging/deb/build.sh

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) $(BENCH_VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
