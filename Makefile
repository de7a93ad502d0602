# Commands for developers; `make help` lists them. ARGS holds arguments for the program that a command runs.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
UV := .tools/uv/bin/uv
LOCK := $(UV) pip compile --quiet --universal --no-header --no-annotate --generate-hashes pyproject.toml
ARGS ?=
# Exported for scripts/bootstrap-venv: which interpreter to use, instead of the newest on PATH.
export PYTHON

# Tests and benches start the service hundreds of times: as an installed package it is compiled once, not each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
# The commands share one virtual environment; `make -j` must not fill it twice at the same time.
.NOTPARALLEL:
.PHONY: help run demo test lint format bench soak stories chart share screenshots docs lock tools dev clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/installed ## set up what is missing, then serve on loopback with SQLite (make run ARGS="--config wawp.yml")
	@exec $(BIN)/wawp-exporter serve $(ARGS)

demo: dev ## an hour of a fleet in two minutes, and the notifications of each receiver (make demo ARGS="--minutes 1")
	@exec $(BIN)/python scripts/demo.py $(ARGS)

# With eatmydata no test waits for the disk: a crash of the machine, from which fsync protects, is none that they play.
# The tests wait more than they compute, so there are three times as many workers as cores of a small machine.
# While the types are checked, the other core collects once: pytest rewrites the assertions of all files, for each worker.
test: dev tools ## set up what is missing, then lint, types and every test (make test ARGS="-k qr")
	@$(BIN)/pytest --collect-only -qq $(ARGS) >/dev/null 2>&1 & $(MAKE) --no-print-directory lint && wait
	@$$(command -v eatmydata) $(BIN)/pytest --numprocesses 6 $(ARGS)

lint: dev ## check with ruff and mypy; change nothing
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: dev ## let ruff fix and format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: dev tools ## measure the figures of docs/performance.md, as ratios within one run
	@$(BIN)/python -m bench $(ARGS)

soak: dev ## run real services with random faults and check every promise (make soak ARGS="--faults 300 --seed 1 --database sqlite")
	@$(BIN)/python -m soak $(ARGS)

stories: dev tools ## play what on-call found wrong in real time, with real Prometheus and Alertmanager (about half an hour)
	@WAWP_FASTER=1 WAWP_PATIENCE_S=3600 $(BIN)/pytest alerts/tests/test_incidents.py --timeout 7200 $(ARGS)

chart: dev ## copy rules, dashboards and routing into the Helm chart, and write its list of values
	@$(BIN)/python scripts/chart.py

share: dev ## copy rules, Alertmanager's files, runbooks and dashboards into the package
	@$(BIN)/python scripts/share.py

screenshots: dev tools ## take the pictures of the pages in docs/images
	@$(BIN)/python -m scripts.screenshots

docs: dev ## write the reference in docs/configuration.md from the code
	@$(BIN)/python -m scripts.reference

lock: $(UV) ## resolve the dependencies again, with hashes and without naming an index
	@$(LOCK) --extra postgresql --group build --output-file requirements.lock $(ARGS)
	@$(LOCK) --group dev --output-file requirements-dev.lock $(ARGS)

tools: ## install Prometheus, Alertmanager, PostgreSQL, Chromium and wrk for the tests
	@scripts/bootstrap-tools

dev: $(VENV)/installed-dev

clean: ## remove what the commands above made (the log in data/ stays)
	rm -rf $(VENV) .tools dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests alerts grafana bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps, so that a second run installs nothing. The virtual environment is bare until a lock is installed into it.
$(VENV)/created: scripts/bootstrap-venv
	@scripts/bootstrap-venv $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/created requirements.lock pyproject.toml
	@echo "installing the locked packages into $(VENV)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

# The development lock holds all of the other, so it makes `make run` ready too.
$(VENV)/installed-dev: $(VENV)/created requirements-dev.lock pyproject.toml
	@echo "installing the locked development packages into $(VENV)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/installed

$(UV):
	@command -v $(BIN)/python >/dev/null || $(MAKE) --no-print-directory $(VENV)/created
	@$(PIP) install --target .tools/uv uv
