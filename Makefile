# `make run` and `make test` work on a fresh machine: Python >= 3.11 is all that must be there.
PYTHON ?= python3
BIN := .venv/bin
HOST_PACKAGES := openssh-server rsync iproute2 nftables sudo
CHECKED := search fer_core spaces tests benchmarks

.PHONY: install run test test-all test-cluster clean

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[test]"
	touch $@

run: install
	$(BIN)/python -m search.run --space spaces/temporal.py

test: install
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist loadfile

test-all: test
	$(BIN)/pytest -m slow

# Needs root: its machines are network namespaces. RUNLEVEL=1 keeps apt from starting an sshd here.
test-cluster: install
	PATH=$$PATH:/usr/sbin; (for tool in sshd rsync ip nft sudo; \
		do command -v $$tool >/dev/null || exit 1; done) \
		|| (apt-get -q update && RUNLEVEL=1 apt-get install -q -y $(HOST_PACKAGES))
	$(BIN)/pytest -m cluster -s tests/cluster

clean:
	rm -rf .venv store studies leaderboards
