# `make demo` and `make test` are the whole set-up: each creates .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test fuzz campaign check format links clean

demo: links
	$(BIN)/bayesnas demo -o build/demo --force

test: links
	$(BIN)/python -m pytest -n 2

# Half an hour; `make fuzz CASES=1000 SEED=7` for less. What fails is saved in build/fuzz and comes
# again with `PYTHONPATH=.links $(BIN)/python tests/fuzz.py --replay FILE`.
CASES ?= 21000
SEED ?= 0
fuzz: links
	PYTHONPATH=.links OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --cases $(CASES) --seed $(SEED)

# Runs that are killed, damaged and lied about: docs/reliability.md has the figures. About 10 minutes.
campaign: links
	$(BIN)/python -m tests.campaign --seed $(SEED)

check: links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tests and static tools read the package through these links: see hatch_build.py.
links: .venv/installed
	@$(BIN)/python hatch_build.py

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
