# Everything runs in .venv, which the first target makes: Python 3.11 or newer with pip, venv and make is enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PEERS := benchmarks/peers/.venv
PIP := pip install --quiet --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE  # what is imported is compiled then, once for all processes; most of it never is
PYTEST := $(BIN)/pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test slow lint check bench peers clean

demo: $(VENV)/runs  ## train on handwritten digits for about a minute
	$(BIN)/mulligan demo

test: $(VENV)/tests  ## the fast tests, with doctests and documentation
	$(PYTEST) -m 'not slow'

slow: $(VENV)/tests  ## the other tests
	$(PYTEST) -m slow

lint: $(VENV)/ready  ## layout, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

check: lint  ## what continuous integration runs
	$(PYTEST)

bench: $(VENV)/ready $(PEERS)/ready  ## against PyTorch and Keras: takes hours on two cores
	$(BIN)/python benchmarks/speed/throughput.py
	$(BIN)/python benchmarks/speed/start.py
	$(BIN)/python benchmarks/quality/equal_seconds.py

peers: $(PEERS)/ready  ## what the benchmarks compare with, in an environment of its own

$(VENV)/runs: pyproject.toml constraints.txt  # the package and what it needs
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) -c constraints.txt -e .
	touch $@

$(VENV)/tests: pyproject.toml constraints.txt  # that and what its tests need, at once
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) -c constraints.txt -e '.[test]'
	touch $(VENV)/runs $@

$(VENV)/ready: $(VENV)/tests  # that and what reads the code
	$(BIN)/$(PIP) -c constraints.txt ruff 'pyright[nodejs]' pre-commit
	touch $@

$(PEERS)/ready: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/$(PIP) -r $<
	touch $@

clean:
	rm -rf $(VENV) $(PEERS) dist build .pytest_cache .ruff_cache .hypothesis
