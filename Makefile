# make demo: the whole way on real data, from a bare checkout.   make test: lint, types, tests.
# Needs Python 3.11 (3.12 and 3.13 are untested), make, a C++ compiler, and a package index.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
WEIGHTS := $(CURDIR)/$(VENV)/weights
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c .ci/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu lint format check-tools clean

help:
	@sed -n 1p Makefile

demo: $(VENV)/.demo
	@$(BIN)/recsys run pipelines/configs/demo.toml --no-summary
	@$(BIN)/recsys run pipelines/configs/demo-content.toml --no-summary
	@$(BIN)/recsys summary runs/demo runs/demo-content

test: $(VENV)/.dev lint
	@RECSYS_WEIGHTS=$(WEIGHTS) $(BIN)/python -m pytest

test-gpu: $(VENV)/.dev
	@RECSYS_WEIGHTS=$(WEIGHTS) $(BIN)/python -m pytest -m gpu --device cuda

lint: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

$(VENV)/.demo: pyproject.toml .ci/constraints.txt | check-tools
	@echo "installing recsys into $(VENV) (some minutes the first time)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml .ci/constraints.txt | check-tools
	@echo "installing recsys and its tools into $(VENV) (some minutes the first time)"
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[demo,dev]'
	@RECSYS_WEIGHTS=$(WEIGHTS) $(BIN)/recsys weights fetch musicnn-mtt musicnn-msd aisfx \
		|| echo "the tests that need these weights are skipped"
	@touch $@ $(VENV)/.demo

check-tools:
	@sh .ci/check-tools '$(PYTHON)'

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
