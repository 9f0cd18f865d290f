# Everything a developer types. `make help` prints this file's own words.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SEED ?= 1
HISTORIES ?= 20000
export CARGO_TERM_COLOR ?= never

.DEFAULT_GOAL := help

help: ## print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(VENV)/.deps: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet 'trio>=0.27' 'immutables>=0.20' 'msgspec>=0.20' 'lz4>=4.3' 'zstandard>=0.22' 'cffi>=1.16' \
		'hypothesis>=6.100' 'import-linter>=2.0' 'maturin>=1.9,<2' 'mypy>=1.11' 'pytest>=8' 'pytest-benchmark>=4' 'ruff>=0.6'
	touch $@

$(STAMP): $(VENV)/.deps $(shell find rust Cargo.toml Cargo.lock pyproject.toml -name '*.rs' -o -name '*.toml' -o -name 'Cargo.lock')
	. $(BIN)/activate && maturin develop --release --quiet
	$(BIN)/python -m compileall -q cluster pykafkacore
	touch $@

setup: $(STAMP) ## make .venv with the extension built and everything installed

run: setup ## start a broker on localhost:9092 (data in ./data)
	$(BIN)/pykafkacore dev

test: setup ## the fast tests: Rust and Python, no other program needed
	cargo test --release --workspace --exclude pykafkacore-py --quiet
	$(BIN)/python -m pytest -m "not compat and not oracle and not e2e and not slow"

compat: setup ## real clients, Apache Kafka's jars and several processes
	$(BIN)/pip install --quiet 'aiokafka>=0.11' 'confluent-kafka>=2.5' cramjam 'kafka-python>=2.1' \
		python-snappy 'vega_datasets>=0.9'
	command -v kcat >/dev/null || { apt-get update -qq && apt-get install -qq -y kcat; } || true
	$(BIN)/python -m pytest -m "compat or oracle or e2e or slow"

verify: setup ## linters, types, import contracts; writes nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/mypy --cache-dir=/dev/null
	$(BIN)/lint-imports --no-cache

fix: setup ## format and repair what can be repaired
	cargo fmt --all
	$(BIN)/ruff check --fix .

sim: setup ## run the simulators from one seed: make sim SEED=7
	$(BIN)/python -m tests.sim.run --seed $(SEED)
	$(BIN)/python -m tests.sim.groups --seed $(SEED)
	$(BIN)/python -m tests.sim.txn --seed $(SEED)

bench: setup ## side by side with Apache Kafka, the short form: about ten minutes, a table
	$(BIN)/pip install --quiet 'confluent-kafka>=2.5'
	$(BIN)/python -m benchmarks.versus --rounds 1 --seconds 1.5 --scale 0.1

bench-full: setup ## the long form, whose figures docs/BENCHMARKS.md is rendered from
	$(BIN)/pip install --quiet 'confluent-kafka>=2.5'
	$(BIN)/python -m benchmarks.versus --rounds 5 --seconds 4 --warmup 2 --warm-brokers 60 --calibrate --growth \
		--results benchmarks/results/full.json
	$(BIN)/python -m benchmarks.versus.report benchmarks/results/full.json

crash: ## histories of a log crashed before every change of its storage: make crash HISTORIES=100000
	HISTORIES=$(HISTORIES) cargo test --release -p pykafkacore-log --test crash_points --quiet -- --nocapture

bench-steps: setup ## what single steps cost: of the hot path in Rust, of the control plane in Python
	cargo run --release --quiet -p pykafkacore-micro
	$(BIN)/python -m pytest benchmarks/control --benchmark-columns=median,iqr,ops

bench-groups: setup ## rebalances, idle groups and producers beside them, with Apache Kafka in turns: about eight minutes
	$(BIN)/python -m benchmarks.groups --rounds 2

kills: setup ## two hundred kills at full load in each mode of durability, and Apache Kafka on what they leave
	KILLS=$${KILLS:-200} $(BIN)/python -m pytest -s tests/e2e/test_kills.py

fuzz: ## hostile bytes: ten million inputs for every parser in Rust
	cargo test --release --workspace --exclude pykafkacore-py --quiet -- --ignored fuzz

wheel: setup ## build a wheel into dist/
	$(BIN)/maturin build --release --out dist

ci: test verify compat ## what .ci/run calls

clean: ## remove what was built
	rm -rf $(VENV) target dist

.PHONY: help setup run test compat verify fix sim bench bench-full bench-steps bench-groups crash kills fuzz wheel ci clean
