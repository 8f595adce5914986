# `make` shows what there is. Targets that need servers first make sure that
# PostgreSQL, RabbitMQ and a C compiler are there, and build what they need.
#
#   PROFILE=release          an optimised build
#   DATABASE_URL, AMQP_URL   use these servers; none is installed or started for them

PROFILE ?= debug
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
STACK := $(TARGET_DIR)/$(PROFILE)/stack
# The copy that `make up` keeps of its program. `make down` runs that one: it fits
# what it has to stop, and nothing has to be built first. The target folder may hold
# the program of another checkout, or none.
KEPT_STACK := .dev/up/stack

ifeq ($(PROFILE),release)
CARGO_FLAGS := --release
else ifeq ($(PROFILE),debug)
CARGO_FLAGS :=
else
$(error PROFILE is "$(PROFILE)": it can be "debug" or "release")
endif

# For a stack that was started before there was such a copy.
BUILD_STACK = cargo build --locked --package harness --bin stack $(CARGO_FLAGS)

.DEFAULT_GOAL := help
.PHONY: help servers build demo test test-on test-upgrade images-test up down stripe bench bench-quick bench-broker faults build-release fuzz model hostile mutants

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

servers: ## Installs PostgreSQL, RabbitMQ and a C compiler where they are missing
	@scripts/install-servers.sh $(WITH)

build: servers ## Builds all programs
	@cargo build --locked --workspace --bins $(CARGO_FLAGS)

# A NestJS app tells the second part of the story.
demo: WITH := node
demo: build ## Tells a small story with signed events and a NestJS app, and shows the tables it ends in
	@$(STACK) demo

up: build ## Starts everything in the background; addresses are in .dev/env
	@$(STACK) up

down: ## Stops what `make up` started and keeps its data; WIPE=1 removes the data too
	@if test -x $(KEPT_STACK); then $(KEPT_STACK) down $(if $(WIPE),--wipe); \
	elif test -d .dev/up; then $(BUILD_STACK) && $(STACK) down $(if $(WIPE),--wipe); \
	else echo "Nothing was up."; fi

stripe: build ## Serves a stand-in for Stripe to what `make up` started: PORT=12111
	@. ./.dev/env && $(STACK) stripe $(if $(PORT),--port $(PORT))

# Most tests wait for a server and not for a core: three at a time keep a core busy.
test: export RUST_TEST_THREADS ?= $(shell echo $$((3 * $$(nproc))))
# A NestJS app and Stripe's own package are run by Node.js.
test: WITH := node
test: build ## Runs all tests against servers of their own; installs Node.js and npm where missing
	@$(STACK) run -- cargo test --locked --workspace --no-fail-fast $(CARGO_FLAGS)

test-on: export RUST_TEST_THREADS ?= $(shell echo $$((3 * $$(nproc))))
test-on: build ## Runs tests on the servers of another Debian: SUITE=trixie|forky TESTS="-p worker --test it replay"
	@PROFILE=$(PROFILE) scripts/test-on.sh "$(SUITE)" $(TESTS)

test-upgrade: build ## Runs the worker of an earlier commit beside this one, through a migration: FROM= ORDER=stop-first
	@PROFILE=$(PROFILE) scripts/test-upgrade.sh $(FROM)

images-test: servers ## Builds the container images without Docker, starts them, and sends them an event
	@scripts/images-test.sh

bench: build-release ## Measures speed and memory against what this machine can do: ten minutes
	@$(TARGET_DIR)/release/bench

bench-quick: build-release ## The same in a minute, with small sizes
	@$(TARGET_DIR)/release/bench --quick

bench-broker: build-release ## Measures what each piece of a message's way costs the broker: SUITE=trixie|forky
	@$(if $(SUITE),PROFILE=release scripts/test-on.sh $(SUITE) --run) $(TARGET_DIR)/release/bench --only broker

fuzz: ## Runs the fuzz targets; RUNS=, SECONDS_EACH=, TARGETS= and KEEP= as scripts/fuzz.sh says
	@scripts/fuzz.sh

model: servers ## Tries histories against the reference: HISTORIES= in memory, DATABASE_HISTORIES= on Postgres
	@MODEL_HISTORIES=$(or $(HISTORIES),1000000) \
		cargo test --locked --release --package worker --test it model:: -- --nocapture
	@cargo build --locked --release --package harness --bin stack
	@MODEL_DATABASE_HISTORIES=$(or $(DATABASE_HISTORIES),10000) $(TARGET_DIR)/release/stack run -- \
		cargo test --locked --release --package worker --test it order:: -- --nocapture

hostile: servers ## Measures what hosts can do to the worker with their metadata, and rows that are locked
	@cargo build --locked --release --package harness --bin stack
	@HOSTILE=whole $(TARGET_DIR)/release/stack run -- \
		cargo test --locked --release --package worker --test it -- \
		hostile_hosts:: locked_rows:: --nocapture --test-threads 1

mutants: ## Breaks the code in one place after the other, and sees whether a test fails
	@scripts/mutants.sh

faults: build-release ## Breaks everything while events flow, and checks that nothing is lost: FAULTS="--only ... --seed ..."
	@$(TARGET_DIR)/release/faults $(FAULTS)

build-release: servers
	@cargo build --locked --release --workspace --bins
