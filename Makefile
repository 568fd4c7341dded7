# Every target may be run again: what is done already is not done twice.
PYTHON := /usr/bin/python3
VENV   := .venv
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.stamp
HOST   := PYTHONPATH=src PYTHONDONTWRITEBYTECODE=1 $(PYTHON)
LOCKED := --no-emit-index-url --no-emit-find-links --no-annotate --no-header --generate-hashes
UV     := build/uv/bin/uv pip compile --quiet --python $(PYTHON) $(LOCKED)

.DEFAULT_GOAL := help
.PHONY: help prepare venv lint format test demo demo-down bench faults lock clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

prepare:  ## install the Debian packages that are missing (as root)
	@$(HOST) tools/prepare.py

venv: $(STAMP)  ## make .venv from requirements/dev.lock

$(STAMP): $(wildcard requirements/*.lock) pyproject.toml tools/venv.py | prepare
	@$(HOST) tools/venv.py
	@touch $@

lint: $(STAMP)  ## check style, types and who imports whom
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m mypy tools/prepare.py tools/venv.py
	@$(VENV)/bin/lint-imports --no-cache
	@$(RUN) -m towncrier build --draft --version next > /dev/null

format: $(STAMP)  ## put the code into the house's format
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

test: lint  ## lint, then run every test (as root: it makes a lab of its own)
	@$(RUN) -m pytest --numprocesses 2 --dist loadscope

demo: $(STAMP)  ## from nothing to a project that is pushed, broken and put back
	@$(RUN) -m corpus.lab.demo

demo-down: $(STAMP)  ## remove the demo's lab and nothing else
	@$(RUN) -m corpus.lab down

bench: $(STAMP)  ## measure push to live, rollback and held traffic
	@$(RUN) -m bench

faults: $(STAMP)  ## every fault in every step; FAULTS="--help" tells how to run a part, or a soak
	@PYTHONPATH=tests $(RUN) -m faults $(FAULTS)

lock: build/uv/bin/uv  ## resolve the requirements anew
	@cd requirements && ../$(UV) --output-file build.lock build.in
	@cd requirements && ../$(UV) --output-file salt.lock salt.in
	@cd requirements && ../$(UV) --output-file dev.lock --no-emit-package timelib dev.in

build/uv/bin/uv: requirements/uv.in
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip install --quiet --requirement requirements/uv.in
	@touch $@

clean:  ## remove what make made in this directory
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
