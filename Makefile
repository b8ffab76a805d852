# Every target sets up what it needs in .venv; nothing is installed system-wide.
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,$(shell $(name) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
BACKEND ?= emulator
DEMO_ARGS ?=
BENCH_ARGS ?=
FLEET_ARGS ?=
BIN := .venv/bin
STAMP := .venv/.ready
# Two at a time, a file each: tests wait more than they work.
TESTS = $(BIN)/python -m pytest -q -rs -n 2 --dist loadfile --cov=extension_kit.protocol --cov-branch --cov-fail-under=100 \
	--cov-report=term-missing:skip-covered
BENCH_STAMP := .venv/.ready-bench
KIT_STAMP := .venv/.ready-kit
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help setup kit layers demo test test-docker test-pythons image check lint types conformance bench fleet soak clean

help: ## this list
	@awk -F ': .*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

# What is there stays, with all that somebody has installed into it, unless it cannot be used, or has another version than the
# Python that was asked for.
VERSION = -c 'import pip, sys; print(sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'
WANTED = -c 'import sys; print(sys.version_info[:2])'
define new-venv
@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer with venv and ensurepip found; name one with PYTHON=..."; exit 1; }
@echo "setting up .venv (only the first time; about $(1) s)"
@has=$$($(BIN)/python $(VERSION) 2>/dev/null) \
	$(if $(filter file,$(origin PYTHON)),,&& test "$$has" = "$$($(PYTHON) $(WANTED))") \
	|| { rm -rf .venv && $(PYTHON) -m venv .venv; }
endef

$(STAMP): pyproject.toml .ci/constraints.txt
	$(call new-venv,20)
	@$(PIP) --only-binary :all: -r .ci/constraints.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $(STAMP)

$(KIT_STAMP): pyproject.toml .ci/constraints.txt
	$(call new-venv,10)
	@$(PIP) --only-binary :all: -c .ci/constraints.txt awslambdaric packaging pytest hatchling editables
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $(KIT_STAMP)

setup: $(STAMP) ## .venv with what everything else needs; other targets do it by themselves

kit: $(if $(wildcard $(STAMP)),$(STAMP),$(KIT_STAMP)) ## .venv with the kit alone: enough to write, test and build an extension of your own

demo: $(STAMP) ## a shop with all four extensions under faults: what each delivered and cost (DEMO_ARGS: --help says)
	@$(BIN)/python -m tests.demo --backend $(BACKEND) $(DEMO_ARGS)

test: $(STAMP) ## everything that must pass without Docker
	@$(TESTS) --ignore tests/docker

test-docker: image ## layers in an image like Lambda's, where there is a Docker engine
	@$(BIN)/python -m pytest -q -rs tests/docker

image: $(STAMP) ## have the image ready: AWS's where it can be pulled, else built from Debian
	@$(BIN)/python -m layer_build.images || echo "no image: what needs one will be skipped"

lint: $(STAMP) ## ruff: rules and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .

types: $(STAMP) ## mypy, strict
	@$(BIN)/mypy

test-pythons: $(STAMP) ## the tests under every other Python that is here, but for those that tell no more there
	@$(BIN)/python -m tests.interpreters

# `test` and `test-docker` in one run, so that its closing summary covers both.
check: lint types test-pythons image ## what CI runs: all of the above
	@$(TESTS)

# zig is 100 MB to fetch and 400 MB installed, in every environment that the tests make: only the benchmarks get it.
$(BENCH_STAMP): $(STAMP) .ci/constraints-bench.txt
	@echo "adding what the benchmarks need: $$(cat .ci/constraints-bench.txt)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: -r .ci/constraints-bench.txt \
		|| echo "not to be had: the C peer is built with this machine's compiler, where there is one; no rows with orjson"
	@touch $(BENCH_STAMP)

# The old ones go first: the index lists what is in the folder.
layers: $(STAMP) ## every extension as a layer, and one with all of them, both architectures and every Python here, into dist/
	@rm -rf dist && $(BIN)/python -m layer_build build --out dist
	@$(BIN)/python -m layer_build build --plugins secret_cache,log_shipper,metrics_collector,chaos_injector --out dist
	@$(BIN)/python -m layer_build index dist --out dist/index.json && $(BIN)/python -m layer_build index dist --markdown

conformance: $(STAMP) ## the same scenarios on our emulator and on AWS's: what differs, and why
	@$(BIN)/python -m tests.conformance.compare

bench: $(BENCH_STAMP) ## the kit beside its peers: times, CPU, memory, and the budgets
	@$(BIN)/python -m tests.benchmarks.bench $(BENCH_ARGS)

fleet: $(STAMP) ## 1 to 100,000 environments in virtual time: call rates, recovery, loss (ten minutes of CPU)
	@$(BIN)/python -m tests.benchmarks.fleet $(FLEET_ARGS)

soak: $(STAMP) ## every long run
	@KIT_TESTS_FUZZ_EXAMPLES=10000 KIT_TESTS_LATE_REPORTS=100 KIT_TESTS_STALL_S=60 KIT_TESTS_INVOCATIONS=1000 KIT_TESTS_EXCHANGES=10000 \
		KIT_TESTS_TOGETHER=20000 KIT_TESTS_MISBEHAVIOURS=100 \
		$(BIN)/python -m pytest -q -rP --timeout 1800 tests/protocol tests/test_together_soak.py tests/test_together_misbehaving.py \
		tests/layer_build/verify/test_elf.py tests/layer_build/verify/test_hostile.py \
		tests/layer_build/launcher/test_strange_platforms.py tests/test_records.py tests/test_spool.py tests/test_flush.py tests/test_stream.py \
		tests/test_proxy_fidelity.py tests/test_proxy_killed.py tests/test_delivery.py tests/extensions/log_shipper/test_stories.py \
		tests/extensions/metrics_collector/test_reconciliation.py \
		tests/test_complaints_telemetry.py::test_complaint_4_the_last_report_is_delivered_at_shutdown
	@$(BIN)/python -m tests.interpreters --all

clean: ## remove what was built here
	@rm -rf .venv .venv-3.* build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
