# Everything runs in .venv, which is created again whenever the lock changes.
#
#   make demo         a tour: sample projects, the backfill, its verification, live runs
#   make run          the admin at http://127.0.0.1:8000/
#   make test         checks, lint, types and all tests
#   make test-faults  kills, crashes, turned clocks and odd servers, for some minutes
#   make test-matrix  the tests on the oldest and newest Python and Django and each PostgreSQL here; TESTS="tests/state -n 2"
#   make sql          writes docs/sql/: the statements of load, save and the passes
#   make bench        measures the speed
#   make intake-report  compares labelled documents: what is found, missed, wrong
#   make screenshots  takes the pictures of the admin for the README, with the Chromium on the PATH
#   make lock         updates the locks from pyproject.toml (UPGRADE=1: to the newest versions)

VENV := .venv
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
ADDRESS ?= 127.0.0.1:8000
# One more than the processors: the tests wait for servers and other processes for a fifth of their time.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
UV ?= uv

.PHONY: help demo run test test-faults test-matrix lint types sql bench intake-report screenshots lock

help:
	@sed -n 's/^#   //p' Makefile

$(INSTALLED): requirements-dev.lock
	@PYTHON="$(PYTHON)" sh scripts/install.sh $(VENV) requirements-dev.lock
	@touch $@

demo: $(INSTALLED)
	@sh scripts/demo.sh

run: $(INSTALLED)
	@$(PY) manage.py migrate --verbosity 0
	@$(PY) manage.py prepare_local_use
	@echo "Open http://$(ADDRESS)/ (Ctrl-C ends it)."
	@$(PY) manage.py runserver --noreload --insecure $(ADDRESS)

# On the embedded PostgreSQL, whatever .env says; with modules compiled once rather than in each process.
test: export DATABASE_URL :=
test: export PYTHONDONTWRITEBYTECODE :=
test: lint types
	$(PY) manage.py check --fail-level WARNING
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) -m pytest -n $(WORKERS)

test-faults: export DATABASE_URL :=
test-faults: $(INSTALLED)
	$(PY) -m pytest tests/faults -n $(WORKERS) --storms=long --hypothesis-profile=thorough

test-matrix: export DATABASE_URL :=
test-matrix:
	python3 scripts/test_matrix.py $(TESTS)

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(INSTALLED)
	$(PY) -m mypy

sql: $(INSTALLED)
	$(PY) scripts/write_sql.py

bench: $(INSTALLED)
	$(PY) -m benchmarks

intake-report: $(INSTALLED)
	@$(PY) -m benchmarks.intake_report

# On the embedded PostgreSQL, in a database of their own.
screenshots: export DATABASE_URL :=
screenshots: $(INSTALLED)
	@$(PY) scripts/screenshots.py

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
	$(if $(UPGRADE),--upgrade) pyproject.toml --group locked

lock:
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv, or name it with UV=…" >&2; exit 1; }
	$(COMPILE) --extra site --extra local --extra intake --extra api --output-file requirements.lock >/dev/null
	$(COMPILE) --all-extras --group dev --group bench --constraint requirements.lock --output-file requirements-dev.lock >/dev/null
