# `make help` is the manual.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo test test-live check rust python wheel format clean

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: check ## Builds into .venv and shows a dozen tasks being dispatched, nothing to configure
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet '.[cli]'
	$(BIN)/timmy-dispatch demo

test: check rust python ## Sets up and runs every check and every test

test-live: wheel ## Tests against a Gitea of yours: GITEA_URL=… GITEA_TOKEN=… make test-live
	TIMMY_TEST_LIVE=1 $(BIN)/python -m pytest -q -m live tests/python/wire

check: ## Says what the machine lacks
	@command -v cargo >/dev/null || { echo "Rust is missing: install it from https://rustup.rs"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or later is missing: apt-get install python3 python3-venv"; exit 1; }
	@command -v cc >/dev/null || { echo "A C compiler is missing: apt-get install build-essential"; exit 1; }

rust: check ## Format, lints and tests of the crate
	cargo fmt --check
	cargo clippy --all-targets --features sandbox,python -- -D warnings
	cargo clippy --no-default-features -- -D warnings
	cargo test --features sandbox
	cargo run --quiet --example dispatch --features sandbox

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement tests/python/requirements.txt

wheel: check $(BIN)/python ## Builds the wheel and installs it into .venv
	rm -rf target/wheels
	$(BIN)/maturin build --quiet --profile dev --out target/wheels
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps target/wheels/*.whl

python: wheel ## Format, lints, types and tests of the Python package
	$(BIN)/ruff format --check python tests
	$(BIN)/ruff check python tests
	$(BIN)/mypy python
	$(BIN)/python -m pytest -q --ignore tests/python/dropin
	# As in a dashboard, whose `config` holds the settings from the start.
	$(BIN)/python -m pytest -q tests/python/dropin

format: $(BIN)/python ## Formats everything
	cargo fmt
	$(BIN)/ruff format python tests
	$(BIN)/ruff check --fix python tests

clean: ## Removes what was built
	rm -rf target $(VENV)
