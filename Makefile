# Requires Python 3.11, 3.12 or 3.13 and make; everything else is installed into this folder.
SHELL := /bin/sh
PYTHON ?= python3
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
RUN := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help demo demo-check test test-all test-enclave test-local lint mypy format clean \
        bench fuzz mutate soak top image kernel eif pcrs measurements lock-debs run all contracts

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z -]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/synced ## Vendors, chain, facilitator and gateway, paid end to end, with lines to copy
	@$(RUN) -m tools.demo

demo-check: .venv/synced ## The same, pays every model and verifies the answers
	@$(RUN) -m tools.demo --check

test: .venv/synced ## The test suite (Python only)
	@$(RUN) -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-all: .venv/synced .venv-opengradient/made ## Everything this machine can run
	@$(RUN) -m pytest -m "not enclave"

test-enclave: kernel ## Boot the enclave image in an emulator (docs/enclave-boot.md)
	@$(RUN) -m tests.enclave_boot.prepare
	@$(RUN) -m pytest -m enclave tests/enclave_boot -o log_cli=true -o log_cli_level=INFO

test-local: .venv/synced ## The gateway alone on 127.0.0.1, payments off, keys from the environment
	@API_SERVER_HOST=$${API_SERVER_HOST:-127.0.0.1} GATEWAY_PAYMENTS=off $(RUN) -m gateway

lint: .venv/synced ## Format, style, types and import directions
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy
	@$(RUN) -m tools.architecture

mypy: .venv/synced ## Types only
	@$(RUN) -m mypy

format: .venv/synced ## Rewrite in the house format
	@$(RUN) -m ruff format .
	@$(RUN) -m ruff check --fix .

bench: .venv/synced ## CPU and latency beside bare proxies and peers, as ratios (under 25 minutes)
	@$(RUN) -m tools.bench

fuzz: .venv/synced ## Fuzz every parser: make fuzz SECONDS=600 [SEED=n]
	@$(RUN) -m tools.fuzz --seconds $(or $(SECONDS),60) $(if $(SEED),--seed $(SEED))

mutate: .venv/synced ## Mutation testing of signing, hashing, stream reader, assembler, catalogue (about 10 minutes)
	@$(RUN) -m tools.mutate

soak: .venv/synced ## Faults on a seeded schedule: make soak SECONDS=1200 [SEED=n]
	@$(RUN) -m tools.soak --seconds $(or $(SECONDS),1200) $(if $(SEED),--seed $(SEED))

top: .venv/synced ## A live view of a running gateway: make top URL=http://127.0.0.1:8000
	@$(RUN) -m tools.top $(URL)

image: .venv/synced ## The enclave's image as a TAR
	@$(RUN) -m nitro.image

kernel: .venv/synced ## The enclave's kernel (minutes, once)
	@nice $(RUN) -m nitro.kernel

eif: kernel ## The enclave image file
	@$(RUN) -m nitro.eif

pcrs: eif ## Its measurements
	@$(RUN) -m tools.eif pcrs build/enclave.eif

measurements: .venv/synced ## Does the source still build to measurements.txt?
	@$(RUN) -m nitro.measurements

lock-debs: .venv/synced ## Renew nitro/debs.lock on purpose
	@$(RUN) -m nitro.debs lock

run all: image eif ## Image, EIF, launch in an enclave
	@PATH="$(CURDIR)/.venv/bin:$$PATH" nitro/run-enclave.sh build/enclave.eif

contracts: ## Recompile the local chain's contracts (npm)
	@cd tools/chain && npm ci --silent && node compile.mjs

clean: ## Remove what was built and installed here
	rm -rf .venv .venv-opengradient .uv build .pytest_cache .mypy_cache .ruff_cache .hypothesis mutants
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/synced: pyproject.toml uv.lock | $(if $(findstring .uv/,$(UV)),.uv/bin/uv,)
	@$(UV) sync --quiet --frozen
	@touch $@

# The OpenGradient SDK needs a separate environment, because its x402 package has the import name of the other one.
.venv-opengradient/made: | .venv/synced
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv-opengradient
	@$(UV) pip install --quiet --python .venv-opengradient/bin/python opengradient==1.1.4 && touch $@ || \
	    echo "opengradient could not be installed: its tests are skipped"

.uv/bin/uv:
	@$(PYTHON) -m venv .uv
	@.uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
