# Two commands do all set-up: `make run` (a bot trades on an embedded Solana cluster) and `make test`.
SHELL := /bin/bash
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BOT ?= crds/samples/first-bot.yaml
ARGS ?=
SEEDS ?= 3
TRADES ?= 60
ONLY ?=
TARGETS ?=
WORKERS ?= 4
MINUTES ?= 60
SPEED ?= 60
SPECS ?= 5000

.DEFAULT_GOAL := help
.PHONY: help run test check unit system images charts floods chaos soak faults mutants model bench lock generate clean
.PHONY: cluster-packages cluster-build cluster-up cluster-down cluster-test e2e e2e-argo agreement

help:  ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

run: $(READY)  ## Make the environment and let the sample bot trade on localnet (BOT=…, ARGS="--duration 60s")
	@$(BIN)/tradingbot run -f $(BOT) $(ARGS)

test: $(READY) system  ## Everything that must pass before a change lands: static checks, then the tests
	@$(MAKE) --no-print-directory check unit

# Benchmarks and end-to-end tests are run by hand: their types are checked, so that a name which changes does not break them unnoticed.
check: $(READY)  ## Formatting, lint, types, layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	MYPYPATH=tests:engine:operator $(BIN)/mypy -p bench --follow-imports=silent --cache-dir .mypy_cache/bench
	MYPYPATH=tests:hack:engine:operator $(BIN)/mypy -p e2e --follow-imports=silent --cache-dir .mypy_cache/e2e
	MYPYPATH=hack $(BIN)/mypy -p images -p charts
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports
	$(BIN)/python hack/generate.py --check
	$(BIN)/python hack/gen_crds.py --check
	$(BIN)/python hack/charts/generate.py --check

# Not reordered by their number: the directories' own order begins with the longest, so that none of them is left for the end.
unit: $(READY)  ## The tests, without the static checks (ARGS="-k …")
	$(BIN)/pytest -m "not slow" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

system:  ## Say which system packages the tests want, and install them where this user may
	@hack/system-packages

chaos: $(READY)  ## Break the world while real engines trade (SEEDS=…, TRADES=…)
	$(BIN)/python tests/chaos/run.py --seeds $(SEEDS) --trades $(TRADES) $(ARGS)

soak: $(READY)  ## Let an engine trade for an hour under mild trouble; nothing may grow (MINUTES=…, SPEED=…)
	$(BIN)/python tests/soak/run.py --minutes $(MINUTES) --speed $(SPEED) $(ARGS)

images: $(READY)  ## Build the container images, look into them and run them (TARGETS="engine operator postgres")
	@hack/system-packages images
	$(BIN)/python hack/images build $(TARGETS) $(ARGS)

charts: $(READY)  ## Lint the charts, render them for every switch and check the result; builds Helm and kubeconform once
	@$(BIN)/python hack/cluster build helm kubeconform
	TRADINGBOT_CHARTS=all $(BIN)/pytest tests/charts -m "slow or not slow" $(ARGS)

floods: $(READY)  ## Flood a trading engine with signals; no exit may be lost
	$(BIN)/pytest tests/integration/test_engine_faults_of_floods.py -m "slow or not slow" $(ARGS)

faults: $(READY)  ## Every fault of a trading engine, the long ones too; and does the soak notice leaks?
	$(BIN)/pytest tests/integration tests/soak -k "engine_faults or soak_leaks" -m "slow or not slow" $(ARGS)

mutants: $(READY)  ## Break each rule of the protocol on purpose; each must be caught
	$(BIN)/pytest tests/mutants -m "slow or not slow" $(ARGS)

model: $(READY)  ## Explore the protocol's states; the table the engine executes is the table that is checked
	$(BIN)/pytest tests/model -m "slow or not slow" -s $(ARGS)

bench: $(READY)  ## Print figures and ratios, one JSON line each (ONLY=name)
	$(BIN)/python tests/bench/run.py $(if $(ONLY),--only $(ONLY)) $(ARGS)

cluster-packages:
	@hack/system-packages cluster

cluster-build: $(READY) cluster-packages  ## Build what a kind cluster needs and this machine lacks (once; ONLY="kubebox kind")
	@$(BIN)/python hack/cluster build $(ONLY)

cluster-up: $(READY) cluster-packages  ## Start a Kubernetes cluster on this machine (ARGS="--workers 2 --name mine")
	@$(BIN)/python hack/cluster up $(ARGS)

cluster-down: $(READY)  ## Take the cluster away; the machine is as it was before (ARGS="--name mine")
	@$(BIN)/python hack/cluster down $(ARGS)

e2e: cluster-build  ## Bots on a real cluster: builds images, starts a kind cluster, ends it (E2E_CLUSTER=existing)
	@[ "$$E2E_CLUSTER" = existing ] || $(MAKE) --no-print-directory images TARGETS="engine operator postgres" ARGS=
	$(BIN)/pytest tests/e2e -m e2e -s $(ARGS)

cluster-test: cluster-build  ## Test hack/cluster itself: clusters come, break, heal and leave nothing behind
	TRADINGBOT_KUBERNETES=all $(BIN)/pytest tests/cluster tests/integration/test_operator_api_server.py -m "kubernetes and slow" $(ARGS)

e2e-argo: cluster-build  ## A real Argo CD syncs the charts and bots from Git, heals, rolls back and prunes, on a real cluster; does all its set-up
	@hack/system-packages argo
	@$(BIN)/python hack/cluster build kubebox helm argocd
	@$(MAKE) --no-print-directory images TARGETS="engine operator" ARGS=
	$(BIN)/pytest tests/argo -m "slow or not slow" $(ARGS)

agreement: $(READY) cluster-packages  ## Compare models and CRD on thousands of random specs, on a real API server (SPECS=…)
	@$(BIN)/python hack/cluster build kubebox
	SPECS=$(SPECS) $(BIN)/pytest tests/cluster/test_crd_agreement.py -s -o timeout=3600 $(ARGS)

lock: $(READY)  ## Resolve the dependencies anew into constraints.txt
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev pyproject.toml --output-file constraints.txt

generate: $(READY)  ## Write the generated files anew
	$(BIN)/python hack/generate.py
	$(BIN)/python hack/gen_crds.py
	$(BIN)/python hack/charts/generate.py

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (on Debian: apt-get install python3 python3-venv)" >&2; exit 1; }
	@echo "Making the environment in $(VENV) with $(PYTHON) (a minute or two, once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
