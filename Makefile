# The commands this project answers to. Everything runs as root on Debian 12; what is missing is installed.
# Needs a Rust toolchain; all else is fetched by tests/compose/prepare.sh.

SHELL := /bin/bash
PREPARE := tests/compose/prepare.sh
COMPOSE := target/debug/compose
# The search engine of the nodes: 6.8.23, 7.17.29 or opensearch-2.19.1.
export SEARCH ?= 6.8.23
# Which rows of tests/compose: names, ids of the fault catalogue such as P03, `core`, or `all`.
ROWS ?= all
VECTORS ?=
# Of the simulator: a range of seeds, or one seed (and which of its faults) to replay.
SEEDS ?= 0..20000
ONLY ?=
# Names of planted bugs, with commas, or all.
MUTANTS ?= all
# Of the simulator: anything, for a build of the whole program at once, which pays from some 10,000 seeds on.
LTO ?=
SIMULATION := cargo test --quiet --config tests/simulation/$(if $(LTO),whole_program,optimised).toml -p leaderl --test simulation
# Of `make otp-differential`: the first scenario's seed (1 unless said), how many of each kind, which kinds (public, deep, thin; all).
SEED ?=
COUNT ?= 100
PROFILES ?=

.PHONY: help demo demo-down test test-fast test-compose test-all chaos checker-selftest otp-conformance otp-differential simulate mutants bench bench-supervisors fmt lint prepare

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make demo               three nodes come up, lose their leader and keep every row; stays up
demo:
	@$(PREPARE) images
	@$(COMPOSE) demo

## make demo-down          ends the demo
demo-down:
	@$(PREPARE) tools && cargo build --quiet -p leaderl-compose && $(COMPOSE) demo-down

# Tests and images share one set of compiled dependencies.
test test-all: export BUILD_TARGETS := --all-targets

## make test               format, lints, unit and decision tests, simulated clusters, the row checker's own test, real nodes (core + a slice by commit)
test: test-fast simulate-slice mutants-slice
	@$(PREPARE) images
	@$(COMPOSE) run --rows "core,slice:$$(git rev-parse HEAD 2>/dev/null || echo none)" --selftest

## make test-all           as `make test`, with every row
test-all: test-fast simulate-slice mutants-slice
	cargo test --quiet -p leaderl --test etcd -- --ignored --test-threads=1
	@$(PREPARE) images
	@$(COMPOSE) run --rows all --selftest

## make test-fast          all that needs no container
test-fast: lint
	cargo test --workspace --quiet
	@# The planted bugs' switch must not exist in a build without debug assertions; a filter that matches nothing is no proof.
	cargo test --quiet -p leaderl-decision --lib --config 'profile.dev.package.leaderl-decision.debug-assertions=false' \
	  without_debug_assertions_nothing_can_be_planted | grep --quiet "1 passed"

## make test-compose ROWS= rows on real nodes: names with commas, core, all
test-compose:
	@$(PREPARE) images
	@$(COMPOSE) run --rows "$(ROWS)"

## make chaos ROWS=        the same; an id of the fault catalogue, such as P03, chooses every row that injects it
chaos: test-compose

## make checker-selftest   the row checker must report a deleted row, a duplicate, and a second writer of 100 ms
checker-selftest:
	@$(PREPARE) images
	@$(COMPOSE) selftest

## make otp-conformance VECTORS="a.jsonl b.jsonl"   replays recorded OTP traces against the supervisors crate
otp-conformance:
	@$(PREPARE) tools
	@cargo run --quiet -p supervisors --example otp_conformance -- $(VECTORS)

## make simulate SEEDS=0..20000   clusters in a box, a report, `violations: N`; SEED=n replays one and tells its story; LTO=1 for long runs
simulate:
	@$(PREPARE) tools
	@SEEDS="$(if $(SEED),,$(SEEDS))" SEED="$(SEED)" ONLY="$(ONLY)" $(SIMULATION)

# A thousand of the seeds that held in the last long run, by the commit, and every one that ever failed.
.PHONY: simulate-slice
simulate-slice:
	@SLICE_OF="$$(git rev-parse HEAD 2>/dev/null || echo none)" $(SIMULATION)

## make mutants             plants every known bug in turn; the simulator must find each within 5,000 seeds; RECORD=1 keeps the seeds
mutants:
	@$(PREPARE) tools
	@MUTANTS=$(MUTANTS) $(SIMULATION)

# States of each set of faults before it is cut off.
MOST ?= 500000

## make model MOST=n        every order of events within bounds, on the shipped decisions: states, properties, transcripts
.PHONY: model
model:
	@$(PREPARE) tools
	@MOST=$(MOST) cargo test --quiet -p leaderl-decision --test model -- --ignored --nocapture --test-threads=1

# Five bugs by the commit: the kept seed breaks with the bug and holds without it. At most some two minutes.
.PHONY: mutants-slice
mutants-slice:
	@MUTANTS_OF="$$(git rev-parse HEAD 2>/dev/null || echo none)" $(SIMULATION)

## make otp-differential SEED=n COUNT=n   fresh scenarios, recorded from Erlang/OTP now and replayed against the crate
otp-differential:
	@$(PREPARE) erlang
	@supervisors/tests/otp/differential.sh $(or $(SEED),1) $(COUNT) $(PROFILES)

## make bench-supervisors  the supervisors crate beside Erlang/OTP, as a table for docs/measurements.md
bench-supervisors:
	@$(PREPARE) erlang
	@supervisors/benches/side_by_side.sh

## make bench              gaps in writes and idle cost of an optimised build, as a table for docs/measurements.md
bench: export LEADERL_BUILD := release
bench:
	@$(PREPARE) images
	@$(COMPOSE) bench

## make fmt                formats
fmt:
	cargo fmt --all

## make lint               format check and lints, as `make test` runs them
lint:
	@$(PREPARE) tools
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings

## make prepare            installs what is missing and builds the images
prepare:
	@$(PREPARE) images
