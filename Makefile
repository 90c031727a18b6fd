# Larder. `make help` lists what can be made.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# Two cargos at once only wait for each other, and the page is built for both.
.NOTPARALLEL:
RUST := crates Cargo.toml Cargo.lock
CONSOLE := crates/larder-admin/console/built/console.html
SHUTTLE_TARGET := $(or $(CARGO_TARGET_DIR),target)/shuttle

.PHONY: help run build page dev test test-deps test-crates test-valkey test-interleavings test-binaries test-admin-api ahead \
        test-conformance test-guard test-containers test-page test-browser test-consoles test-long check bench \
        bench-gateway bench-shared bench-admin bench-deps bench-engine fuzz install up down logs clean tools engine

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build ## Build everything and run the blog: open http://localhost:3000 (the first build takes minutes)
	@exec target/release/blog run

build: page ## Build the page and the release binary
	cargo build --release --locked -p larder-blog

install: page ## Put the commands larder and blog on the PATH (cargo install, into ~/.cargo/bin)
	cargo install --locked --path crates/larder-cli
	cargo install --locked --path crates/larder-blog

page: tools web/dist/index.html $(CONSOLE) ## Build the page and the console

# Both are made by one build, the console last.
$(CONSOLE): web/dist/index.html
	@test -e $@ || npm --prefix web run --silent build
	@touch $@

# Only when something of it has changed: a new one makes cargo build the blog anew.
PAGE := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)

web/dist/index.html: $(PAGE) web/node_modules/.installed
	npm --prefix web run --silent build
	@touch $@

dev: tools web/node_modules/.installed ## The page with hot reload at http://localhost:5173 before a running backend
	cargo build --locked -p larder-blog
	@export FRONTEND_PORT=$${FRONTEND_PORT:-3000}; \
	  FRONTEND_ORIGIN=http://localhost:5173,http://127.0.0.1:5173 target/debug/blog run & blog=$$!; \
	  trap 'kill $$blog 2>/dev/null; wait $$blog' EXIT; \
	  sleep 1; kill -0 $$blog 2>/dev/null || exit 1; \
	  BLOG_PAGE_URL=http://127.0.0.1:$$FRONTEND_PORT npm --prefix web run --silent dev

test: test-deps test-crates test-valkey test-interleavings test-admin-api test-conformance test-guard test-page test-browser ## Run every test on real parts (installs Debian packages when root)

test-deps: tools
	@tools/install-test-deps

# All failures at once: a run takes minutes.
test-crates: test-deps page
	cargo test --locked --workspace --no-fail-fast

test-valkey: test-deps page ## Tests of the shared tier once more, over Valkey (half a minute, and what has to be built)
	@tools/test-valkey

# Everything is compiled anew for it, so it has a folder of its own.
INTERLEAVINGS := RUSTFLAGS="$$RUSTFLAGS --cfg shuttle" SHUTTLE_SILENCE_WARNINGS=1 CARGO_TARGET_DIR=$(SHUTTLE_TARGET) \
  cargo test --locked -p larder --lib

test-interleavings: ## What must hold however tasks take turns, tried out by shuttle (about a minute)
	$(INTERLEAVINGS) interleavings

# What `make test` and `make check` come to last, for who waits for something else meanwhile.
# The guard's needs the page, which is there by then.
ahead:
	@tools/deny --install
	$(INTERLEAVINGS) --no-run
	@tools/guard --build

# The programs as the crates' tests have built them. `cargo build` of one crate chooses the features of
# what it depends on for that crate alone, and compiles tokio, hyper, sqlx and SQLite once more for them.
test-binaries: page
	@echo "building the programs and the crates' tests, unless that is done"
	@cargo test --locked --workspace --no-run --quiet

test-admin-api: test-deps test-binaries ## Ask the admin API what its OpenAPI description says, and more (half a minute, and what has to be built)
	@tools/test-admin-api

test-conformance: test-binaries conformance/node_modules/.installed ## Run the public tests for HTTP caches against `larder serve`
	LARDER_BIN=$(CURDIR)/target/debug/larder npm --prefix conformance run --silent test

