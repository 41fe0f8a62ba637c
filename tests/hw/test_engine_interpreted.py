"""The engine's processes, interpreted: what a program leaves in memory is the integer graph's value, bit for bit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.kernel.interp import interpret
from edgewright.hw.plan import Plan, plan, unpack_rows
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.sim.network import input_writes
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.integer_models import random_image, random_vit

CONFIGS = (
    EngineConfig(tokens=12),
    EngineConfig(tokens=4, weight_tiles=64, softmax_keys=4),
    EngineConfig(tokens=6, outs=32, weight_tiles=64, softmax_keys=8),
    EngineConfig(tokens=2, outs=64, weight_tiles=64, softmax_keys=16),
)
CASES = {
    "class token": {},
    "pooled": {"pool": True, "width": 48, "heads": 3},
    "two blocks, three planes": {"blocks": 2, "channels": 3, "image": 16, "patch": 4},
    "patches that straddle words": {"image": 28, "patch": 14, "channels": 2, "width": 64, "heads": 4},
    "more outputs than a bank": {"width": 96, "heads": 3, "classes": 1000},
    "head dimension above a tile": {"width": 128, "heads": 2, "image": 12},
}


def run(planned: Plan, image: dict[str, Array]) -> tuple[Array, Array]:
    """(logits that the engine left in memory, logits of the integer graph)."""
    values = interpret_all(planned.graph, image)
    memory = np.frombuffer(planned.image, np.uint8).copy()
    for address, content in input_writes(planned, values).items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    start = {"addr": planned.program_address, "count": len(planned.steps)}
    interpret(program_of(planned.config), {"start": [start]}, memory=memory)
    target = planned.steps[-1].operation.target
    where, address = planned.layouts[target], planned.addresses[target]
    found = unpack_rows(memory[address : address + where.size_bytes].tobytes(), where, where.rows)
    return found, values[target].reshape(where.rows, where.columns)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.tokens}x{c.outs}x{c.ins}")
@pytest.mark.parametrize("sizes", CASES.values(), ids=CASES.keys())
def test_program_equals_graph(sizes: dict[str, int], config: EngineConfig) -> None:
    graph = random_vit(**sizes)
    found, expected = run(plan(graph, config), random_image(graph))
    assert np.array_equal(found, expected)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    grid=st.integers(1, 5),
    patch=st.sampled_from([1, 2, 3, 5, 8, 16]),
    heads=st.integers(1, 3),
    pool=st.booleans(),
    head=st.sampled_from([16, 32, 48]),
    classes=st.integers(1, 70),
    config=st.sampled_from(CONFIGS),
)
def test_any_shape(
    seed: int, grid: int, patch: int, heads: int, head: int, pool: bool, classes: int, config: EngineConfig
) -> None:
    graph = random_vit(seed, image=grid * patch, patch=patch, width=head * heads, heads=heads, pool=pool, classes=classes)
    config = replace(config, weight_tiles=1024)
    found, expected = run(plan(graph, config), random_image(graph, seed))
    assert np.array_equal(found, expected)
