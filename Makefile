# `make help` explains the targets. Everything runs in .venv, which is made when it is missing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 3
# Those that wait leave their core to another; the long tests come first, see tests/conftest.py.
TEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder
SIZE ?= full
# What has a larger size than in `make test`, or needs a program of the system.
LARGE = tests/faults tests/changes/test_exactly_once.py tests/differential tests/plans \
	tests/races/test_claims.py
URL ?=

# Python reads the path of an editable installation in the locale's encoding: let that be any path.
ifneq ($(filter C POSIX,$(LC_ALL)),)
export LC_ALL := C.UTF-8
endif
# A dozen processes start at a time: none should compile what another has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

help: ## this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.installed ## let a small organisation work on org.db, and kill one of its processes (URL=... elsewhere)
	$(BIN)/python -m holdfast.cli demo $(if $(URL),--url '$(URL)')

test: $(VENV)/.developed ## the tests, on SQLite and on a real PostgreSQL (six minutes)
	$(TEST) -m 'not needs'

matrix: $(VENV)/.developed ## what needs a program of the system, and the conformance tests again: through PgBouncer, and as a role confined to a tenant
	$(BIN)/python -m pytest -q -m needs tests
	HOLDFAST_TEST_POOLER=transaction $(TEST) -q tests/conformance -k postgres
	HOLDFAST_TEST_ROLE=runtime $(TEST) -q -m 'not owner' tests/conformance -k postgres

check: $(VENV)/.developed ## ruff, mypy --strict, import-linter
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python $(BIN)/lint-imports

faults: $(VENV)/.developed ## the fault scorecard at full size (an hour and a quarter; SIZE=small: minutes)
	HOLDFAST_FAULTS=$(SIZE) $(BIN)/python -m pytest $(LARGE) -p no:xdist -s --timeout 1800

bench: $(VENV)/.developed ## Holdfast and the bare drivers in one run, as ratios
	$(BIN)/python -m benchmarks $(ARGS)

revision: $(VENV)/.developed ## write the migration for a changed schema: make revision m="add budgets"
	$(BIN)/python -m holdfast.migrations "$(m)"

clean: ## remove what the targets made, databases of the demo included
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache benchmarks/results org.db org.db-wal org.db-shm org.db-mark
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	'$(PYTHON)' -m venv $(VENV)
	$(PIP) install --quiet --constraint constraints.txt --upgrade pip

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable '.[postgres]'
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(PIP) install --quiet --constraint constraints.txt --group dev
	@touch $@

.PHONY: help demo test matrix check faults bench revision clean
