# Each target does the set-up it needs; all can be repeated.
PYTHON ?= python3
WORLD ?= synthetic
RUN := .venv/bin/python -m
TORCH := $(shell sed -n 's/^model = \["\(torch==[^"]*\)"\]/\1/p' pyproject.toml)

.PHONY: forecast ui test torture lint lock install
forecast: .venv/.installed  ## make, publish and verify one forecast under a real Airflow
	@$(RUN) pipeline airflow forecast --world $(WORLD)

ui: .venv/.installed  ## leave Airflow running until Ctrl-C
	@$(RUN) pipeline airflow ui --world $(WORLD)

test: lint  ## all tests
	$(RUN) pytest -n 2 --dist loadfile

torture: .venv/.installed  ## every fault many times over, counted; over five hours
	$(RUN) tests.torture --table benchmarks/results/torture.md

lint: .venv/.installed
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy --strict pipeline models dags plugins benchmarks
	.venv/bin/lint-imports

lock: .venv/.installed  ## renew requirements.lock (torch is no part of it)
	echo "torch ; sys_platform == 'never'" > .venv/without.txt
	.venv/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --no-header --no-annotate \
	  --override .venv/without.txt --no-emit-package torch --no-emit-index-url pyproject.toml --output-file requirements.lock

install: .venv/.installed
.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	  || { echo "$(PYTHON) is no Python 3.11, 3.12 or 3.13: run make PYTHON=python3.12 ..." >&2; exit 78; }
	$(PYTHON) -m venv .venv || { echo "no venv: install it first (Debian: apt install python3-venv)" >&2; exit 78; }
	$(RUN) pip install --quiet --disable-pip-version-check --constraint requirements.lock uv $(TORCH)
	.venv/bin/uv pip install --quiet --python .venv/bin/python --requirements requirements.lock
	.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
	@touch $@
