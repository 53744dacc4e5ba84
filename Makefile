# Everything the repository can do. `make` alone lists it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo check test conformance bench stress lint

# Where it is set, each run compiles every test anew: 6 s for each core.
unexport PYTHONDONTWRITEBYTECODE

READY := .venv/.ready
ON_EVERY_CORE := -n auto --dist loadgroup
SUITABLE := import sys; sys.exit(sys.version_info < (3, 11))
SUITABLE_NODE := const [a, b] = process.versions.node.split("."); process.exit(a > 22 || (a == 22 && b >= 19) ? 0 : 1)

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## create .venv with everything in it (done by itself when it is needed)

demo: $(READY) ## see it work: a file becomes a table, a question rows, plain words the right records
	.venv/bin/lakehouse demo

check: lint ## the quick loop: lint, format, types, and the tests that take no time
	.venv/bin/pytest -q $(ON_EVERY_CORE) -m "not slow"

test: lint ## what CI runs: check, then every test, and the wheel in an environment of its own
	.venv/bin/pytest $(ON_EVERY_CORE)

conformance: $(READY) ## the official MCP suite, the Inspector and both TypeScript clients against us, with npm
	@if command -v npm >/dev/null; then \
		$(MAKE) -s .conformance/.ready && \
		LAKEHOUSE_CONFORMANCE="$(CURDIR)/.conformance" .venv/bin/pytest -v tests/conformance; \
	else \
		echo "Skipped: the conformance suite and the clients are Node programs, and there is no npm on the PATH."; \
	fi

bench: $(READY) ## the figures, each beside its floor
	@.venv/bin/python -c 'import fastmcp' 2>/dev/null || { $(with-peer); } || \
		echo "FastMCP could not be installed: its figures are left out."
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

# The clients in their pinned versions, and Node 22 beside them where the one of the system is older.
.conformance/.ready: tests/conformance/package.json tests/conformance/package-lock.json
	@mkdir -p .conformance && cp $^ .conformance
	@{ npm ci --prefix .conformance --ignore-scripts --no-audit --no-fund --loglevel error && $(with-node); } || \
		{ echo "npm could not install the clients of tests/conformance/package.json: its messages are above." >&2; exit 1; }
	@touch $@

with-node = { node -e '$(SUITABLE_NODE)' || \
	npm install --prefix .conformance/node --no-audit --no-fund --loglevel error node@22.23.3; }

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
