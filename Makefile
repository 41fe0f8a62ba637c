# Everything happens in ./.venv and ./build; nothing is installed globally. Needs Python >= 3.11, g++, make, perl.
#   make demo    compile a trained vision transformer for the ZCU104 and simulate the whole of it at RTL
#   make check   lint, types and the tests that need no simulator, compiler, TVM or PyTorch: a minute or two
#   make test    lint, types and all tests
#   make bench   the figures of the README: compile time, simulation speed, cycles
#   make bench-cpu  the CPU table of the README: against onnxruntime and OpenVINO, in turns
#   make bench-architectures  cycles of many architectures on the FPGA engine, whole networks at RTL: hours
#   make bench-passes  what experts, fusion, hashing and splitting give: from trained models that are kept here
#   make fuzz    random and mutated models, programs and files, about an hour: faults are printed and end it with 1
#   make docs    the documentation as a site, in build/docs
#   make lint    lint and types alone
#   make clean   remove ./build, ./dist and ./.venv

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$p; exit; fi; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
EXAMPLE := examples

FAST := not slow and not zoo and not vendor and not board

.DEFAULT_GOAL := help
.PHONY: help demo check test bench bench-cpu bench-architectures bench-passes fuzz docs lint clean tools

help:
	@sed -n '2,12s/^# *//p' Makefile

tools:
	@ok=1; \
	if [ -z "$(PYTHON)" ]; then echo "make: needs Python 3.11 or later (Debian: apt install python3 python3-venv)" >&2; ok=0; \
	elif ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "make: $(PYTHON) cannot make environments (Debian: apt install python3-venv)" >&2; ok=0; fi; \
	for t in g++ perl; do command -v $$t >/dev/null || { echo "make: needs $$t (Debian: apt install $$t)" >&2; ok=0; }; done; \
	[ $$ok = 1 ] || exit 2

# One stamp for each set of extras; a change of pyproject.toml renews it.
$(VENV)/.made: | tools
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.sim: pyproject.toml | $(VENV)/.made
	@echo "setting up $(VENV) (once, about a minute)"
	$(PIP) install -e '.[sim,synth,cpu]'
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.sim
	@echo "adding what the tests need to $(VENV) (once)"
	$(PIP) install -e '.[sim,synth,cpu,train,test,docs]'
	$(PIP) install --no-deps hls4ml==1.3.0 # for Xilinx's ap_int headers alone
	@touch $@

demo: $(VENV)/.sim
	@mkdir -p build
	$(BIN)/edgewright compile $(EXAMPLE)/models/vit_fashion.dynamo18.onnx --target zcu104 \
	  --calibration $(EXAMPLE)/data/fashion.npz -o build/fashion
	$(BIN)/edgewright simulate build/fashion --images $(EXAMPLE)/data/fashion.npz --samples 4
	$(BIN)/edgewright compile $(EXAMPLE)/models/vit_fashion.dynamo18.onnx --target host \
	  --calibration $(EXAMPLE)/data/fashion.npz -o build/fashion-cpu
	$(BIN)/edgewright profile build/fashion-cpu --device local

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

check: lint
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal --check

test: lint
	OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m "$(FAST)"

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks.bench

# OpenVINO's quantiser brings a large set of packages, so these have a stamp of their own.
$(VENV)/.bench: pyproject.toml $(VENV)/.test
	$(PIP) install -e '.[sim,synth,cpu,train,test,docs,bench]'
	@touch $@

bench-cpu: $(VENV)/.bench
	$(BIN)/python -m benchmarks.bench_cpu

# The models are made by torch, timm and transformers, in a Python that EDGEWRIGHT_BENCH_PYTHON names.
bench-architectures: $(VENV)/.test
	$(BIN)/python -m benchmarks.architectures --docs

bench-passes: $(VENV)/.test
	$(BIN)/python -m benchmarks.bench_passes

# One after the other, each to its end, so that a night shows all faults.
fuzz: $(VENV)/.test
	@export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1; failed=0; \
	$(BIN)/python -m tests.fuzz.mutated_models --count 5000 --keep build/fuzz || failed=1; \
	$(BIN)/python -m tests.fuzz.random_graphs --count 2000 --compiled 5 || failed=1; \
	$(BIN)/python -m tests.fuzz.runner_mutations --count 2400 || failed=1; \
	$(BIN)/python -m tests.fuzz.cache_races --count 300 || failed=1; \
	$(BIN)/python -m tests.hw.random_programs 0 1000 || failed=1; \
	exit $$failed

docs: $(VENV)/.test
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "open build/docs/index.html"

clean:
	rm -rf build dist $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
