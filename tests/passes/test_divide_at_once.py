"""Products with inverses of computed values become quotients, except where the host makes the inverse of a mask."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir import Graph, Int, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Add, Cast, Div, MatMul, Mul, Reciprocal, ReduceMean, Relu, constant, graph_input
from edgewright.passes.pipeline import quantise
from edgewright.passes.quantisation.divide_at_once import DivideAtOnce
from edgewright.passes.quantisation.sqnr import decibels

from tests.mixed_models import Layers, scalar


def attention(inverse: bool, number: float = 1.0, swapped: bool = False) -> Graph:
    """Linear attention that multiplies by the inverse of its sums, which span several octaves."""
    layers = Layers(0)
    x = graph_input("x", (1, 12, 16))
    q, k, v = (layers.linear(x, 16, name) for name in "qkv")
    q, k = (make(Relu(), n, origin=(n.name + "r",)) for n in (q, k))
    total = make(MatMul(), q, constant(layers.rng.uniform(0, 1, (16, 1)).astype(np.float32)), origin=("total",))
    total = make(Add(), total, scalar(1e-3), origin=("floor",))
    factor = make(Reciprocal(), total, origin=("i",)) if inverse else make(Div(), scalar(number), total, origin=("i",))
    mixed = make(Mul(), *((factor, v) if swapped else (v, factor)), origin=("mixed",))
    return Graph("g", (x,), (layers.linear(mixed, 8, "out"),), ("y",))


@pytest.mark.parametrize(("inverse", "number", "swapped"), [(True, 1.0, False), (False, 1.0, True), (False, -2.5, False)])
def test_an_inverse_becomes_a_division(inverse: bool, number: float, swapped: bool) -> None:
    graph = attention(inverse, number, swapped)
    after, statistics = DivideAtOnce()(graph)
    assert dict(statistics.counts) == {"divisions": 1}
    assert not any(isinstance(n.op, Reciprocal) for n in after.nodes())
    x = {"x": np.random.default_rng(1).standard_normal((16, 12, 16)).astype(np.float32)}
    wanted = interpret(graph, x)["y"]
    np.testing.assert_allclose(interpret(after, x)["y"], wanted, rtol=2e-5, atol=2e-5 * float(np.abs(wanted).max()))
    done = quantise(graph, x)
    quotients = [n for n in done.graph.nodes() if isinstance(n.op, Div)]
    quant = done.graph.outputs[0].quant
    assert len(quotients) == 1 and quant is not None
    db = decibels(wanted, quant.real(interpret(done.graph, x)["y"]))
    assert db is not None and db > 24  # 21 to 22 with a table of inverses


def test_inverses_of_masks_stay_factors() -> None:
    """The mean over tokens that a mask keeps: the host knows how many they are."""
    x, mask = graph_input("x", (1, 4, 8)), graph_input("mask", (1, 4, 1), Int(64))
    kept = make(Cast(), mask, origin=("kept",))
    share = make(Reciprocal(), make(ReduceMean((1,)), kept, origin=("share",)), origin=("inverse",))
    mean = make(Mul(), make(ReduceMean((1,)), make(Mul(), x, kept, origin=("masked",)), origin=("mean",)), share, origin=("y",))
    graph = Graph("g", (x, mask), (mean,), ("y",))
    after, statistics = DivideAtOnce()(graph)
    assert not statistics.counts and not any(isinstance(n.op, Div) for n in after.nodes())
