# The verbs of this repository. `make test` needs Rust only; `lint`, `parity`, `clients`, `service` and `accuracy` make a
# Python environment of their own in .venv, `bench` and `accuracy` one with peers in .venv-bench, `emulators` one in
# .venv-emulators; `clients` two more for clients of data, in .venv-data and .venv-dbt, because their botocore and PyAthena are
# not those of the others.
PYTHON ?= python3
VENV := .venv/.ready
BENCH := .venv-bench/.ready
DATA := .venv-data/.ready
DBT := .venv-dbt/.ready
EMULATORS := .venv-emulators/.ready
# Clippy on dependencies as the builds before it have left them.
CLIPPY := RUSTC_WORKSPACE_WRAPPER=$(abspath tests/clippy.sh)
TARGET := $(or $(CARGO_TARGET_DIR),target)
export STEPPE_SHARED_DATA ?= $(abspath ../shared/data)

.PHONY: build xtask-aws examples test lint parity clients crash fuzz service accuracy bench s3-tests emulators check clean

build: ## everything, as `cargo xtask deploy` builds it for the embedded cloud and for AWS
	cargo build --bins
	cargo build --release --package steppe-server --package steppe-predictor --package steppe-jobs

# As it builds itself when an environment of AWS is used; its tests find it by this name.
xtask-aws:
	cargo build --bin xtask --features xtask/ec2 && cp $(TARGET)/debug/xtask $(TARGET)/debug/xtask-aws
	cargo build --bins

examples: build ## what `service`, `accuracy` and `bench` run
	cargo build --release --package steppe-server --package steppe-predictor --package steppe-jobs --example serve_model
	cargo build --release --package steppe-model --examples

test: xtask-aws build ## all tests; the examples are not built for them, `lint` reads them
	cargo test --tests
	cargo test --doc

lint: $(VENV) build ## formatting, clippy, dependencies, CloudFormation
	cargo fmt --all --check
	$(CLIPPY) cargo build --all-targets
	$(CLIPPY) cargo build --bin xtask --features xtask/ec2
	.venv/bin/python tests/dependencies.py
	rm -rf target/templates && cargo xtask render --every-combination target/templates
	for pipeline in energy stocks; do cargo xtask render --pipeline $$pipeline > target/templates/$$pipeline.yaml || exit 1; done
	cargo xtask render --pipeline stroke --every-combination target/templates/stroke
	find target/templates -name '*.yaml' | xargs --max-procs=2 --max-args=21 .venv/bin/cfn-lint && echo "cfn-lint: $$(find target/templates -name '*.yaml' | wc -l) templates without errors or warnings"

parity: $(VENV) build ## the same plans on Spark and on the embedded engine; formats beside the libraries of others
	cargo build --example convert
	.venv/bin/python tests/formats.py
	.venv/bin/python tests/parity.py

clients: $(VENV) $(DATA) $(DBT) build ## clients of others against the embedded cloud: aws, boto3, s3cmd, rclone, s3fs, pandas, polars, awswrangler, PyAthena, dbt
	.venv/bin/python tests/clients.py
	.venv/bin/python tests/services_messages.py
	.venv/bin/python tests/services_streams.py
	.venv-data/bin/python tests/data_clients.py

crash: build ## 200 kills of the embedded cloud under load; `make test` has a short form
	STEPPE_CRASH_ROUNDS=200 cargo test --test crash -- --nocapture

fuzz: build ## a million broken inputs for everything that reads what others wrote; `make test` has a short form
	STEPPE_FUZZ_INPUTS=1000000 cargo test --test fuzz -- --nocapture

service: $(VENV) build ## the model server: Triton's client, an API fuzzer, hostile clients, a million requests
	cargo build --release --package steppe-server --package steppe-predictor --package steppe-jobs --example serve_model
	.venv/bin/python tests/service.py

accuracy: $(VENV) $(BENCH) examples ## M4 Hourly, M3, Sweden, closing prices, coverage of intervals, rows, unusual rows, anomalies, beside published scores and peers
	.venv/bin/python tests/accuracy_data.py
	.venv-bench/bin/python tests/peers/rows.py
	.venv-bench/bin/python tests/peers/unusual.py
	.venv-bench/bin/python tests/peers/forecasts.py
	$(TARGET)/release/examples/accuracy
	$(TARGET)/release/examples/rows_accuracy
	$(TARGET)/release/examples/nab_accuracy
	$(TARGET)/release/examples/unusual_accuracy

bench: $(BENCH) examples ## measured times and sizes, and peers beside them, as tables
	$(PYTHON) tests/bench.py
	.venv-bench/bin/python tests/cleaning.py
	.venv-bench/bin/python tests/serving.py

s3-tests: build ## Ceph's s3-tests, a checkout of which STEPPE_S3_TESTS names, against the embedded cloud
	test -n "$(STEPPE_S3_TESTS)" || { echo "STEPPE_S3_TESTS has to name a checkout of https://github.com/ceph/s3-tests"; exit 1; }
	test -e .venv-s3-tests/.ready || { $(PYTHON) -m venv .venv-s3-tests && .venv-s3-tests/bin/pip install --quiet --requirement "$(STEPPE_S3_TESTS)/requirements.txt" && touch .venv-s3-tests/.ready; }
	.venv-s3-tests/bin/python tests/s3_tests.py

emulators: $(EMULATORS) build ## the embedded cloud beside moto and MiniStack, as a table
	.venv-emulators/bin/python tests/emulators.py

# Spark and the clients of others each keep one core busy: side by side they take the time of one.
check: test lint ## what CI runs
	$(MAKE) --jobs=2 $(if $(filter output-sync,$(.FEATURES)),--output-sync) parity clients
	$(MAKE) service

$(VENV): tests/requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement tests/requirements.txt
	touch $(VENV)

$(DATA): tests/data_clients.txt
	$(PYTHON) -m venv .venv-data
	.venv-data/bin/pip install --quiet --requirement tests/data_clients.txt
	touch $(DATA)

$(DBT): tests/data_clients_dbt.txt
	$(PYTHON) -m venv .venv-dbt
	.venv-dbt/bin/pip install --quiet --requirement tests/data_clients_dbt.txt
	touch $(DBT)

$(BENCH): tests/peers/requirements.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --requirement tests/peers/requirements.txt
	touch $(BENCH)

$(EMULATORS): tests/peers/emulators.txt
	$(PYTHON) -m venv .venv-emulators
	.venv-emulators/bin/pip install --quiet --requirement tests/peers/emulators.txt
	touch $(EMULATORS)

clean:
	cargo clean
	rm -rf .venv .venv-bench .venv-data .venv-dbt .venv-emulators .venv-s3-tests .steppe
