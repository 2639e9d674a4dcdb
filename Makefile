PYTHON ?= python3
VENV   ?= .venv
RUN    ?= runs/demo
CONFIG ?= auto
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo train export verify sim accuracy accuracy-long defaults bench-train test lint synth formal mutate clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.ready ## virtual environment with every tool; says what apt has to bring

$(VENV)/.ready: pyproject.toml constraints.txt scripts/apt-install
	scripts/apt-install
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[all]'
	touch $@

demo: setup ## train on MNIST where it is at hand, else on digits; export, verify in all engines, report
	$(BIN)/deepr-hw run $(CONFIG) --out $(RUN)

train: setup ## train CONFIG into RUN
	$(BIN)/deepr-hw train $(CONFIG) --out $(RUN)

export: setup ## the demo with every engine there is: all compared, the certificate, the table of sizes (20 minutes)
	$(BIN)/deepr-hw run $(CONFIG) --out $(RUN) --engines all
	$(BIN)/python -m bench.sizes $(RUN)/net.safetensors

sim: setup ## the RTL benches, both simulators
	$(BIN)/pytest -q tests -k 'rtl or sim'

accuracy: setup ## MNIST: DEEP R against a fixed random mask under the same budget, mean of 3 seeds (2 minutes)
	$(BIN)/python -m bench.accuracy

accuracy-long: setup ## MNIST with 3,288 connections, and what each part of the recipe brings, mean of 3 seeds (an hour)
	$(BIN)/python -m bench.accuracy --table budget3288

defaults: setup ## untouched defaults on eight data sets beside RigL, SET, fixed positions and a dense MLP (30 minutes)
	$(BIN)/python -m bench.defaults

bench-train: setup ## a training step beside dense masks and scipy.sparse, and its scale to 10^12 positions (10 minutes)
	$(BIN)/python -m bench.training_step && $(BIN)/python -m bench.training_step --wide && $(BIN)/python -m bench.scale

verify: setup ## RUN's network in every engine again
	$(BIN)/deepr-hw verify $(RUN)/net.safetensors --json $(RUN)/verify.json

test: setup ## every test, a process per core
	$(BIN)/pytest -q -n auto --dist worksteal

lint: setup ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

synth: setup ## area, clock, critical path of the engine over lanes (ECP5)
	$(BIN)/python -m bench.area
	$(BIN)/python -m bench.area_law

formal: setup ## proofs of the engine's modules (SymbiYosys, z3)
	$(BIN)/python -m deepr_hw.sim.formal

mutate: setup ## broken designs against benches and proofs, about an hour
	$(BIN)/python -m bench.mutate

clean: ## everything made here, the virtual environment included
	rm -rf $(VENV) build runs *.egg-info .pytest_cache .ruff_cache .mypy_cache
