# Everything runs in .venv, made here on first use. Nothing but the package index is reached.
# A Python of your own: make test PYTHON=python3.12. More arguments for the program: make test ARGS='-k signing'.

PYTHON ?= python3
ARGS ?=
# Each worker reads every test file; without a cache of what Python and pytest made of it, that takes twice as long.
export PYTHONDONTWRITEBYTECODE :=
# One worker a core; a file stays on one worker. To debug: make test ARGS='-n0 --pdb'.
SPREAD := -n auto --dist loadfile --no-loadscope-reorder
# What failed beside all others is looked at once more, alone; UNSTEADY=file takes the names of what passed then.
# Not where pytest was to stop at a failure: nobody knows what would have come after it.
STOPS := -x% --exitfirst --maxfail% --pdb
AGAIN = $(if $(filter $(STOPS),$(ARGS)),exit $$?,$(BIN)/python .ci/again.py $$? $(UNSTEADY))
# Two more where servers and processes are waited for: each worker waits half of its time.
MORE = PYTEST_XDIST_AUTO_NUM_WORKERS=$$($(BIN)/python -c 'import os; print(len(os.sched_getaffinity(0)) + 2 \
  if hasattr(os, "sched_getaffinity") else os.cpu_count() + 2)')

# The first of these that is Python 3.11 or newer.
PY := $(shell for p in $(PYTHON) python3.13 python3.12 python3.11; do \
  "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CHECKED := $(wildcard chaoying_async tests benchmarks examples docs/_site .ci hatch_build.py)
TYPED := $(sort $(patsubst %/,%,$(dir $(wildcard chaoying_async/*.py tests/*.py benchmarks/*.py examples/*.py docs/_site/*.py)))) hatch_build.py

# What may not ask for the time, a random number or the environment: no exception by table or noqa, in the tests neither.
PURE := $(wildcard chaoying_async/sansio chaoying_async/sandbox/bank chaoying_async/sandbox/document tests/pure)

.PHONY: help demo quick test python314 cover measure coverage simulate simulate-planted simulate-versions mutate fuzz bench lint ruff contracts types mypy pyright fmt readme docs screenshots fields messages ci clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo    200 payments against a gateway on this machine; WORKERS=3: by several processes'
	@echo 'make quick   tests without processes and databases, under a minute'
	@echo 'make test    every test that this machine can run; FULL=1 make test: campaigns at full size, hours'
	@echo 'make python314   much of tests/pure on Python 3.14, compiled to WebAssembly: needs node and npm, no other Python'
	@echo 'make cover   the same, with coverage (branches, 95 % at least)'
	@echo 'make simulate   worlds from new seeds for two minutes; ARGS="--seed 7 --trace" tells one story'
	@echo 'make simulate-planted   bugs planted one at a time, and how many seeds find each'
	@echo 'make simulate-versions   worlds in which the last version, or the next, runs beside this one'
	@echo 'make mutate  small mistakes in sansio, and whether a test notices; ARGS="signing.py payments" chooses'
	@echo 'make fuzz    mutated bytes against ARGS="reply --seconds 3600"; or notification, sandbox'
	@echo 'make bench   how fast; ARGS=--quick for a quick look'
	@echo 'make lint    ruff, its formatter, the import contracts'
	@echo 'make types   mypy --strict and pyright'
	@echo 'make fmt     let ruff put things right'
	@echo 'make readme  run the code of both READMEs and of docs/'
	@echo 'make docs    the documentation as a site, English and Chinese, in build/docs'
	@echo 'make screenshots   pictures of the console, for docs/'
	@echo 'make fields  docs/fields.md and its Chinese twin, from the words under the fields'
	@echo 'make messages   every message of the package, and where it is; ARGS="error warning log help text defect" chooses'
	@echo 'make dependencies   docs/dependencies.md, its Chinese twin, and the bill of materials of the wheel'
	@echo 'make release-check  all that must hold before a release, which it builds; ARGS=--offline without a network'
	@echo 'make ci      all of it, as before a change lands'

# With WORKERS=3: as many processes on one database, SQLite or the one that is given as DATABASE.
demo: .venv/.sandbox
ifdef WORKERS
	$(BIN)/python -m pip show -q sqlalchemy aiosqlite >/dev/null 2>&1 || $(PIP) install -q --editable '.[sandbox,sql]'
	$(BIN)/python examples/fleet_shop.py --workers $(WORKERS) $(if $(DATABASE),--database '$(DATABASE)') $(ARGS)
else
	$(BIN)/python -m chaoying_async demo $(ARGS)
endif

quick: .venv/.dev
	QUICK=1 $(BIN)/python -m pytest -q -m quick $(SPREAD) $(ARGS)

test: .venv/.dev
	$(MORE) $(BIN)/python -m pytest $(SPREAD) --cache-clear $(ARGS) || $(AGAIN)

# Where there is no Python 3.14: CPython for WebAssembly, under Node (docs/maintaining.md).
PYODIDE := .venv/pyodide
# Of tests/pure what neither runs an event loop nor reads thousands of nested brackets, for which its stack is too small.
FOR_PYODIDE := -k 'not depth and not deep and not nested' $(patsubst %,tests/pure/test_%.py,document errorchain examples \
  exceptions guards models notifications pollstatus requests schedule sealed signing till values wire)

python314: .venv/.made
	npm install --silent --no-audit --no-fund --prefix $(PYODIDE) pyodide@314.0.7
	$(PIP) install --quiet --upgrade --target $(PYODIDE)/packages --only-binary=:all: --python-version 3.14 \
	  --implementation cp --abi cp314 --abi none --platform pyemscripten_2026_0_wasm32 \
	  attrs cattrs anyio httpx aiohttp hypothesis pytest pytest-asyncio pytest-timeout tzdata
	QUICK=1 node --stack-size=3900 .ci/pyodide.mjs $(PYODIDE)/node_modules $(PYODIDE)/packages -q $(or $(ARGS),$(FOR_PYODIDE))

cover: .venv/.dev
	$(BIN)/coverage erase
	@$(MAKE) --no-print-directory measure coverage

# A part of it; several may run at once. Not pytest --cov: pytest loads our plugin before that would start to measure.
measure: .venv/.dev
	$(MORE) $(BIN)/coverage run -m pytest $(SPREAD) --cache-clear $(ARGS) || $(AGAIN)

# What all parts have reached together.
coverage: .venv/.dev
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: .venv/.dev
	$(BIN)/python -m benchmarks $(ARGS)

# In parts: make simulate ARGS='--first 0 --seeds 50000', and the same from 50000 on beside it.
simulate: .venv/.dev
	$(BIN)/python -m chaoying_async.testing.simulation $(or $(ARGS),--seconds 120)

# Bugs planted one at a time: how many seeds find each.
simulate-planted: .venv/.dev
	$(BIN)/python -m tests.hard.planted_bugs $(ARGS)

# With another version beside this one on the same files: make simulate-versions ARGS='--with last --seeds 1000'.
simulate-versions: .venv/.dev
	$(BIN)/python -m tests.hard.versions $(or $(ARGS),--seconds 120)

# One process; begins with a run that learns which tests reach which lines.
mutate: .venv/.dev
	$(BIN)/python -m tests.hard.mutation $(ARGS)

# Guided by coverage, with a fuzzer that has wheels for some machines only; make test runs what it has found.
fuzz: .venv/.dev
	$(PIP) install -q atheris
	$(BIN)/python -m tests.fuzz $(or $(ARGS),reply)

lint: ruff contracts

ruff: .venv/.dev
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff check --select TID251 --ignore-noqa --config 'lint.per-file-ignores = {}' \
	  $(PURE)
	$(BIN)/ruff format --check $(CHECKED)

contracts: .venv/.dev
	$(BIN)/lint-imports --no-cache --no-logo

types: mypy pyright

mypy: .venv/.dev
	$(BIN)/mypy --strict $(TYPED)

pyright: .venv/.dev
	$(BIN)/pyright --warnings

fmt: .venv/.dev
	$(BIN)/ruff check --fix-only $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

readme: .venv/.dev
	$(BIN)/python .ci/readme.py run

docs: .venv/.dev
	PYTHONPATH=docs $(BIN)/python -m _site build/docs

# From the source: a test fails where the pages say something else.
fields: .venv/.dev
	$(BIN)/python -m tests.house.field_pages

messages: .venv/.dev
	@$(BIN)/python -m tests.house.messages $(ARGS)

# After a change of the dependencies or of the version.
dependencies: .venv/.dev
	$(BIN)/python -m tests.house.dependency_pages

release-check: .venv/.release
	$(BIN)/python .ci/release_check.py $(ARGS)

screenshots: .venv/.dev
	$(BIN)/python -m tests.hard.screenshots docs/screenshots

ci:
	bash .ci/run

clean:
	rm -rf .venv .venv-* dist build .coverage .coverage.* htmlcov \
	  .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/.made:
	@test -n '$(PY)' || { echo 'Python 3.11 or newer is needed (tried $(PYTHON), python3.13, python3.12,' \
	  'python3.11). If it has another name: make PYTHON=/path/to/python'; exit 1; }
	@$(PY) -c 'import ensurepip, venv' 2>/dev/null || { echo '$(PY) cannot make environments;' \
	  'on Debian and Ubuntu: apt-get install python3-venv'; exit 1; }
	$(PY) -m venv --clear .venv
	@touch $@

# demo needs much less than the tests do, and should not wait for it.
.venv/.sandbox: pyproject.toml | .venv/.made
	$(PIP) install --quiet --editable '.[sandbox]'
	@touch $@

.venv/.dev: pyproject.toml | .venv/.made
	$(PIP) install --quiet --editable '.[dev]'
	@touch $@ .venv/.sandbox

.venv/.release: pyproject.toml | .venv/.made
	$(PIP) install --quiet --editable '.[release]'
	@touch $@ .venv/.dev .venv/.sandbox
