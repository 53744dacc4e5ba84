# Everything the repository can do. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo check test bench stress lint

READY := .venv/.ready
SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## create .venv with everything in it (done by itself when it is needed)

demo: $(READY) ## see it work: a file becomes a table, a question rows, plain words the right records
	.venv/bin/lakehouse demo

check: lint ## the quick loop: lint, format, types, and the tests that take no time
	.venv/bin/pytest -q -n auto -m "not slow"

test: lint ## what CI runs: check, then every test, and the wheel in an environment of its own
	.venv/bin/pytest

bench: $(READY) ## the figures, each beside its floor
	@.venv/bin/python -c 'import fastmcp' 2>/dev/null || $(with-peer)
	.venv/bin/python bench/run.py

stress: $(READY) ## the seeded loops and property tests, for minutes in place of seconds
	LAKEHOUSE_STRESS=1 .venv/bin/pytest --timeout=1200

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# uv where there is one, else venv and pip; again only when what to install has changed.
$(READY): pyproject.toml constraints.txt uv.lock
	@if command -v uv >/dev/null; then uv sync --locked --extra dev --quiet; else $(with-pip); fi
	@touch $@

# The peer is measured, not used: it is no part of the ordinary set-up.
with-peer = if command -v uv >/dev/null; then uv sync --locked --extra dev --extra bench --quiet; \
	else .venv/bin/python -m pip install --quiet -c constraints.txt -e '.[dev,bench]'; fi

define with-pip
	for python in python3 python3.13 python3.12 python3.11 python3.14 none; do \
		$$python -c '$(SUITABLE)' 2>/dev/null && break; \
	done; \
	[ $$python != none ] || { echo "Lakehouse needs Python 3.11 or newer, and none is on the PATH." >&2; exit 1; }; \
	echo "Installing into .venv with $$($$python --version); the first time takes a minute or two." && \
	$$python -m venv --clear .venv && \
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -c constraints.txt -e '.[dev]'
endef
