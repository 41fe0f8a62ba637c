"""What a plan costs on a board: cycles from the token-level model, resources from synthesis of the same blocks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.engine import build
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.external_memory import IDEAL, ExternalMemory
from edgewright.hw.kernel.schedule import Stages, place
from edgewright.hw.kernel.sv_block import entries, to_systemverilog
from edgewright.hw.kernel.timing import Timing, predict
from edgewright.hw.kernel.timing_events import Clocks
from edgewright.hw.plan import Plan

CELLS_FILE = Path(__file__).with_name("cells.json")
WRAPPER = ("axi_outstanding.sv", "axil_control.sv", "engine_top.v")
RTL = Path(__file__).resolve().parent / "rtl"
CLOCKS = Clocks()
"""Of the printed cells and the simulated memory; a test holds predictions to within 2 % of simulated cycles."""


@dataclass(frozen=True, slots=True)
class Cycles:
    """Predicted cycles of one image. ``steps``: for each descriptor, from the previous one's last store to its own."""

    total: int
    steps: tuple[int, ...]


@cache
def program_of(config: EngineConfig) -> ir.Program:
    """The engine of a configuration, traced once."""
    return build(config).check()


@cache
def rtl_files(config: EngineConfig) -> Mapping[str, str]:
    """SystemVerilog of the engine: depends on the configuration alone, never on a model."""
    files = to_systemverilog(program_of(config))
    return files | {name: (RTL / name).read_text() for name in WRAPPER}


@cache
def stages_of(config: EngineConfig) -> dict[str, Stages]:
    """The schedule of every process."""
    return {process.name: place(process) for process in program_of(config).processes}


def access_stage(stages: Stages, node: ir.Node) -> int:
    """The stage in which a Write, Store or Load of the process takes place in the printed hardware."""
    target = node.op.channel if isinstance(node.op, ir.Write) else node.op.buffer  # type: ignore[attr-defined]
    return max(
        at
        for other, at in stages.start.items()
        if type(other.op) is type(node.op) and getattr(other.op, "channel", getattr(other.op, "buffer", None)) is target
    )


def predict_cycles(plan: Plan, memory: ExternalMemory = IDEAL) -> Cycles:
    """Cycles from the start of a program to its ``finished``, with this memory behind the engine."""
    timing = timing_of(plan, memory)
    total = timing.outputs["finished"][0]
    ends = [end for _, end in timing.activity["store_words"].spans]
    steps = tuple(end - before for before, end in zip([0, *ends[:-1]], ends, strict=True))
    return Cycles(total, steps)


def timing_of(plan: Plan, memory: ExternalMemory = IDEAL) -> Timing:
    """When each process of the engine works on a program, and what it waits for."""
    program = program_of(plan.config)
    operations = [tuple(step.fields[name] for name in op.FIELDS) for step in plan.steps]
    loads = [tuple(step.fields[name] for name, _ in op.LoadGate.fields) for step in plan.steps]
    start = [(plan.program_address, len(plan.steps))]
    tokens: dict[str, Sequence[tuple[int, ...]]]
    tokens = {"start": start, "start_0": start, "start_1": start, "load_cmd": loads, "run_cmd": operations}
    stages = stages_of(plan.config)
    return predict(
        program,
        tokens,
        entries=lambda channel: entries(channel, stages),
        stages=lambda process, node: access_stage(stages[process.name], node),
        clocks=CLOCKS,
        inputs={"start": 1},
        memory=memory,
    )


@dataclass(frozen=True, slots=True)
class Used:
    """Resources of a whole engine; None where nobody has synthesised this configuration."""

    dsp: int | None = None
    lut: int | None = None
    ff: int | None = None
    bram36: int | None = None
    uram: int | None = None
    source: str | None = None


def resources_of(config: EngineConfig) -> Used:
    """Sums of the cells that `hw/cells.json` holds for each block of this configuration (see `hw/cells.py`)."""
    known = json.loads(CELLS_FILE.read_text(encoding="utf-8")) if CELLS_FILE.is_file() else {}
    found = known.get(config_key(config))
    if found is None:
        return Used()
    total = {name: sum(cells[name] for cells in found["blocks"].values()) for name in ("dsp", "lut", "ff", "bram36", "uram")}
    return Used(**{name: math.ceil(value) for name, value in total.items()}, source=found["source"])


def config_key(config: EngineConfig) -> str:
    """The configuration as a key of `hw/cells.json`."""
    return " ".join(f"{name}={getattr(config, name)}" for name in config.__dataclass_fields__)
