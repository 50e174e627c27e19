# Every habit has a target; `make` alone shows them.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
RELEASE := target/release
# What `make siege` and `make soak` lay before pds-tap: hosts, events a second over all of them,
# seconds; and in a soak, hosts that go away each second. Before the whole chain: events in all, how
# many of them a second, and how many stages are killed.
HOSTS := 10000
RATE := 5000
SECONDS := 600
CHURN := 0
EVENTS := 1500000
SPIKE := 5000
KILLS := 8
CHROMIUM := chromium
STAGE := sig-verify
PEERS := cd tests/peers && $(CARGO) run --release --locked --
PROOFS := cd tests/peers && $(CARGO) run --release --locked --package proofs --

.DEFAULT_GOAL := help
.PHONY: help setup build demo live rebuild test test-pure lint sabotage status-page fuzz bench bench-proofs bench-index bench-audit bench-ring bench-dedupe siege siege-tap siege-chain soak install uninstall race profile bench-delay clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: ## Check what cargo cannot bring, and say how to get it
	@pipelines/setup

build: setup ## Build all tools, optimised, into target/release
	$(CARGO) build --release --workspace --bins --locked

demo: build ## The whole chain on recorded events, offline, in under a minute
	@BIN=$(RELEASE) pipelines/demo

live: build ## The chain on the real network: some hosts, 10 minutes, at most 2 GB
	@BIN=$(RELEASE) pipelines/live

race: build ## Our chain against a relay: which copy comes first (RELAY=, DURATION=)
	@BIN=$(RELEASE) pipelines/race

rebuild: build ## Fetch the whole directory and build did.idx from it (hours)
	@BIN=$(RELEASE) pipelines/rebuild

test: setup ## Every test
	$(CARGO) build --workspace --bins --locked
	SOVEREIGN_BUILT=1 $(CARGO) test --workspace --locked

test-pure: ## The proofs of signatures in Rust alone, without any C (sig-verify too: SLOW=1)
	$(CARGO) test --package keys --no-default-features --locked
	$(if $(SLOW),$(CARGO) test --package sig-verify --no-default-features --locked)

lint: setup ## Format and clippy, warnings denied
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	cd tests/peers && $(CARGO) metadata --locked --format-version 1 > /dev/null

sabotage: setup ## Every event of a capture, damaged in each of many ways: which rule refuses it
	SABOTAGE_EVERY=1 $(CARGO) test --release --package sig-verify --test sabotage --locked -- --nocapture --test-threads 1

status-page: setup ## The page of ghost-mon in headless Chromium, with a screenshot (CHROMIUM=)
	CHROMIUM=$(CHROMIUM) SCREENSHOT=$(CURDIR)/target/status.png \
		$(CARGO) test --package ghost-mon --test served --locked browser

fuzz: setup ## Fuzz each parser of what comes from outside, FUZZ_SECONDS (20) each; needs nightly
	@pipelines/fuzz

bench: setup ## Each stage alone and the joints, as ratios against a peer in the same run
	$(CARGO) build --release --workspace --bins --locked
	SOVEREIGN_BUILT=1 $(CARGO) bench --package e2e --bench chain --locked
	$(PEERS) $(if $(BENCH_FULL),150000000,10000000)
	$(PROOFS) $(abspath $(RELEASE))

bench-proofs: setup ## sig-verify beside bare ECDSA of the same events and beside its peers
	$(CARGO) build --release --workspace --bins --locked
	$(PROOFS) $(abspath $(RELEASE))

bench-index: setup ## did.idx beside its peers, at a million accounts (make bench: ten; BENCH_FULL=1: 150)
	$(CARGO) build --release --package index-build --locked
	$(PEERS) 1000000

bench-audit: setup ## How fast a directory is read and proved, and how long the whole one takes
	$(CARGO) bench --package plc --bench lines --bench proof --locked

bench-ring: setup ## A ring beside pipes, a socket and iceoryx2: cost of a frame, wake-up, idle
	cd tests/peers && $(CARGO) run --release --locked --package joints --bin ring

bench-dedupe: setup ## dedupe from ring to ring, and its window beside other sets
	$(CARGO) build --release --workspace --bins --locked
	cd tests/peers && $(CARGO) run --release --locked --package joints --bin dedupe ../../$(RELEASE)/dedupe

siege: siege-tap siege-chain ## Both below: 10,000 hosts before pds-tap, then before the whole chain

siege-tap: setup ## pds-tap and 10,000 hosts for 10 minutes, each event counted (HOSTS=, RATE=, SECONDS=)
	$(CARGO) build --release --workspace --bins --locked
	SOVEREIGN_BUILT=1 SIEGE_HOSTS=$(HOSTS) SIEGE_RATE=$(RATE) SIEGE_SECONDS=$(SECONDS) \
		SIEGE_CHURN=$(CHURN) $(CARGO) bench --package e2e --bench siege --locked

siege-chain: setup ## The chain in a spike of 10 times the network, stages killed (HOSTS=, EVENTS=, SPIKE=, KILLS=)
	$(CARGO) build --release --workspace --bins --locked
	SOVEREIGN_BUILT=1 SIEGE_HOSTS=$(HOSTS) SIEGE_EVENTS=$(EVENTS) SIEGE_SPIKE=$(SPIKE) \
		SIEGE_KILLS=$(KILLS) $(CARGO) bench --package e2e --bench siege_chain --locked

soak: SECONDS := 1800
soak: CHURN := 20
soak: siege-tap ## siege-tap for 30 minutes, with hosts that come and go: memory ends where it began

profile: build ## Where a stage alone spends its time, on a recorded stream (STAGE=sig-verify)
	@BIN=$(RELEASE) STAGE=$(STAGE) pipelines/profile

bench-delay: build ## What our own chain adds, socket to verdict, at 1,000, 3,000 and 10,000 events/s
	@BIN=$(RELEASE) pipelines/delay

install: build ## Install tools, man pages and completions under PREFIX (DESTDIR is honoured)
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) pipelines/install $(RELEASE)

uninstall: ## Remove what install put there
	@DESTDIR=$(DESTDIR) PREFIX=$(PREFIX) pipelines/install --remove

clean: ## Remove what was built
	$(CARGO) clean
