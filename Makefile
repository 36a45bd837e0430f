# `make demo` and `make test` are the whole set-up: each creates .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin
# `make demo INSTALL='uv pip install --python .venv --torch-backend=cpu'` for PyTorch without CUDA.
INSTALL ?= $(BIN)/python -m pip install --quiet

.PHONY: demo test fuzz campaign check format dist links clean

demo: links
	$(BIN)/bayesnas demo -o build/demo --force

# What is compiled is kept: tests start many processes. Work is stolen in long stretches, so that few
# files are shared by two workers, which both would set up.
unexport PYTHONDONTWRITEBYTECODE
test: links
	$(BIN)/python -m pytest -n 2 --dist worksteal

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

# A wheel and a source archive in dist/.
dist: links
	rm -rf dist
	$(BIN)/python -m hatchling build
	$(BIN)/python -m twine check --strict dist/*

# Tests and static tools read the package through these links: see hatch_build.py.
links: .venv/installed
	@$(BIN)/python hatch_build.py

.venv/installed: pyproject.toml
	@echo "setting up .venv; with PyTorch for CUDA it takes 6 GB, without less than 2 (see README.md)"
	$(PYTHON) -m venv .venv
	$(INSTALL) --editable '.[dev]'
	@touch $@

clean:
	rm -rf build .mypy_cache .pytest_cache .ruff_cache
