# `make sweep` and `make test` need Python 3.11 or newer (with pip and venv), make and git, and nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export PATH := $(abspath $(BIN)):$(PATH)
# Snakemake keeps a cache below the home folder: here, where that cannot be written.
ifneq ($(shell test -d "$$HOME" -a -w "$$HOME" && echo yes),yes)
export XDG_CACHE_HOME ?= $(abspath $(VENV)/cache)
endif

.PHONY: help env sweep report test test-slow mutate bench gpu lint format lock clean

help: ## Show what can be made
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

env: $(STAMP) ## Create the environment (again only when the lock changed)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

sweep: $(STAMP) ## Run the default studies, draw them and write results/report.html
	snakemake sweep
	snakemake --report results/report.html

test: $(STAMP) ## Run the tests (half an hour on 2 cores)
	pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(STAMP) ## Run the tests that take longer
	pytest -m slow

mutate: $(STAMP) ## Break the privacy code in more than a hundred ways and see that the tests notice each
	python tests/mutation/mutate.py --out docs/mutation.md

bench: $(STAMP) benchmarks/.venv/.installed ## Time this program and its peers in turn (half an hour; FEDPARETO_DATA/mnist)
	python benchmarks/run.py --peers benchmarks/.venv/bin/python

gpu: $(STAMP) ## Find out what a GPU makes of it: right, fast, large (ten minutes; once `pip install -e '.[gpu]'` is done)
	python benchmarks/gpu.py

benchmarks/.venv/.installed: benchmarks/requirements-peers.txt
	$(PYTHON) -m venv benchmarks/.venv
	benchmarks/.venv/bin/python -m pip install --quiet -r $<
	@touch $@

lint: $(STAMP) ## Check style, types and workflow
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(STAMP) ## Format code and workflow
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

lock: $(STAMP) ## Resolve the versions anew into requirements.lock and environment.yml
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install --quiet uv
	$(VENV)/lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-strip-extras --upgrade -o requirements.lock
	python -m fedpareto.system.environment

clean: ## Remove results; the environment and fetched data stay
	rm -rf results .snakemake
