# The verbs, nothing else. `make demo` and `make test` set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# Ansible refuses to start where LANG names a locale that the machine lacks, or one that isn't UTF-8.
ifneq ($(shell $(PYTHON) scripts/locale_works.py 2>/dev/null; echo $$?),0)
export LC_ALL := C.UTF-8
endif

.PHONY: help setup site demo test lint ansiblelint unit e2e molecule soak fuzz bench docs lock clean
help:
	@grep -E '^[a-z0-9]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 10

$(VENV)/.ready: requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "vllm-ansible: there is no $(PYTHON); install Python 3.11 or later (Debian, Ubuntu: apt-get install python3 python3-venv)" >&2; exit 1; }
	@$(PYTHON) scripts/setup_venv.py

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.lock
	@$(PYTHON) scripts/setup_venv.py --dev

setup: $(VENV)/.ready  ## make .venv, for a checkout that others only read

site:  ## make a folder of your own with hosts, models and settings: make site DIR=~/fleet
	@$(PYTHON) scripts/make_site.py "$(DIR)"

demo: $(VENV)/.ready  ## deploy the demo model on this machine and ask it a question (PORT=8010: another port)
	ansible-playbook deploy.yml -l local $(if $(PORT),-e '{"overrides": {"demo": {"port": $(PORT)}}}') $(ARGS)

# ansible-lint keeps one core busy, and so leaves another to the unit tests.
test: $(VENV)/.ready-dev  ## everything CI runs
	@$(MAKE) --no-print-directory -j 2 lint unit
	@$(MAKE) --no-print-directory e2e

lint: $(VENV)/.ready-dev  ## ansible-lint, yamllint, ruff, mypy
	ruff check . && ruff format --check .
	mypy
	yamllint --strict .
	$(MAKE) --no-print-directory ansiblelint

ansiblelint: $(VENV)/.ready-dev
	ansible-lint --offline --strict

# A test that fails once and then passes is listed as RERUN: real processes on a busy machine.
PYTEST = pytest --dist loadgroup --reruns 1 -rR

unit: $(VENV)/.ready-dev  ## fast tests
	$(PYTEST) -n auto -m "not e2e and not slow"

e2e: $(VENV)/.ready-dev  ## slow tests: real vLLM, test hosts, container engine, kills
	$(PYTEST) -n 3 -m "e2e or slow"

molecule: $(VENV)/.ready-dev  ## the production playbooks as molecule scenarios (default: this machine)
	molecule test --all

soak: $(VENV)/.ready-dev  ## 200 rounds of kill -9 in each test of fetch and conversion, and planned operations behind a gateway, faults of a service over two hosts (three hours)
	pytest --rounds 800 -k killed tests/unit/test_part.py
	pytest --rounds 200 -k killed tests/unit/test_convert.py tests/unit/test_converted.py tests/unit/test_weights.py
	python benchmarks/gateway.py soak
	pytest -n 0 --soak -m soak tests

fuzz: $(VENV)/.ready-dev  ## readers of foreign bytes against 20,000 files each
	FUZZ=1 pytest -k "header_reader or no_bytes or any_order" tests/unit

bench: $(VENV)/.ready-dev  ## figures, as ratios to a peer in the same run: build/bench.json
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.ready-dev  ## the documentation as a static site in build/docs; links that lead nowhere are errors
	$(BIN)/python scripts/docs.py --check || { echo "vllm-ansible: docs/variables.md is not what the code says; run python scripts/docs.py" >&2; exit 1; }
	sphinx-build -q -W --keep-going -n -b html docs build/docs
	@echo "build/docs/index.html"

lock: $(VENV)/.ready-dev  ## write the lock files anew from pyproject.toml
	$(BIN)/python scripts/lock.py

clean:  ## remove what the tools left in this folder
	rm -rf $(VENV) .venv-* .venv.lock .ansible .mypy_cache .ruff_cache .pytest_cache .hypothesis build reports
