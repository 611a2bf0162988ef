# Thin over the soma command. `make run` and `make test` are the two that matter.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

.PHONY: help install run test lint format system system-check bench drills test-real requirements docs clean
.DEFAULT_GOAL := help

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.embedded ## Make .venv with the soma command

run: $(VENV)/.embedded ## Start everything on this machine and show a tour; ONCE=1 exits after it
	@$(BIN)/soma up --tour $(if $(filter 1,$(ONCE)),--once)

test: system-check $(VENV)/.dev ## Run all tests on the embedded stack
	@infra/run-tests

lint: $(VENV)/.dev ## Style, types and the one-way imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --warnings
	$(BIN)/lint-imports --no-logo

format: $(VENV)/.dev ## Let ruff write the files anew
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

system: ## Install the Debian packages tests use (needs root)
	@missing=$$(infra/system-packages missing | tr '\n' ' '); \
	if [ -z "$$missing" ]; then echo "Nothing is missing of: $$(infra/system-packages)"; exit 0; fi; \
	if [ "$$(id -u)" -ne 0 ]; then echo "Run as root: make system   (installs: $$missing)" >&2; exit 1; fi; \
	echo "Installing: $$missing"; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null

system-check:
	@if [ -n "$$(infra/system-packages missing)" ]; then $(MAKE) --no-print-directory system; fi

bench: $(VENV)/.dev ## Measure, and write docs/performance.md
	@$(BIN)/python -m benchmarks.session_start
	@$(BIN)/python -m benchmarks.slm
	@$(BIN)/python -m benchmarks.policy

drills: $(VENV)/.dev ## Longer chaos drills; DRILL=full runs them at full length
	@DRILL=$(or $(DRILL),small) $(BIN)/pytest tests/chaos tests/contract/test_ledger_under_kills.py -m drill -p no:cacheprovider

test-real: $(VENV)/.dev ## Tests against servers that are neither on PyPI nor in Debian
	@$(BIN)/pytest tests/real -m real

requirements: $(VENV)/.dev ## Compile requirements/ from pyproject.toml
	@infra/compile-requirements

docs: $(VENV)/.dev ## Write the pages made from code: configuration, OpenAPI, AsyncAPI
	@$(BIN)/python -m workers.written_pages

clean: ## Remove the virtual environment; data under .soma stays
	rm -rf $(VENV)

$(BIN)/python:
	@python=$$(infra/find-python) && echo "Making $(VENV) with $$($$python --version)" && $$python -m venv $(VENV)

$(VENV)/.embedded: requirements/embedded.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing what running needs"
	@$(PIP) --require-hashes -r requirements/embedded.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "Installing what tests need"
	@$(PIP) --require-hashes -r requirements/dev.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@ $(VENV)/.embedded
