# What there is to run. Everything works from a fresh clone with python3, make and a package index that pip can reach;
# .venv is made at first use, and each target installs only what it needs.
#
#   make demo               the whole of Plasmid on three local contexts; make demo HOSTS="a b" does it over ssh
#   make test               all tests but the heavy ones; TESTS=tests/core picks, JOBS=4 sets how many run at once
#   make heavy              tests that make a whole machine first
#   make near-pythons       what a program starts with, on each Python that the near side may have; NEAR_PYTHONS=3.12
#   make check              linters, type checkers, the rules of the repository
#   make format             put the code in its usual form
#   make matrix             try every way to a machine, and every far Python, into docs/matrix.md; needs all parts
#   make promises           write into docs/promises.md which test files keep each promise
#   make bench              the measurements, into docs/performance.md; ARGS="--rounds 9" and the like are passed on;
#                           then small calls beside large transfers
#   make instructions       whether a small call costs more instructions than recorded; ARGS=--record writes it down
#   make bench-scale        how costs grow with the tree, up to 100,000 contexts, into docs/scale.md
#   make bench-hosts        fifty ssh hosts connected to at once, on this machine; ARGS="--hosts 12"; needs root
#   make bench-imports      imports of modules that are sent beside imports from a disk, into docs/imports.md
#   make bench-forks        clones beside new local contexts; ARGS="--rounds 15"
#   make bench-files        files on their way beside cat, tar and scp; ARGS="--rounds 9"
#   make fuzz SECONDS=30    each fuzzer for so long
#   make sim SEEDS=5000     so many simulated worlds
#   make soak SECONDS=600   everything for so long, and whether more and more is held
#   make trials TRIALS=100  how long orphans live, how long callers take to know of a loss, crowds of hostile children
#   make distributions      try well-known distributions on a bare far side, into docs/distributions.md
#   make clean              remove .venv and caches

VENV := .venv
PYTHON_IN_VENV := $(VENV)/bin/python
JOBS ?= 2
TESTS ?= tests
HOSTS ?=
ARGS ?=
SECONDS ?= 30
SEEDS ?= 5000
TRIALS ?= 100
NEAR_PYTHONS ?= 3.10 3.11 3.12 3.13
# Passed on to tools/venv.sh: which interpreter to build .venv from.
export PYTHON

# One stamp per set of packages, renewed when pyproject.toml changes.
BASE := $(VENV)/.has-base
TEST := $(VENV)/.has-test
DEV := $(VENV)/.has-dev
BENCH := $(VENV)/.has-bench

.PHONY: help demo test heavy near-pythons check ruff mypy pyright rules format matrix promises bench instructions bench-scale bench-hosts bench-imports bench-files bench-forks fuzz distributions sim soak trials clean
.DEFAULT_GOAL := help

help:
	@sed -n '/^#   make/s/^#   //p' Makefile

$(BASE): pyproject.toml tools/venv.sh
	@echo "setting up $(VENV)"
	@tools/venv.sh $(VENV)
	@touch $@

$(TEST) $(DEV) $(BENCH): $(VENV)/.has-%: pyproject.toml tools/venv.sh
	@echo "setting up $(VENV) for $*"
	@tools/venv.sh $(VENV) $*
	@touch $(BASE) $@

demo: $(BASE)
	@$(PYTHON_IN_VENV) examples/demo.py $(HOSTS)

test: $(TEST)
	$(PYTHON_IN_VENV) -m pytest -n $(JOBS) --dist worksteal -m "not heavy" $(TESTS)

heavy: $(TEST)
	$(PYTHON_IN_VENV) -m pytest -m heavy $(TESTS)

# Each has packages of its own, so the first time takes some seconds more for each.
near-pythons: $(BASE)
	@tools/near_pythons.sh $(VENV) $(JOBS) $(NEAR_PYTHONS)

# `make -k check` goes on to the next after one that finds something.
check: ruff mypy pyright rules

ruff: $(DEV)
	$(PYTHON_IN_VENV) -m ruff check .

mypy: $(DEV)
	$(PYTHON_IN_VENV) -m mypy

pyright: $(DEV)
	$(PYTHON_IN_VENV) -m pyright --pythonpath $(PYTHON_IN_VENV)

rules: $(DEV)
	$(PYTHON_IN_VENV) -m pytest -q tests/test_tidy.py tests/test_promises.py

format: $(DEV)
	$(PYTHON_IN_VENV) -m ruff check --fix .
	$(PYTHON_IN_VENV) -m ruff format .

matrix: $(TEST)
	PLASMID_TEST_REQUIRE=all $(PYTHON_IN_VENV) -m pytest -n $(JOBS) --dist worksteal -q \
	  -m "(connector or features) and not heavy" --matrix=docs/matrix.md tests/real

promises: $(TEST)
	$(PYTHON_IN_VENV) -m tests.test_promises

bench: $(BENCH)
	$(PYTHON_IN_VENV) bench/run.py --peers --write docs/performance.md $(ARGS)
	$(PYTHON_IN_VENV) bench/beside.py --write docs/beside.md

instructions: $(BASE)
	$(PYTHON_IN_VENV) bench/gate.py $(ARGS)

bench-scale: $(TEST)
	$(PYTHON_IN_VENV) bench/scale.py --write docs/scale.md $(ARGS)

bench-hosts: $(TEST)
	$(PYTHON_IN_VENV) bench/hosts.py $(ARGS)

bench-imports: $(BENCH)
	$(PYTHON_IN_VENV) bench/imports.py --write docs/imports.md $(ARGS)

bench-files: $(TEST)
	$(PYTHON_IN_VENV) bench/files.py $(ARGS)

bench-forks: $(BASE)
	$(PYTHON_IN_VENV) bench/forks.py $(ARGS)

fuzz: $(TEST)
	@set -e; for fuzzer in tests/fuzz/fuzz_*.py; do \
	  echo "$$fuzzer for $(SECONDS) s"; \
	  $(PYTHON_IN_VENV) "$$fuzzer" $(SECONDS); \
	done

sim: $(TEST)
	$(PYTHON_IN_VENV) -m tests.sim.run $(SEEDS)

soak: SECONDS = 600
soak: $(TEST)
	$(PYTHON_IN_VENV) -m tests.trials.soak $(SECONDS)

trials: $(TEST)
	$(PYTHON_IN_VENV) -m tests.trials.orphans $(TRIALS)
	$(PYTHON_IN_VENV) -m tests.trials.faults $(TRIALS)
	$(PYTHON_IN_VENV) -m tests.trials.network
	$(PYTHON_IN_VENV) -m tests.trials.hostile

DISTRIBUTIONS := $(VENV)/distributions

distributions: $(TEST)
	$(PYTHON_IN_VENV) -m pip install --quiet --disable-pip-version-check --upgrade --target $(DISTRIBUTIONS) \
	  -r tests/distributions.txt
	$(PYTHON_IN_VENV) -m tests.real.distributions $(DISTRIBUTIONS) docs/distributions.md

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
