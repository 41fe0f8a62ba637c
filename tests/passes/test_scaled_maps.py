"""Sums and norms of maps, times a constant for each channel: 16 bits remain, whatever the signs."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir import INT8, Array, Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Add, AddRequantised, Div, Mul, Requantise, constant, graph_input
from edgewright.passes.pipeline import quantise
from edgewright.passes.quantisation.sqnr import decibels
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixed_models import Layers

FACTORS: dict[str, list[float]] = {
    "positive": [0.02, 1.5, 3.0, 0.7],
    "of both signs": [-0.02, 1.5, -3.0, 0.7],
    "negative": [-0.3, -1.5, -3.0, -0.7],
    "some 0": [0.0, 1.5, 3.0, 0.7],
    "some 0, of both signs": [0.0, -1.5, 3.0, 0.7],
    "far apart": [1e-9, 1e-4, 3.0, 0.7],
}


def scaled(factor: Array, divide: bool = False, swapped: bool = False) -> Graph:
    """A residual sum, its channels scaled, and an offset."""
    layers = Layers(0)
    image = graph_input("image", (1, 4, 6, 5))
    x = make(Add(), image, layers.conv(image, 4, "conv", 3), origin=("sum",))
    by = constant(factor.astype(np.float32))
    y = make(Div() if divide else Mul(), *((by, x) if swapped else (x, by)), origin=("scaled",))
    return Graph("g", (image,), (make(Add(), y, layers.normal(4, 1, 1), origin=("y",)),), ("y",))


def noise(graph: Graph) -> tuple[float, list[Node]]:
    """Signal over noise in dB on other samples than those of the calibration, and the integer nodes."""
    rng = np.random.default_rng(3)
    done = quantise(graph, {"image": rng.standard_normal((16, 4, 6, 5)).astype(np.float32)})
    x = {"image": rng.standard_normal((8, 4, 6, 5)).astype(np.float32)}
    quant = done.graph.outputs[0].quant
    assert quant is not None
    db = decibels(interpret(graph, x)["y"], quant.real(interpret(done.graph, x)["y"]))
    assert db is not None
    return db, list(done.graph.nodes())


@pytest.mark.parametrize("shape", [(4, 1, 1), (1, 4, 1, 1)])
@pytest.mark.parametrize("name", FACTORS)
def test_channels_keep_16_bits(name: str, shape: tuple[int, ...]) -> None:
    """The convolution reads int8, so its error bounds what the rest can show; the scaled sum adds next to none."""
    factor = np.array(FACTORS[name]).reshape(shape)
    db, nodes = noise(scaled(factor))
    assert db > 38
    assert not any(isinstance(n.op, Mul) for n in nodes)
    differences = sum(isinstance(n.op, AddRequantised) and n.op.subtract for n in nodes)
    assert differences == bool((factor < 0).any())
    assert all(n.op.elem != INT8 for n in nodes if isinstance(n.op, Requantise) and n.name == "scaled")


@given(st.lists(st.floats(-8, 8, width=32).filter(lambda c: c == 0 or abs(c) > 1e-3), min_size=4, max_size=4), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_factors(factors: list[float], swapped: bool) -> None:
    if any(factors):
        assert noise(scaled(np.array(factors).reshape(4, 1, 1), swapped=swapped))[0] > 34


def test_divisors_of_channels() -> None:
    db, nodes = noise(scaled(np.array([0.5, -2.0, 3.0, 0.25]).reshape(4, 1, 1), divide=True))
    assert db > 38 and not any(isinstance(n.op, Mul | Div) for n in nodes)
