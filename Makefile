# `make demo` and `make test` are the whole set-up: each creates .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test fuzz check format links clean

demo: .venv/installed
	$(BIN)/bayesnas demo -o build/demo --force

test: .venv/installed links
	$(BIN)/python -m pytest -n 2

# Half an hour; `make fuzz CASES=1000 SEED=7` for less. What fails is saved in build/fuzz and comes
# again with `PYTHONPATH=.links $(BIN)/python tests/fuzz.py --replay FILE`.
CASES ?= 21000
SEED ?= 0
fuzz: .venv/installed links
	PYTHONPATH=.links OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz.py --cases $(CASES) --seed $(SEED)

check: .venv/installed links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Static tools cannot follow [tool.setuptools.package-dir]; they read the package through these links.
links:
	@mkdir -p .links/bayesnas
	@for file in bayesnas/*; do ln -sfn ../../$$file .links/$$file; done
	@for room in dsl compiler runtime specs; do ln -sfn ../../$$room .links/bayesnas/$$room; done

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .links .mypy_cache .pytest_cache .ruff_cache
