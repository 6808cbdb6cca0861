# Everything runs in a plain virtual environment that the first target makes; the second run starts at once.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed
GPU_STAMP = $(VENV)/.installed-gpu
SOURCES = pipelines operators schemas proving deploy tests
DEFAULT_TIER = not slow and not gpu and not flink

.DEFAULT_GOAL := help
.PHONY: help install install-gpu demo kafka kafka-stop flink flink-stop test test-slow test-kafka test-flink check lint types docs docs-check keys bench campaigns schedules lock clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(STAMP) ## Make the virtual environment (VENV=.venv)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@echo "installing into $(VENV) (about 330 MB to download, 1.1 GB on disk, a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

install-gpu: $(GPU_STAMP) ## Add what the GPU backend and its tests need; a GPU is not required

$(GPU_STAMP): $(STAMP) requirements-gpu.lock
	@echo "adding CuPy and NVRTC to $(VENV) (about 230 MB to download, 510 MB on disk)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r requirements-gpu.lock
	@touch $@

demo: $(STAMP) ## Run the whole system once on this machine
	@$(BIN)/ecliptica demo

KAFKA_HOME = .kafka
KAFKA_PORT = 9092

kafka: $(STAMP) ## Fetch and start a real Kafka broker on loopback (KAFKA_PORT=9092; Java 17, Maven)
	@$(BIN)/python -m deploy.kafka_broker start --home $(KAFKA_HOME) --port $(KAFKA_PORT)

kafka-stop: $(STAMP) ## Stop it; its data stays in .kafka
	@$(BIN)/python -m deploy.kafka_broker stop --home $(KAFKA_HOME)

FLINK_HOME = .flink
FLINK_PORT = 8099

flink: $(STAMP) ## Fetch and start a Beam job server with Flink inside (FLINK_PORT=8099; Java 17, Maven)
	@$(BIN)/python -m deploy.flink_job_server start --home $(FLINK_HOME) --port $(FLINK_PORT)

flink-stop: $(STAMP) ## Stop it, and the jobs in it
	@$(BIN)/python -m deploy.flink_job_server stop --home $(FLINK_HOME)

test: $(GPU_STAMP) ## Run the default tier of the tests
	@$(BIN)/python -m pytest -q -m "$(DEFAULT_TIER)" --durations=15 $(TESTS)

test-slow: $(GPU_STAMP) ## Run the tests that take minutes
	@$(BIN)/python -m pytest -q -m "slow and not gpu and not flink" --durations=15 $(TESTS)

test-kafka: $(GPU_STAMP) ## Run the tests that need a real Kafka broker (Java 17, Maven)
	@$(BIN)/python -m pytest -q -m "kafka" --durations=15 $(TESTS)

test-flink: $(GPU_STAMP) ## Run the tests that need a job server for Flink (Java 17, Maven)
	@$(BIN)/python -m pytest -q -m "flink" --durations=15 $(TESTS)

check: $(STAMP) lint types docs-check ## Lint, types, layers, spelling, dead code, lock, documents

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/codespell $(SOURCES) *.md *.toml Makefile
	@$(BIN)/python -m tests.checks.dead_code
	@$(BIN)/python -m tests.checks.lock

types: $(STAMP)
	@$(BIN)/mypy

docs: $(STAMP) ## Write the generated parts of the documents
	@$(BIN)/python -m deploy.kafka_acl --write
	@$(BIN)/python -m deploy.grafana_dashboard --write
	@$(BIN)/ecliptica deploy render prometheus --config deploy/ecliptica.sample.toml --out deploy/prometheus > /dev/null
	@$(BIN)/python -m tests.checks.docs --write

docs-check: $(STAMP)
	@$(BIN)/python -m tests.checks.docs

keys: $(STAMP) ## Write the stored parts of the verifying keys again
	@$(BIN)/python -m tests.checks.keys --write

bench: $(STAMP) ## Measure: make bench BENCH=batch
	@$(BIN)/ecliptica bench $(or $(BENCH),kernels)

campaigns: $(STAMP) ## Run the adversarial and fault campaigns
	@for name in $(or $(CAMPAIGN),mutate-constraints mutate-proofs mutate-day mutate-children pyramid differential inflate theft double-spend byzantine rules chaos); do \
		$(BIN)/ecliptica campaign $$name --json || exit $$?; done

schedules: $(STAMP) ## A million consensus schedules with the core compiled by mypyc (RUNS=1000000 SEED=1; gcc)
	@$(BIN)/python -m tests.bench.compiled_schedules --runs $(or $(RUNS),1000000) --seed $(or $(SEED),1)

LOCKING = uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header

lock: $(STAMP) ## Write the locks again (needs uv)
	$(LOCKING) --output-file requirements.lock
	$(LOCKING) --quiet --extra gpu --constraints requirements.lock --output-file $(VENV)/whole.lock
	$(BIN)/python -m tests.checks.lock --beyond < $(VENV)/whole.lock > requirements-gpu.lock

clean: ## Remove the virtual environment and caches; data is kept
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
