# Everything a developer runs. A new machine needs Python and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# uWSGI brings an interpreter of its own: the same module comes with `uwsgi` and `pyuwsgi`.
UWSGI := .venv-uwsgi
UWSGI_STAMP := $(UWSGI)/.installed
# The suite forks, starts processes and waits: three workers on each core keep both busy.
JOBS ?= 6
SPEC ?= ../shared/conformance/wire.json

# How often `make forks` runs each case.
RUNS ?= 200
# Forks of `make torture` for each seed, and how many seeds; SEED=n repeats one.
FORKS ?= 5000
SEEDS ?= 20
SEED ?=
# Seeds at a time: each has a process that forks, its children and a server.
TORTURED ?= 2
# The length of `make soak` and its events a second; SEED=n draws the same faults again.
SECONDS ?= 60
RATE ?= 2000
# Events that `make load` tracks for a dead service, and a tenth of them for one that takes all.
EVENTS ?= 1000000
# Examples of each test of `make model`; SEED=n repeats one.
EXAMPLES ?= 2000
# Processes of the fleet that `make fleet` simulates; SEED=n draws another one.
WORKERS ?= 10000
# How often `make bench` measures everything.
ROUNDS ?= 5
# Schedules of `make faults` that run at a time: each waits most of its time.
SCHEDULES ?= 6
# What is written anew: `make mutants` and `make hosts` docs/proof.md, docs/hosts.md; `make fleet` docs.
WRITE ?=
# Cells of the hosts' table that run at a time, and where they leave their results.
CELLS ?= 6
HOSTS := .venv-hosts
RESULTS ?= $(HOSTS)/results
# Tests on planted defects that run at a time.
MUTANTS ?= 2

.PHONY: test lint demo conformance forks torture faults model load soak fleet frameworks bench hosts mutants clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $(STAMP)

$(UWSGI_STAMP): pyproject.toml
	$(PYTHON) -m venv $(UWSGI)
	$(UWSGI)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[pyuwsgi]"
	@touch $(UWSGI_STAMP)

test: $(STAMP) $(UWSGI_STAMP)
	@if [ -z "$$WHISPERR_SPEC_PATH" ] && [ -f "$(SPEC)" ]; then \
	  WHISPERR_SPEC_PATH="$(SPEC)"; export WHISPERR_SPEC_PATH; fi; \
	if [ -z "$$WHISPERR_SPEC_PATH" ]; then \
	  echo "WHISPERR_SPEC_PATH is not set: the service's own fixtures and schemas are NOT checked."; fi; \
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# The laboratory: forks in every state, 1 000 children that never use the client, and thousands
# beside TLS handshakes. With RUNS=50 and JOBS=8 it took 37 minutes on two cores (and 500 handshakes
# of each kind); its 200 runs take four times as long.
forks: $(STAMP)
	WHISPERR_RUNS=$(RUNS) WHISPERR_FORKS=1000 WHISPERR_HANDSHAKE_FORKS=2000 \
	  $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -q tests/forks $(ARGS)

# Every host, mode and ending, on every Python that is here: 13 to 15 minutes on two cores. The
# environments, made once, take some minutes more.
hosts: $(STAMP)
	@command -v redis-server >/dev/null || { \
	  echo "redis-server is not installed. It is the broker of Celery, RQ, dramatiq and huey." >&2; exit 1; }
	$(BIN)/python tests/hosts/install.py $(HOSTS)
	@rm -f $(RESULTS)
	WHISPERR_HOSTS=$(HOSTS) WHISPERR_HOSTS_RESULTS=$(abspath $(RESULTS)) \
	  $(BIN)/python -m pytest -n $(CELLS) -q tests/hosts --ignore tests/hosts/test_table.py $(ARGS)
	$(BIN)/python tests/hosts/table.py $(RESULTS) $(WRITE)

# Forks of random shapes under load, exactly once for each id; see docs/forks.md.
torture: $(STAMP)
	WHISPERR_TORTURE_FORKS=$(FORKS) WHISPERR_TORTURE_SEEDS=$(if $(SEED),seed:$(SEED),$(SEEDS)) \
	  $(BIN)/python -m pytest -n $(TORTURED) -q -rP --dist worksteal tests/torture $(ARGS)

# Four processes track while the service stumbles at random: the accounts, memory, threads and
# descriptors.
soak: $(STAMP)
	WHISPERR_SOAK_SECONDS=$(SECONDS) WHISPERR_SOAK_RATE=$(RATE) WHISPERR_SOAK_SEED=$(SEED) \
	  $(BIN)/python -m pytest -q -rP tests/load/test_soak.py $(ARGS)

# The figures of docs/delivery.md, one test at a time: what the machine does beside it shows.
load: $(STAMP)
	WHISPERR_LOAD_EVENTS=$(EVENTS) $(BIN)/python -m pytest -q -rP tests/load $(ARGS)

# The client beside a simple model of it, and its encoding of any value, in examples that
# hypothesis draws; see docs/delivery.md.
model: $(STAMP)
	WHISPERR_EXAMPLES=$(EXAMPLES) WHISPERR_SEED=$(SEED) \
	  $(BIN)/python -m pytest -n 2 -q tests/model tests/test_encoding_properties.py $(ARGS)

# Requests of thousands of workers in simulated time, beside the bounds; see docs/fleet.md.
fleet: $(STAMP)
	PYTHONPATH=tests:$$PYTHONPATH $(BIN)/python -m fleet --workers $(WORKERS) \
	  $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write $(WRITE)) $(ARGS)

# Schedules of random faults between a client and the server; SEEDS=n draws as many, SEED=n
# repeats one.
faults: $(STAMP)
	WHISPERR_FAULT_SEEDS=$(if $(SEED),seed:$(SEED),$(SEEDS)) \
	  $(BIN)/python -m pytest -n $(SCHEDULES) -q -rP --dist worksteal tests/faults $(ARGS)

# Django's oldest and newest release, and how late an event loop is beside 500 requests that track:
# alone on the machine, since times are judged.
frameworks: $(STAMP)
	$(BIN)/python tests/frameworks/django/install.py
	for environment in .venv-django42 .venv-django6; do \
	  $$environment/bin/python -m pytest -n $(JOBS) -q tests/frameworks/django $(ARGS) || exit 1; done
	WHISPERR_TIMES=1 $(BIN)/python -m pytest -q -rP tests/frameworks/test_loop_lag.py \
	  tests/frameworks/django/test_cost.py tests/test_middleware_cost.py $(ARGS)

# Ours beside comparable SDKs, each in an environment of its own; see docs/performance.md.
bench: $(STAMP)
	PYTHONPATH=tests:$$PYTHONPATH $(BIN)/python -m bench --rounds $(ROUNDS) \
	  $(if $(WRITE),--write $(WRITE)) $(ARGS)

mutants: $(STAMP) $(UWSGI_STAMP)
	$(BIN)/python tests/mutants/run.py --jobs $(MUTANTS) $(if $(WRITE),--write $(WRITE)) $(ARGS)

conformance: $(STAMP)
	@if [ -z "$$WHISPERR_SPEC_PATH" ]; then \
	  echo "WHISPERR_SPEC_PATH is not set. Point it at the service's wire.json and run again." >&2; exit 1; fi
	$(BIN)/python -m pytest -n $(JOBS) tests/conformance $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd docs/examples/django_shop && $(abspath $(BIN))/mypy

demo: $(STAMP)
	$(BIN)/whisperr demo $(ARGS)

clean:
	rm -rf $(VENV) $(UWSGI) $(HOSTS) .venv-django* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
