# `make help` is the manual.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench/bin
PINNED := --constraint tests/python/requirements.txt

# What the tests need beside Rust, Python and a C compiler, as command:package, such as
# `node:nodejs psql:postgresql-client`. For root `make test` installs them; anybody else is told how to.
TEST_NEEDS := git:git node:nodejs npm:npm chromium:chromium \
  pg_ctlcluster:postgresql pgbouncer:pgbouncer openssl:openssl

# Drawn once; a failure in `make soak` is repeated with the seed that it printed.
ifndef SEED
SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-live soak check check-test rust python wheel bench fuzz-inference train format clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16
	@echo "PYTHON=python3.12 chooses another Python."

demo: wheel ## Builds into .venv and shows a dozen tasks being dispatched, nothing to configure
	@$(BIN)/python -m pip install --quiet $(PINNED) 'timmy-dispatcher[cli]'
	@$(BIN)/timmy-dispatch demo

test: check-test rust python test-web ## Sets up and runs every check and every test

test-live: wheel $(VENV)/tested-with ## Tests against a Gitea of yours: GITEA_URL=… GITEA_TOKEN=… make test-live
	TIMMY_TEST_LIVE=1 $(BIN)/python -m pytest -q -m live tests/python/wire

soak: wheel $(VENV)/tested-with ## Endurance at full size, minutes to an hour; SEED=… repeats a failure
	@echo "SEED=$(SEED)"
	PROPTEST_CASES=100000 PROPTEST_RNG_SEED=$(SEED) cargo test --release --test hostile
	cargo test --release --test inference_fuzz -- --texts 100000000 --seed $(SEED)
	SOAK=1 SEED=$(SEED) $(BIN)/python -m pytest -q tests/python/endurance
	cargo build --quiet --release --examples --features sandbox,durable
	TIMMY_KILLS=10000 TIMMY_FAILOVERS=40 TIMMY_SEED=$(SEED) cargo test --release \
		--features sandbox,durable --test ledger --test durable -- \
		killed_at_random a_synchronous_standby --nocapture

check: ## Says what the machine lacks for building
	@PYTHON=$(PYTHON) scripts/check-machine demo

check-test: ## Says what the machine lacks for the tests; for root it installs the packages
	@PYTHON=$(PYTHON) scripts/check-machine test $(TEST_NEEDS)

rust: check ## Format, lints and tests of the crate
	cargo fmt --all --check
	cargo clippy --all-targets --features sandbox,python,durable -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	cargo clippy --no-default-features --features rank -- -D warnings
	cargo clippy --no-default-features --features ledger -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps --features sandbox,durable
	cargo test --features sandbox,durable
	scripts/without-fence --features sandbox,durable
	# Training takes minutes in the dev profile.
	cargo test --release --no-default-features --features rank --test rank
	cargo run --quiet --example dispatch --features sandbox

# The first does for building; the second is for the tests.
$(BIN)/maturin:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PINNED) maturin

$(VENV)/tested-with: tests/python/requirements.txt | $(BIN)/maturin
	$(BIN)/python -m pip install --quiet --requirement $<
	cp $< $@

wheel: check | $(BIN)/maturin ## Builds the wheel and installs it into .venv
	rm -rf dist
	$(BIN)/maturin build --profile dev --out dist
	@du -h dist/*.whl
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl

python: wheel $(VENV)/tested-with ## Format, lints, types and tests of the Python package
	$(BIN)/ruff format --check python tests benches web
	$(BIN)/ruff check python tests benches web
	$(BIN)/mypy python tests/python/typing benches
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml timmy.dispatcher._core
	$(BIN)/python -m pytest -q --ignore tests/python/dropin
	# As in a dashboard, whose `config` holds the settings from the start.
	$(BIN)/python -m pytest -q tests/python/dropin

bench: check | $(BIN)/maturin ## Speed; AGAINST=path/to/dispatcher.py make bench sets another beside it
	test -x $(BENCH)/python || $(PYTHON) -m venv $(dir $(BENCH))
	rm -rf target/wheels-release
	$(BIN)/maturin build --release --out target/wheels-release
	$(BENCH)/python -m pip install --quiet --force-reinstall --no-deps target/wheels-release/*.whl
	$(BENCH)/python -m pip install --quiet $(PINNED) httpx
	cargo bench --quiet --no-default-features --bench inference
	$(BENCH)/python benches/inference.py $(if $(AGAINST),--against $(AGAINST))
	cargo build --quiet --release --features sandbox --example bench-dispatch
	$(BENCH)/python benches/dispatch.py --bare target/release/examples/bench-dispatch $(if $(AGAINST),--against $(AGAINST))
	$(BENCH)/python benches/host_driven.py $(if $(AGAINST),--against $(AGAINST))
	cargo run --quiet --release --features ledger --example bench-ledger
	$(BENCH)/python benches/starting.py

fuzz-inference: check ## 100 million random texts against the specification of inference
	cargo test --quiet --release --no-default-features --test inference_fuzz -- --texts 100000000

train: ## Makes the shipped model anew from its texts, and the vectors that hold it
	cargo run --quiet --release --no-default-features --features rank --example train -- \
		src/rank/model.bin python/timmy/dispatcher/routing/vectors.bin \
		python/timmy/dispatcher/routing/train.jsonl
	$(MAKE) wheel
	$(BIN)/python tests/vectors/generate_ranking.py

format: $(VENV)/tested-with format-web ## Formats everything
	cargo fmt --all
	$(BIN)/ruff format python tests benches web
	$(BIN)/ruff check --fix python tests benches web

include web/rules.mk

clean: ## Removes what was built
	rm -rf target dist $(VENV) .venv-bench web/node_modules web/core web/types