test-guard: ## Instructions of a hit, a 304, a miss and a pass stay within 5 % of the record
	@tools/guard

test-containers: ## Build the images and run the containers for real (as root, on Debian; 5 GB, 2 to 8 minutes)
	@tools/test-containers

test-page: web/node_modules/.installed
	npm --prefix web run --silent test

# EVERY_APPEARANCE=1 looks at each width in both themes.
test-browser: test-deps test-binaries
	EVERY_APPEARANCE=$(EVERY_APPEARANCE) BLOG_BIN=$(CURDIR)/target/debug/blog LARDER_BIN=$(CURDIR)/target/debug/larder \
	  npm --prefix web run --silent e2e

# A day before a console, in about a minute, and as many consoles as there may be.
test-consoles: test-deps test-binaries
	LARDER_BIN=$(CURDIR)/target/debug/larder npm --prefix web run --silent e2e:long

# Nobody waits for it. MINUTES is what its trials take; what has to be built comes on top.
MINUTES ?= 30

test-long: test-deps page conformance/node_modules/.installed ## Try longer than `make test` does: more cases, orders, fuzzing (30 minutes, or MINUTES=…, and the builds)
	@tools/test-long $(MINUTES)
	@$(MAKE) --no-print-directory EVERY_APPEARANCE=1 test-browser test-consoles

# Without default features only the gateway and its command are others than before: they leave traces out.
# With examples, the documentation is of the build that clippy has looked at; without, of another.
check: tools web/node_modules/.installed page ## All that a change must pass beside its tests: format, lints, docs, licences, the page's types and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo clippy --locked --workspace --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --lib --bins --examples
	@tools/deny
	@tools/light
	npm --prefix web run --silent check
	npm --prefix web run --silent lint

bench: build bench-deps ## Measure the blog with and without its cache: the README's table; then the gateway, briefly (7 minutes)
	cargo build --release --locked -p larder-cli -p larder-bench
	target/release/larder-bench blog
	target/release/larder-bench gateway --short

# What is seen is written down as well: BENCH_GATEWAY="--json out.json --svg out.svg".
BENCH_GATEWAY ?=

bench-gateway: bench-deps ## Measure the gateway beside nginx, HAProxy, Varnish and a bare epoll loop (about half an hour)
	cargo build --release --locked -p larder-cli -p larder-bench
	target/release/larder-bench gateway $(BENCH_GATEWAY)

# The same: BENCH_SHARED="--json out.json". Figures mean something on a machine that does nothing else.
BENCH_SHARED ?=

bench-shared: bench-deps ## Measure the tier on Redis beside a bare GET, no tier, and a rival from npm (about six minutes)
	cargo build --release --locked -p larder-bench
	target/release/larder-bench shared $(BENCH_SHARED)

bench-admin: ## Measure pages of a million entries by way of the admin API, and hits beside them; fails beyond their bounds
	cargo bench --locked -p larder-admin --bench entries

bench-deps:
	@tools/install-bench-deps

fuzz: ## Feed keys, tags and the policy whatever comes to mind, for a minute (needs a nightly toolchain)
	@tools/fuzz 60

# Files of a trace each, a key in a line.
TRACES ?=

bench-engine: ## Measure the engine: instructions, hits, flood, hit ratios (half an hour; traces in TRACES)
	@tools/bench-engine $(TRACES)

up: engine ## Start everything in containers, with PostgreSQL and Valkey
	docker compose -f deploy/compose.yaml up --build --wait

down: engine ## Stop the containers (the database stays)
	docker compose -f deploy/compose.yaml down

logs: engine ## Follow the containers' logs
	docker compose -f deploy/compose.yaml logs --follow

clean: ## Remove everything that was built
	cargo clean
	rm -rf web/dist crates/larder-admin/console/built web/node_modules conformance/node_modules

tools:
	@tools/require-tools

engine:
	@tools/require-engine

web/node_modules/.installed: web/package.json web/package-lock.json
	npm --prefix web ci --no-audit --no-fund --loglevel=error
	@touch $@

conformance/node_modules/.installed: conformance/package.json conformance/package-lock.json
	npm --prefix conformance ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
