"""Predict the cost of a plan on a board: cycles from the token-level model, resources from synthesis of the same blocks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.engine import build
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.chains import Chain, slowest_chains
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.schedule import place_all
from edgewright.hw.kernel.sv_block import to_systemverilog
from edgewright.hw.kernel.timing import Timing, predict
from edgewright.hw.kernel.timing_events import Clocks
from edgewright.hw.kernel.types import leaves
from edgewright.hw.plan import Plan
from edgewright.hw.top import RTL, engine_top
from edgewright.passes.diagnostics import CompileError, Diagnostic

CELLS_FILE = Path(__file__).with_name("cells.json")
ROUNDING_NS = 0.001
WRAPPER = ("axi_outstanding.sv", "axil_control.sv")
CLOCKS = Clocks()
"""Of the printed cells and the simulated memory; a test holds predictions to within 2 % of simulated cycles."""


@dataclass(frozen=True, slots=True)
class Cycles:
    """Predicted cycles of one image. ``steps``: of each descriptor, from the last store of the previous one to its own.
    ``ideal``: of the image with a memory that limits nothing but latency, if it was predicted."""

    total: int
    steps: tuple[int, ...]
    ideal: int | None = None


@cache
def program_of(config: EngineConfig) -> ir.Program:
    """Return the engine of a configuration, traced once."""
    return build(config).check()


@cache
def rtl_files(config: EngineConfig) -> Mapping[str, str]:
    """Return the engine's SystemVerilog, which depends on the configuration alone, never on a model."""
    program = program_of(config)
    files = to_systemverilog(program, config.period_ns) | {name: (RTL / name).read_text() for name in WRAPPER}
    return files | {"engine_top.v": engine_top(program)}


@cache
def placements_of(config: EngineConfig) -> dict[str, Placement]:
    """Schedule every process for the engine's clock."""
    return place_all(program_of(config), config.period_ns)


@cache
def chains_of(config: EngineConfig) -> tuple[Chain, ...]:
    """Return the slowest chain of each process, the slowest first, by the table of `hw.kernel.delays`."""
    return tuple(slowest_chains(program_of(config), placements_of(config)))


def check_clock(config: EngineConfig) -> None:
    """CompileError P005 for each process with a chain that takes longer than a cycle."""
    slow = [chain for chain in chains_of(config) if chain.ns > config.period_ns + ROUNDING_NS]
    errors = [
        Diagnostic(
            "P005",
            f"a clock of {config.clock_mhz} MHz is out of reach",
            f"process {chain.process}" + (f", {chain.where}" if chain.where else ""),
            f"by the table of delays {chain} takes {chain.ns:.2f} ns, a cycle {config.period_ns:.2f} ns",
            f"try --clock {math.floor(1000 / slow[0].ns)} or lower",
        )
        for chain in slow
    ]
    if errors:
        raise CompileError(errors)


def predict_cycles(plan: Plan, memory: MemoryTiming = IDEAL) -> Cycles:
    """Predict the cycles from the start of a program to its ``finished``, with this memory behind the engine."""
    return cycles_of(timing_of(plan, memory))


def cycles_of(timing: Timing) -> Cycles:
    """Return the cycles of a predicted run."""
    total = timing.outputs["finished"][0]
    ends = [end for _, end in timing.activity["store_words"].spans]
    steps = tuple(end - before for before, end in zip([0, *ends[:-1]], ends, strict=True))
    return Cycles(total, steps)


def timing_of(plan: Plan, memory: MemoryTiming = IDEAL) -> Timing:
    """Predict when each process of the engine works on a program, and what it waits for."""
    program = program_of(plan.config)
    sides = {
        f"{name}_cmd": [tuple(step.fields[path[-1]] for path, _, _ in leaves(side)) for step in plan.steps]
        for name, side in op.SIDES.items()
    }
    start = [(plan.program_address, len(plan.steps))]
    tokens: dict[str, Any]
    fetched = np.concatenate([step.requests for step in plan.steps])
    requested = np.column_stack([fetched, np.zeros(len(fetched), np.int64)])  # without a mark
    tokens = {"start": start, "start_0": start, "start_1": start, "activations_requests": requested, **sides}
    return predict(
        program,
        tokens,
        placements=placements_of(plan.config),
        clocks=CLOCKS,
        inputs={"start": 1},
        memory=memory,
    )


@dataclass(frozen=True, slots=True)
class Used:
    """Resources of a whole engine; None if this configuration has not been synthesised."""

    dsp: int | None = None
    lut: int | None = None
    ff: int | None = None
    bram36: int | None = None
    uram: int | None = None
    source: str | None = None


def resources_of(config: EngineConfig) -> Used:
    """Sum the cells that `hw/cells.json` lists for each block of this configuration (see `hw/cells.py`)."""
    known = json.loads(CELLS_FILE.read_text(encoding="utf-8")) if CELLS_FILE.is_file() else {}
    cells_of = known.get(config_key(config))
    if cells_of is None:
        return Used()
    total = {name: sum(cells[name] for cells in cells_of["blocks"].values()) for name in ("dsp", "lut", "ff", "bram36", "uram")}
    return Used(**{name: math.ceil(value) for name, value in total.items()}, source=cells_of["source"])


def config_key(config: EngineConfig) -> str:
    """Return the configuration as a key of `hw/cells.json`."""
    return " ".join(f"{name}={getattr(config, name)}" for name in config.__dataclass_fields__)
