# Every target sets up what it needs in .venv and reuses it the next time.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# OpenMP threads spin for a moment before they sleep: long spinning slows every process where cores are few,
# and no spinning halves the speed of network calls with few rows.
export GOMP_SPINCOUNT ?= 10000

.PHONY: help setup demo test test-slow browser slurm bench intervals check clean
help:
	@echo "make demo       record and classify digits, map a plane of noises; a minute or two"
	@echo "make test       run the tests (make test-slow: those that take minutes)"
	@echo "make bench      what recording, derivatives and maps cost, beside denoising alone; about two hours"
	@echo "make intervals  how often each stated interval contains the truth, as docs/intervals.md; about 40 minutes"
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
	$(BIN)/python -m pytest -m slow --numprocesses 2 --dist loadfile --no-loadscope-reorder

browser:
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
	  || { echo "chromium is not installed: the explorer is not tested in a browser"; exit 1; }

.venv/.bench: $(READY) requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -r requirements-bench.txt
	@touch $@

slurm:
	@command -v sbatch >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurm-wlm; } \
	  || { echo "slurm-wlm is not installed: no jobs of SLURM are tested"; exit 1; }

bench: .venv/.bench
	$(BIN)/python -m benchmarks

intervals: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.intervals

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache demo
