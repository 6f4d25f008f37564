# `make run` is all it takes to try Diarist; `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Rust installed with rustup is found even where the shell's profile does not say so.
export PATH := $(PATH):$(HOME)/.cargo/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what building and running need, if it is missing
	@scripts/setup.sh

.PHONY: setup-clients
setup-clients: setup ## install OpenAI's Python and Node clients for the tests
	@scripts/setup-clients.sh

.PHONY: build
build: setup ## build the program: target/release/diarist
	cargo build --release --locked

.PHONY: run
run: build ## build, start the server and transcribe a first recording (ONCE=1: then stop)
	@scripts/run.sh

.PHONY: test
test: setup-clients ## run all tests, OpenAI's own clients included
	cargo test --release --locked

.PHONY: lint
lint: setup ## check formatting, clippy, licences and dependencies
	cargo fmt --check
	cargo clippy --release --locked --all-targets -- -D warnings
	@scripts/deny.sh

.PHONY: deny
deny: ## check licences, sources, duplicates and known vulnerabilities of the dependencies
	@scripts/deny.sh

.PHONY: fuzz
fuzz: setup ## search for inputs that break what reads them (MINUTES=10 for each; see fuzz/README.md)
	@scripts/fuzz.sh

.PHONY: bench
bench: setup ## measure speed and memory (ONLY=part: some of it; see docs/benchmarks.md)
	cargo bench --locked -- $(ONLY)

.PHONY: soak
soak: build ## half an hour of good, broken, huge, slow and vanishing requests (MINUTES=30)
	python3 tests/soak/soak.py --minutes $(or $(MINUTES),30)

.PHONY: soak-kill
soak-kill: build ## kill the server under load, again and again, and look at how it comes back (KILLS=50)
	python3 tests/soak/kill.py --kills $(or $(KILLS),50)

.PHONY: fixtures
fixtures: setup ## make the speech fixtures again (needs espeak-ng and flite; takes minutes)
	@scripts/fixtures.sh

.PHONY: clean
clean: ## remove everything that was built or installed here
	cargo clean
	rm -rf .runtime
