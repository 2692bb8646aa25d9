# Everything is set up in .venv, from constraints.txt; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: model test test-slow lint types clean

model: $(VENV)/.installed  ## the main job: a mouse V1 column as a PyTorch module
	$(BIN)/ccompile build microns-v1 --out model.py

test: $(VENV)/.installed-dev lint types  ## all checks but the slow ones
	$(BIN)/python -m pytest -n 2

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --run-slow -n 2

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

clean:
	rm -rf $(VENV) model.py model.connectome-*.safetensors
