# The verbs of this repository. `make test` needs Rust only; `lint`, `parity` and `clients` make a
# Python environment of their own in .venv.
PYTHON ?= python3
VENV := .venv/.ready
export STEPPE_SHARED_DATA ?= $(abspath ../shared/data)

.PHONY: build test lint parity clients bench check clean

build: ## everything, as `cargo xtask deploy` builds it
	cargo build --bins
	cargo build --release --package steppe-server --package steppe-predictor

test: build ## all tests
	cargo test

lint: $(VENV) build ## formatting, clippy, licences, CloudFormation
	cargo fmt --all --check
	cargo clippy --all-targets -- --deny warnings
	$(PYTHON) tests/licences.py
	rm -rf target/templates && cargo xtask render --every-combination target/templates
	.venv/bin/cfn-lint target/templates/*.yaml && echo "cfn-lint: $$(ls target/templates | wc -l) templates without errors or warnings"

parity: $(VENV) build ## the same cleaning on Spark and on the embedded engine
	.venv/bin/python tests/parity.py

clients: $(VENV) build ## the standard `aws` command against the embedded cloud
	.venv/bin/python tests/clients.py

bench: build ## measured times and sizes, as a table
	$(PYTHON) tests/bench.py

check: test lint parity clients ## what CI runs

$(VENV): tests/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement tests/requirements.txt
	touch $(VENV)

clean:
	cargo clean
	rm -rf .venv .steppe
