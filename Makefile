# One word for each thing one does here; `make help` lists them.
# Debian's own python3 is used, whatever else is on the PATH.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

BIN := .venv/bin
# Tests that need root, a kernel of our own making or real servers; `make check` leaves them out.
SLOW := fuzz or kernel or radius or lab or browser or deploy or system or bench or soak
BENCHES := $(notdir $(patsubst %/,%,$(dir $(wildcard bench/*/run.py))))

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z%-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

.PHONY: setup
setup: ## install what development needs: Debian packages and .venv
	@scripts/packages.sh demo test
	@scripts/aside.sh
	@scripts/venv.sh dev

.PHONY: runtime
runtime:
	@scripts/packages.sh demo
	@scripts/aside.sh
	@scripts/venv.sh runtime

.PHONY: venv
venv:
	@scripts/venv.sh dev

.PHONY: demo
demo: runtime ## start the lab hospital and show, line by line, that it works
	@$(BIN)/python -m netguard.lab.demo

.PHONY: demo-down
demo-down: ## take the lab hospital down, whatever state it is in
	@if [ -x $(BIN)/netguard ]; then $(BIN)/netguard lab down; else echo "nothing to take down"; fi

.PHONY: static
static: venv
	@echo "== ruff format" && $(BIN)/ruff format --check
	@echo "== ruff check" && $(BIN)/ruff check
	@echo "== mypy" && $(BIN)/mypy
	@echo "== layers" && $(BIN)/lint-imports --cache-dir .cache/import-linter

.PHONY: check
check: static ## the quick loop: format, lint, types, layers, unit tests (no root)
	@$(BIN)/pytest -m "not ($(SLOW))"

.PHONY: test
test: setup static ## install everything, run everything, end with pytest's closing line
	@$(BIN)/pytest -n 2 -m "not (bench or soak or pages)" --strict-skips --second-try

.PHONY: fuzz kernel radius lab system
fuzz kernel radius lab system: setup ## the tests of one kind only
	@$(BIN)/pytest -m "$@ and not pages"

.PHONY: pages
pages: setup ## type every line of the operator pages on a booted appliance, which it leaves as nobody else wants it
	@$(BIN)/pytest -p no:randomly -m pages

.PHONY: test-wifi
test-wifi: runtime ## real radios, real VLANs: the hospital in a virtual machine, one line per claim
	@scripts/packages.sh demo wifi
	@tests/wifi/run

.PHONY: cover
cover: setup ## branch coverage; core, rules and render must be complete
	@$(BIN)/pytest -m "not (bench or soak or pages)" --cov --cov-report= -q
	@$(BIN)/coverage report --skip-covered
	@$(BIN)/coverage report --include='netguard/core/*,netguard/rules/*,netguard/render/*' \
		--show-missing --fail-under=100

.PHONY: peers
peers: runtime
	@scripts/packages.sh demo bench
	@scripts/peers.sh

.PHONY: bench
bench: peers ## run every bench
	@set -e; for name in $(BENCHES); do echo "== bench $$name"; $(BIN)/python bench/$$name/run.py; done

.PHONY: bench-%
bench-%: peers
	@$(BIN)/python bench/$*/run.py

.PHONY: nightly
nightly: setup ## every test with hypothesis' deep profile, then the benches
	@HYPOTHESIS_PROFILE=deep NETGUARD_FUZZ=5000000 NETGUARD_FUZZ_SECONDS=1800 $(BIN)/pytest -m "not (bench or pages)" --strict-skips --timeout 3600
	@$(MAKE) --no-print-directory pages
	@$(MAKE) --no-print-directory bench
	@$(BIN)/python bench/presence/run.py --seeds N --runs 20
	@$(BIN)/python bench/presence/run.py --seeds N --sensitivity 2
	@$(MAKE) --no-print-directory mutate

.PHONY: mutate
mutate: venv ## change the engine of presence in one place at a time: which changes does no test notice?
	@$(BIN)/python scripts/mutate.py \
		$(foreach module,engine silence judge places curves stays threshold record calibration retention,netguard/core/presence/$(module).py) \
		--tests $(wildcard tests/core/test_presence*.py)

.PHONY: bundle
bundle: venv ## make dist/netguard-VERSION.tar.gz, what an appliance installs without the Internet (LABEL=)
	@scripts/bundle.sh $(LABEL)

.PHONY: lock
lock: ## compile requirements/*.txt anew (UPGRADE=1 for newer versions)
	@scripts/lock.sh

.PHONY: format
format: venv ## format the code and fix what ruff can fix
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

.PHONY: clean
clean: ## remove .venv and all caches; the lab is taken down first
	@if [ -d /run/netguard-lab ] && [ -x $(BIN)/netguard ]; then $(BIN)/netguard lab down --all; fi
	@rm -rf .venv .cache dist .hypothesis .pytest_cache .ruff_cache
	@find netguard tests bench -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
