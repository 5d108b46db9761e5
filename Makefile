# `make help` lists what there is to do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run test lint bench lock clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.run ## everything on this machine: stores, gateway, a simulated provider, a demo key
	@$(BIN)/apilink dev

test: $(VENV)/.dev lint ## lint, types, layers, then every test
	$(BIN)/python -m pytest -q

lint: $(VENV)/.dev ## ruff, mypy and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.dev ## CPU per request and per chunk, beside nginx and bare aiohttp, in one run
	$(BIN)/python -m tests.bench

lock: $(VENV)/.dev ## renew the lock files from pyproject.toml
	for extras in "" "embedded" "embedded dev"; do \
	  out=requirements$$(test -z "$$extras" || echo "-$${extras##* }").lock; \
	  $(BIN)/uv pip compile -q --upgrade --generate-hashes --no-emit-index-url --no-header --universal \
	    --python-version 3.11 $$(for extra in $$extras; do echo --extra $$extra; done) \
	    pyproject.toml -o $$out; \
	done

clean: ## forget the environment and the data of `make run`
	rm -rf $(VENV) .apilink

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# The project itself is put on the path, not installed: nothing has to be built on a fresh machine.
$(VENV)/.run: requirements-embedded.lock $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-embedded.lock
	$(BIN)/python deploy/link.py
	touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python deploy/link.py
	touch $@ $(VENV)/.run
