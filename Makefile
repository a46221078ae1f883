# One virtual environment for everything; each target makes it when it is missing or a requirement has changed.
# Without make (Windows): README.md gives the same commands for PowerShell.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c "import sys; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# The locks name every package: nothing is left to resolve; and only what is imported is compiled.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile
# Most tests wait for a socket or a process: more of them at once than a small machine has cores.
WORKERS ?= 8
VENUE ?= hyperliquid
HOURS ?= 1
SEEDS ?= 1000
N ?= 500
COUNT ?= 1000000
KEEP = $(BIN)/python -m benchmarks.reliability

.PHONY: run test check lint pytest collect bench soak simulate faults kill fuzz mutants audit sim clean
# Tests start hundreds of processes; each would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

run: $(VENV)/run.ok
	$(BIN)/python trading_bot.py $(ARGS)

test: $(VENV)/dev.ok
	@$(MAKE) --no-print-directory -j 2 lint pytest

pytest: collect
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/dev.ok
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Compiles the tests once, instead of once a worker.
collect: $(VENV)/dev.ok
	@$(BIN)/python -m pytest --collect-only -q > $(VENV)/collected.txt || { tail -n 30 $(VENV)/collected.txt; exit 1; }

bench: $(VENV)/run.ok
	$(BIN)/python -m benchmarks $(ARGS)

# --- the promises under attack; each writes its part of docs/reliability.md ---

# Days of both venues from seeds; a failure prints the command that plays its day again.
simulate: $(VENV)/dev.ok
	$(KEEP) simulate-hyperliquid -- $(BIN)/python -m sim.world --venue hyperliquid --seeds $(SEEDS) $(ARGS)
	$(KEEP) simulate-topstepx -- $(BIN)/python -m sim.world --venue topstepx --seeds $(SEEDS) $(ARGS)

faults: $(VENV)/dev.ok
	$(KEEP) faults -- $(BIN)/python -m tests.faults $(ARGS)

kill: $(VENV)/dev.ok
	$(KEEP) kill-hyperliquid -- $(BIN)/python -m tests.kill --venue hyperliquid --kills $(N) $(ARGS)
	$(KEEP) kill-topstepx -- $(BIN)/python -m tests.kill --venue topstepx --kills $(N) $(ARGS)

fuzz: $(VENV)/dev.ok
	$(KEEP) fuzz-frames -- $(BIN)/python -m tests.fuzz --what frames --count $(COUNT)
	$(KEEP) fuzz-answers -- $(BIN)/python -m tests.fuzz --what answers --count $(COUNT)
	$(KEEP) fuzz-decide -- $(BIN)/python -m tests.fuzz --what decide --count $(COUNT)
	$(KEEP) fuzz-configs -- $(BIN)/python -m tests.fuzz --what configs --count 10000

mutants: $(VENV)/dev.ok
	$(KEEP) mutants -- $(BIN)/python -m tests.mutants $(ARGS)

# 1,000 messages a second and a disconnect a minute. `make soak HOURS=0.05` for a try; without disconnects at the pace of
# two quiet contracts: `make soak VENUE=topstepx ARGS="--rate 200 --drop-every 0"`.
soak: $(VENV)/run.ok
	$(KEEP) soak-$(VENUE) -- $(BIN)/python -m benchmarks.soak --venue $(VENUE) --hours $(HOURS) $(ARGS)

# Known weaknesses of what is installed, where their list can be reached; the pins in any case.
audit: $(VENV)/dev.ok
	@test -x $(VENV)-audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)-audit && $(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; }
	$(KEEP) audit -- $(BIN)/python scripts/audit_dependencies.py --pip-audit $(VENV)-audit/bin/pip-audit

sim: $(VENV)/run.ok
	$(BIN)/python -m sim --venue $(VENUE) --port 9000 $(ARGS)

check: $(VENV)/run.ok
	$(BIN)/python trading_bot.py $(ARGS) check

clean:
	rm -rf $(VENV) $(VENV)-audit .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/run.ok: requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found; if it is elsewhere: make run PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed, this is ' + sys.version.split()[0])"
	@echo "Setting up $(VENV) with $(PYTHON) (once, about half a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@touch $@

$(VENV)/dev.ok: $(VENV)/run.ok requirements-dev.lock
	@echo "Adding what the tests need ..."
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@
