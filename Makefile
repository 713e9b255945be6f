# Each target works on a fresh machine that has Python >= 3.11; the others' packages are installed first.
PYTHON ?= python3
BIN := .venv/bin
HOST_PACKAGES := openssh-server rsync iproute2 nftables sudo
CHECKED := search fer_core spaces tests benchmarks
WORKERS ?= auto
# In the files' order; otherwise files of few tests, which take the longest, would come last.
IN_PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: install run test test-slow test-long test-all test-cluster docs clean

install: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint requirements.lock --editable ".[test]"
	touch $@

.venv/installed-docs: .venv/installed docs/requirements.lock
	$(BIN)/pip install --quiet --constraint requirements.lock --constraint docs/requirements.lock \
		--editable ".[docs]"
	touch $@

# A first result: make prints the command, and the command prints the leaderboard.
run: install
	$(BIN)/python -m search.run --space spaces/first.py --task emotion --trials 16

test: install
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy --num-workers auto
	$(BIN)/pytest $(IN_PARALLEL)

test-slow: install
	$(BIN)/pytest $(IN_PARALLEL) -m "slow and not long"

# Slow tests at their full size, such as ten kills of a study. CI does not run them: run them before a release.
test-long: install
	$(BIN)/pytest $(IN_PARALLEL) -m long

test-all: test test-slow test-long

# The pages are written to build/docs; open build/docs/index.html.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Needs root: its machines are network namespaces. RUNLEVEL=1 keeps apt from starting an sshd here.
test-cluster: install
	PATH=$$PATH:/usr/sbin; (for tool in sshd rsync ip nft sudo; \
		do command -v $$tool >/dev/null || exit 1; done) \
		|| (apt-get -q update && RUNLEVEL=1 apt-get install -q -y $(HOST_PACKAGES))
	$(BIN)/pytest -m cluster -s tests/cluster

clean:
	rm -rf .venv build store studies leaderboards
