# Everything is set up in .venv, from constraints.txt; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

LOWEST := .venv-lowest
# What meets the libraries whose lowest versions are declared; the rest is torch.
LOWEST_TESTS := tests/ir tests/passes tests/data_adapters tests/views tests/emit tests/plots \
  tests/test_cli.py tests/test_options.py tests/test_pipeline.py tests/test_recipe.py tests/test_registry.py

.PHONY: model test test-slow test-lowest lint types clean

model: $(VENV)/.installed  ## the main job: a mouse V1 column as a PyTorch module
	$(BIN)/ccompile build microns-v1 --out model.py

test: $(VENV)/.installed-dev lint types  ## all checks but the slow ones
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --run-slow -n 2

test-lowest: $(LOWEST)/.installed  ## with the lowest versions that are allowed of all but torch
	$(LOWEST)/bin/python -m pytest -n 2 -p no:cacheprovider $(LOWEST_TESTS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (some minutes the first time)"
	$(PIP) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -e '.[dev]'
	touch $@

# torch is that of .venv, linked by scripts/lowest.py: so the Python has to be the same.
$(LOWEST)/.installed: $(VENV)/.installed-dev scripts/lowest.py
	$(BIN)/python -m venv --clear $(LOWEST)
	$(BIN)/python scripts/lowest.py $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r $(LOWEST)/lowest.txt -c $(LOWEST)/others.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

clean:
	rm -rf $(VENV) $(LOWEST) model.py model.connectome-*.safetensors
