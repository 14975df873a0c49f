# Every target sets up what it needs in .venv and reuses it the next time.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# OpenMP threads spin for a moment before they sleep: long spinning slows every process where cores are few,
# and no spinning halves the speed of network calls with few rows.
export GOMP_SPINCOUNT ?= 10000

.PHONY: help setup demo test test-slow browser slurm bench intervals docs check clean
help:
	@echo "make demo       record and classify digits, map a plane of noises, write a report; a minute or two"
	@echo "make test       run the tests (make test-slow: the rest, 30 minutes on a fast machine (10 to 40))"
	@echo "make bench      what recording, derivatives and maps cost, beside denoising alone; about two hours"
	@echo "make intervals  how often each stated interval contains the truth, as docs/intervals.md; about 40 minutes"
	@echo "make docs       the documentation site in docs/_build/html, with search; about a minute"
	@echo "make browser    install Chromium, in which the explorer is tested (Debian, as root)"
	@echo "make slurm      install SLURM, whose jobs make test-slow runs (Debian, as root)"
	@echo "make check      formatting, lint and types"
	@echo "make setup      only make the environment in .venv"

setup: $(READY)

$(READY): requirements.txt requirements-dev.txt requirements-s3.txt pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info[:2] <= (3, 13); sys.exit(None if ok else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}; name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	rm -rf .venv/s3
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target .venv/s3 -r requirements-s3.txt
	@touch $(READY)

demo: $(READY)
	$(BIN)/python examples/demo.py

# One thread for each of the two processes of tests: more would compete for the same cores.
test: export OMP_NUM_THREADS = 1
test: $(READY)
	-@$(MAKE) --no-print-directory browser
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-slow: export OMP_NUM_THREADS = 1
test-slow: $(READY)
	-@$(MAKE) --no-print-directory .venv/.docs
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile --no-loadscope-reorder

browser:
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
	  || { echo "chromium is not installed: the explorer is not tested in a browser"; exit 1; }

.venv/.bench: $(READY) requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r requirements-bench.txt
	@touch $@

.venv/.docs: $(READY) requirements-docs.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r requirements-docs.txt 2>.venv/docs.log \
	  || { echo "the libraries of requirements-docs.txt are not installed and could not be downloaded; connect to the network once (pip's messages: .venv/docs.log)"; exit 1; }
	@touch $@

slurm:
	@command -v sbatch >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm; } \
	  || { echo "slurm-wlm is not installed: no jobs of SLURM are tested"; exit 1; }

bench: .venv/.bench
	$(BIN)/python -m benchmarks

intervals: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.intervals

# The small networks of the notebooks are fastest in one thread. All pages are built again: Sphinx does not see all that
# they depend on, and keeps pages that no longer exist.
docs: export OMP_NUM_THREADS = 1
docs: .venv/.docs
	rm -rf docs/_build
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs docs/_build/html
	@echo "docs/_build/html/index.html"

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist docs/_build src/*.egg-info .pytest_cache .ruff_cache .mypy_cache demo
