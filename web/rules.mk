# The browser preview's part of the Makefile.
.PHONY: preview wasm web test-web bench-web format-web

preview: web/node_modules wheel ## Serves an example page with the browser preview on port 8000
	@$(BIN)/python -m pip install --quiet $(PINNED) 'timmy-dispatcher[web]' uvicorn
	@$(BIN)/python -m uvicorn --app-dir web/example app:app

web/node_modules: web/package-lock.json
	@node -e 'process.exit(+(process.version.slice(1).localeCompare("20.19", "en", {numeric: true}) < 0))' \
	  || { echo "Node 20.19 or later is missing (this is $$(node --version)): https://nodejs.org"; exit 1; }
	cd web && npm ci --ignore-scripts --no-audit --no-fund --loglevel error
	touch $@

wasm: check
	@rustup --quiet target add wasm32-unknown-unknown
	cargo run --quiet --locked --package timmy-dispatcher-web-build target/web

web: wasm web/node_modules ## Builds the browser preview, for npm and for the Python package
	node web/scripts/build.mjs python/timmy/dispatcher/web/static

test-web: wasm web/node_modules wheel $(VENV)/tested-with ## Lints and tests of the browser preview, in Node and in Chromium
	cargo clippy --package timmy-dispatcher-web-build -- -D warnings
	cargo clippy --target wasm32-unknown-unknown --no-default-features --features wasm -- -D warnings
	cargo clippy --target wasm32-unknown-unknown --no-default-features --features wasm-rank -- -D warnings
	node web/scripts/build.mjs target/web-fresh
	cd web && npm run --silent check
	cd web && npm run --silent test

bench-web: wasm web/node_modules wheel $(VENV)/tested-with ## Times the browser preview in Node and in Chromium
	node web/scripts/build.mjs target/web-fresh
	node web/bench/bench.mjs

format-web: web/node_modules
	cd web && npm run --silent format
