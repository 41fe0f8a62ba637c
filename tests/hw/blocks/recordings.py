"""A small engine, cut into parts, and the tokens that small models send through each part."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from edgewright.frontend.trial import quantised_on_random
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.kernel import ir
from edgewright.hw.plan import plan
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.sim.network import input_writes

from tests.hw.blocks.recorded import joined, parts, record
from tests.hw.breadth_models import convnext, mobile, odd_heads, pyramid, swin
from tests.hw.integer_models import random_image, random_vit
from tests.hw.interpreted import random_inputs
from tests.hw.small_graphs import given
from tests.hw.test_single_operators import CASES
from tests.mixed_models import samples, text_network

CONFIG = EngineConfig(
    tokens=4,
    outs=32,
    weight_tiles=64,
    activation_tiles=32,
    key_tiles=8,
    param_tiles=64,
    norm_width=128,
    bias_entries=32,
    window_words=96,
    completions=78,
)
MODELS: dict[str, dict[str, int]] = {
    "class token": {"image": 4, "width": 16, "heads": 1},
    "two blocks, three planes, keys of two tiles": {"image": 12, "channels": 3, "blocks": 2},
    "patches that straddle words, pooled": {"image": 20, "patch": 5, "channels": 2, "width": 48, "heads": 3, "pool": True},
    "head dimension above a tile, outputs beyond a bank": {"image": 4, "width": 64, "classes": 200},
}
"""Shapes, see `integer_models`. Their descriptors reach each part as one queue, model after model."""
OPERATORS = (
    "a convolution padded by another value",
    "a depthwise convolution with strides of 2 and 3",
    "LayerNorm into 16 bits",
    "a product with one row",
    "a difference",
    "a sum of rows of 16 bits",
    "rows by a constant list",
    "max pooling of overlapping windows, padded",
    "what is above 0 of 16 bits",
)
"""Of `test_single_operators`: what the networks below do not have."""


def graphs() -> Iterator[tuple[Graph, dict[str, Array]]]:
    """Yield every model with an input."""
    for seed, sizes in enumerate(MODELS.values()):
        graph = random_vit(seed, **sizes)
        yield graph, random_image(graph, seed)
    for network in (swin(0, 16, 1, 2, 4), pyramid(0, 16, 1, 4), mobile(0, 16, 4), convnext(0, 24, 4), odd_heads(0, 20, 2, 9)):
        graph = quantised_on_random(network)
        yield graph, random_inputs(graph)
    text = text_network()
    graph = quantised_on_random(text)
    yield graph, samples(graph, 1)
    for name in OPERATORS:
        graph = CASES[name]()
        yield graph, given(graph)


PARTS = {part.name: part for part in parts(program_of(CONFIG))}


@cache
def recording() -> dict[str, Any]:
    """All tokens of all streams of the engine."""
    found: dict[str, Any] = joined([run(graph, inputs) for graph, inputs in graphs()])
    return found


def run(graph: Graph, inputs: dict[str, Array]) -> dict[str, Any]:
    """The tokens of one model."""
    planned = plan(graph, CONFIG)
    memory = np.frombuffer(planned.image, np.uint8).copy()
    for address, content in input_writes(planned, interpret_all(graph, inputs)).items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    start = {"addr": [planned.program_address], "count": [len(planned.steps)]}
    return record(program_of(CONFIG), {"start": start}, memory)


def inputs_of(part: ir.Program) -> dict[str, Any]:
    """The recorded tokens of its input streams."""
    return {channel.name: recording()[channel.name] for channel in part.inputs}


def outputs_of(part: ir.Program) -> dict[str, Any]:
    """The tokens that it sent."""
    return {channel.name: recording()[channel.name] for channel in part.outputs}
