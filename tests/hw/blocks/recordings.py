"""A small engine, cut into parts, and the tokens that small models send through each part."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.kernel import ir
from edgewright.hw.plan import plan
from edgewright.passes.ir.interp import interpret_all
from edgewright.sim.network import input_writes

from tests.hw.blocks.recorded import joined, parts, record
from tests.hw.integer_models import random_image, random_vit

CONFIG = EngineConfig(
    tokens=4,
    outs=32,
    weight_tiles=32,
    activation_tiles=16,
    key_tiles=8,
    param_tiles=64,
    norm_width=64,
    completions=78,
)
MODELS: dict[str, dict[str, int]] = {
    "class token": {"image": 4, "width": 16, "heads": 1},
    "two blocks, three planes, keys of two tiles": {"image": 12, "channels": 3, "blocks": 2},
    "patches that straddle words, pooled": {"image": 20, "patch": 5, "channels": 2, "width": 48, "heads": 3, "pool": True},
    "head dimension above a tile, outputs beyond a bank": {"image": 4, "width": 64, "classes": 200},
}
"""Shapes, see `integer_models`. Their descriptors reach each part as one queue, model after model."""

PARTS = {part.name: part for part in parts(program_of(CONFIG))}


@cache
def recording() -> dict[str, Any]:
    """All tokens of all streams of the engine."""
    found: dict[str, Any] = joined([run(sizes, seed) for seed, sizes in enumerate(MODELS.values())])
    return found


def run(sizes: dict[str, int], seed: int) -> dict[str, Any]:
    """The tokens of one model."""
    graph = random_vit(seed, **sizes)
    planned = plan(graph, CONFIG)
    memory = np.frombuffer(planned.image, np.uint8).copy()
    for address, content in input_writes(planned, interpret_all(graph, random_image(graph, seed))).items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    start = {"addr": [planned.program_address], "count": [len(planned.steps)]}
    return record(program_of(CONFIG), {"start": start}, memory)


def inputs_of(part: ir.Program) -> dict[str, Any]:
    """The recorded tokens of its input streams."""
    return {channel.name: recording()[channel.name] for channel in part.inputs}


def outputs_of(part: ir.Program) -> dict[str, Any]:
    """The tokens that it sent."""
    return {channel.name: recording()[channel.name] for channel in part.outputs}
