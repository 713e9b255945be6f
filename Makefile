# `make run` and `make test` work on a fresh machine: Python >= 3.11 is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
CHECKED := search fer_core spaces tests benchmarks

.PHONY: install run test test-all clean

install: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

run: install
	$(BIN)/python -m search.run --space spaces/temporal.py

test: install
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/pytest

test-all: test
	$(BIN)/pytest -m slow

clean:
	rm -rf .venv store studies leaderboards
