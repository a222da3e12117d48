# Two commands on a fresh machine: `make demo` and `make test`. What they need is installed into .venv and .ray; where it can,
# `make test` also installs Slurm from the system's packages.
.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
UV ?= $(shell command -v uv || echo .uv/bin/uv)
RUN := .venv/bin/python -m
SOURCES := contracts handlers worker tests deploy docs

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/pip install --quiet "uv>=0.9"

.venv/.complete: pyproject.toml uv.lock
	@test -x "$(UV)" || $(MAKE) --no-print-directory .uv/bin/uv
	$(UV) sync --frozen --all-extras --group dev
	@touch $@

.PHONY: setup
setup: .venv/.complete ## Install everything into .venv, as the lock file says

.PHONY: demo
demo: setup ## Fine-tune a small model through real events, on this machine alone
	@.venv/bin/worker demo

# Of its own, so that what Ray needs never mixes with what is ours.
.ray/.complete: .venv/.complete
	UV_PROJECT_ENVIRONMENT=.ray $(UV) sync --frozen --only-group ray
	@touch $@

.PHONY: ray
ray: .ray/.complete ## Install Ray, for the tests of its adapter, into an environment of its own

# The script alone: it runs in the trainer's own environment.
.gguf/.complete: deploy/local/gguf-converter.txt deploy/local/fetch-gguf-converter | .venv/.complete
	@deploy/local/fetch-gguf-converter "$(UV)" .gguf
	@touch $@

.PHONY: gguf
gguf: .gguf/.complete ## Fetch llama.cpp's converter, for its test and as a WORKER_GGUF_CONVERTER, into .gguf

.PHONY: test
test: setup ray ## Run the tests (unit, laws, conformance, integration, trainer, contract, demo with the tiny model)
	-@deploy/local/install-slurm
	.venv/bin/pytest -m "not long" -n auto tests/unit tests/laws
	.venv/bin/pytest -m "not long" -n auto --dist loadfile --no-loadscope-reorder --ignore tests/unit --ignore tests/laws

.PHONY: slurm
slurm: ## Install Slurm from the system's packages, for tests; needs root and apt-get
	@deploy/local/install-slurm

.PHONY: browser
browser: ## Install Chromium from the system's packages, for the console's test in a browser; needs root and apt-get
	@deploy/local/install-chromium

.PHONY: test-unit
test-unit: setup ## Run the tests that take seconds
	.venv/bin/pytest -n auto tests/unit tests/laws

.PHONY: test-long
test-long: setup ray browser ## Run the tests that take minutes
	-@$(MAKE) --no-print-directory gguf
	.venv/bin/pytest -m long

.venv/.bench: .venv/.complete
	$(UV) sync --frozen --all-extras --group dev --group bench
	@touch $@

.PHONY: bench-validate
bench-validate: .venv/.bench ## Measure dataset validation against its peers (ARGS="--megabytes 20 --repeats 3")
	$(RUN) tests.bench.validate $(ARGS)

.venv/.fuzz: .venv/.complete
	$(UV) sync --frozen --all-extras --group dev --group fuzz
	@touch $@

.PHONY: bench-events
bench-events: .venv/.bench ## Measure delivery beside the raw client, FastStream and bare loops (ARGS="--messages 20000")
	$(RUN) tests.bench.events $(ARGS)

.PHONY: bench-training
bench-training: .venv/.bench ## Measure training beside TRL and transformers (ARGS="--size 1b" on a GPU)
	$(RUN) tests.bench.training $(ARGS)

.PHONY: bench-plan
bench-plan: setup ## Measure drawing a plan: samples a second, peak memory (ARGS="--large" for 10,000,000 samples)
	$(RUN) tests.bench.plan $(ARGS)

.PHONY: fuzz
fuzz: .venv/.fuzz ## Fuzz the scan of datasets (FORMAT=sft SECONDS=600)
	$(RUN) tests.fuzz.scan $(or $(FORMAT),sft) -max_total_time=$(or $(SECONDS),600)

.PHONY: chaos
chaos: setup ## Break workers, trainers, the broker and the bucket, in seeded rounds (ROUNDS=50 SEED=1 REAL_EVERY=10)
	$(RUN) tests.e2e.chaos --rounds $(or $(ROUNDS),10) --seed $(or $(SEED),1) --real-every $(or $(REAL_EVERY),10)

.PHONY: lint
lint: setup ## Check style and the direction of imports
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/lint-imports

.PHONY: types
types: setup ## Check types, strictly, over source and tests
	.venv/bin/mypy

.PHONY: contracts
contracts: setup ## Write the JSON Schemas and the AsyncAPI document derived from contracts/
	$(RUN) contracts.schema write

.PHONY: contracts-check
contracts-check: setup ## Fail where the committed schemas are not the derived ones, or a contract broke
	$(RUN) contracts.schema check

.PHONY: settings-docs
settings-docs: setup ## Write docs/SETTINGS.md from the settings' own source
	$(RUN) docs.settings_page

# What is in the two images of deploy/Dockerfile, as the lock file has it: the same extras as there.
SBOM_FOLDER ?= dist
SBOM := export --frozen --no-dev --format cyclonedx1.5 --preview-features sbom-export
.PHONY: sbom
sbom: setup ## Write which packages are in the images, with their hashes: dist/worker.cdx.json, dist/trainer.cdx.json
	@test -x "$(UV)" || $(MAKE) --no-print-directory .uv/bin/uv
	@mkdir -p $(SBOM_FOLDER)
	$(UV) $(SBOM) --extra fast --extra kubernetes --extra console --extra traces -o $(SBOM_FOLDER)/worker.cdx.json > /dev/null
	$(UV) $(SBOM) --extra fast --extra traces --extra trainer -o $(SBOM_FOLDER)/trainer.cdx.json > /dev/null

.PHONY: manifests
manifests: setup ## Write what of deploy/ is derived: topics and users for Strimzi, alert rules for the Prometheus Operator
	$(RUN) deploy.kafka.strimzi
	$(RUN) deploy.prometheus.operator

.PHONY: format
format: setup ## Format the sources
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

.PHONY: clean
clean: ## Remove what the demo and the tools left
	rm -rf .worker .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
