# `make` lists the commands. Python and make are all that must be installed: .ci/sync sees to uv, the interpreter and
# the dependencies before each command, in milliseconds when there is nothing to do. Written for GNU make 3.81 and up.

MAKEFLAGS += --no-print-directory
UV_PROJECT_ENVIRONMENT ?= .venv
export UV_PROJECT_ENVIRONMENT

bin := $(UV_PROJECT_ENVIRONMENT)/bin
python := "$(bin)/python"

# A choice of tests (ARGS) is not held to the coverage floor of the whole suite.
# Three at a time also on two processors: a third of the time is spent waiting for programs and deadlines.
whole_suite := -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

.DEFAULT_GOAL := help
.PHONY: help run test check fmt bench soak sync

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile
	@echo "  PYTHON=/path/to/python3 takes another interpreter (>= 3.12); ARGS='...' is passed on by run, test, bench and soak"

run: sync ## the whole system on this machine: database, demo fleet, gateway on 127.0.0.1:8000
	@exec "$(bin)/portico" demo $(ARGS)

test: sync ## the whole test suite
	@$(python) -m pytest -m "not soak" $(if $(ARGS),$(ARGS),$(whole_suite))

check: sync ## format, lint, types, import contracts, tests: what CI runs
	@$(python) -m ruff format --check --quiet .
	@$(python) -m ruff check --quiet .
	@$(python) -m mypy
	@"$(bin)/lint-imports" --no-logo
	@$(MAKE) test

fmt: sync ## format the code and mend what the linter can
	@$(python) -m ruff format .
	@$(python) -m ruff check --fix .

bench: sync ## the benchmarks, about seven minutes; the edge alone in one: ARGS='edge --quick'
	@$(python) -m bench $(ARGS)

soak: sync ## the long tests: soaks, many connections, faults under load
	@$(python) -m pytest -m soak --timeout 3600 $(ARGS)

sync:
	@.ci/sync
