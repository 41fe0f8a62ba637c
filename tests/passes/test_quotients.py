"""What a quotient of computed values becomes: which integers it divides, what reports say of it, and inputs that are all 0."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir import INT16, INT32, Array, Graph, Int, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import (
    Add,
    Cast,
    Conv,
    Div,
    Linear,
    MatMul,
    Mul,
    ReduceMean,
    Relu,
    Sigmoid,
    Slice,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import Quantised, optimise, quantise
from edgewright.passes.quantisation.sqnr import decibels, sqnr_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixed_models import Layers, scalar


def quantised(graph: Graph, **values: Array) -> Quantised:
    rng = np.random.default_rng(7)
    samples = {n.name: rng.standard_normal((16, *n.shape[1:])).astype(np.float32) for n in graph.inputs if n.type.is_float}
    return quantise(optimise(graph)[0], samples | values)


def quotient(done: Quantised) -> Node:
    (found,) = (node for node in done.graph.nodes() if isinstance(node.op, Div))
    return found


def db_of(done: Quantised, inputs: dict[str, Array]) -> float:
    quant = done.graph.outputs[0].quant
    assert quant is not None
    (wanted,), (found,) = interpret(done.float_graph, inputs).values(), interpret(done.graph, inputs).values()
    db = decibels(wanted, quant.real(found))
    assert db is not None
    return db


def shares(layers: Layers, x: Node) -> Node:
    """Positive values over their sum; the sum is a mean and a factor under one name, as the reader makes it."""
    weight = make(Sigmoid(), layers.linear(x, 24, "scores"), origin=("weight",))
    total = make(Mul(), make(ReduceMean((2,)), weight, origin=("total",)), scalar(24), origin=("total",))
    return make(Div(), weight, total, origin=("shares",))


def test_reports_name_sums_by_what_they_stand_for() -> None:
    x = graph_input("x", (1, 6, 16))
    done = quantised(Graph("g", (x,), (shares(Layers(0), x),), ("y",)))
    assert quotient(done).inputs[1].elem == INT32
    rows = {name: db for name, _, db in sqnr_rows(done.float_graph, done.graph, {"x": np.ones((1, 6, 16), np.float32)})}
    assert {"total", "shares"} <= rows.keys()
    assert all(db is None or db > 25 for db in rows.values()), rows


def test_both_sides_are_accumulators_where_there_are_any() -> None:
    """Through moves, and with a number added to the divisor; a divisor with a scale for each channel is rescaled first."""
    layers, x = Layers(0), graph_input("x", (1, 6, 16))
    q, k = layers.linear(x, 16, "q"), layers.linear(x, 16, "k")
    square = make(MatMul(), make(Relu(), q, origin=("r",)), constant(np.full((16, 9), 0.3, np.float32)), origin=("square",))
    floor = make(Add(), make(Slice(2, 0, 1), square, origin=("first",)), scalar(0.5), origin=("floor",))
    done = quantised(Graph("g", (x,), (make(Div(), k, floor, origin=("y",)),), ("y",)))
    found = quotient(done)
    assert [n.elem for n in found.inputs] == [INT32, INT32] and isinstance(found.inputs[0].op, Linear)
    assert isinstance(found.op, Div) and found.op.offset > 0
    by_channel = make(Add(), make(Relu(), layers.linear(x, 16, "d"), origin=("e",)), scalar(1.0), origin=("f",))
    done = quantised(Graph("g", (x,), (make(Div(), k, by_channel, origin=("y",)),), ("y",)))
    assert [n.elem for n in quotient(done).inputs] == [INT32, INT16]


def test_channels_of_maps_keep_their_scales() -> None:
    layers, image = Layers(0), graph_input("image", (1, 3, 6, 6))
    above, below = layers.conv(image, 8, "above", 3), make(Sigmoid(), layers.conv(image, 1, "b"), origin=("below",))
    done = quantised(Graph("g", (image,), (make(Div(), above, make(Add(), below, scalar(0.1), origin=("c",))),), ("y",)))
    assert isinstance(quotient(done).inputs[0].op, Conv)
    assert db_of(done, {"image": np.random.default_rng(1).standard_normal((4, 3, 6, 6)).astype(np.float32)}) > 27


def test_a_weighted_mean_over_the_tokens_that_a_mask_keeps() -> None:
    x, mask = graph_input("x", (1, 8, 16)), graph_input("mask", (1, 8, 1), Int(64))
    gate = make(Mul(), make(Sigmoid(), Layers(1).linear(x, 1, "gate"), origin=("open",)), make(Cast(), mask), origin=("kept",))
    sums = [make(ReduceMean((1,)), n, origin=(name,)) for n, name in ((make(Mul(), x, gate, origin=("w",)), "a"), (gate, "b"))]
    keep = (np.arange(8)[None, :, None] < np.arange(1, 17)[:, None, None] % 8 + 1).astype(np.int64)
    done = quantised(Graph("g", (x, mask), (make(Div(), *sums, origin=("y",)),), ("y",)), mask=keep)
    inputs: dict[str, Array] = {"x": np.random.default_rng(1).standard_normal((16, 8, 16)).astype(np.float32), "mask": keep}
    assert db_of(done, inputs) > 25


@given(st.sampled_from([0.0, 1e-30, 1e30, -3.0]), st.floats(-1, 1, width=32))
@settings(max_examples=20, deadline=None)
def test_any_input_gives_integers_in_range(value: float, added: float) -> None:
    """The interpreter checks each value against its type: divisors of 0, and inputs far beyond the calibration."""
    layers, x = Layers(2), graph_input("x", (1, 6, 16))
    divisor = make(
        Add(), make(MatMul(), x, constant(np.ones((16, 1), np.float32)), origin=("s",)), scalar(added), origin=("t",)
    )
    done = quantised(Graph("g", (x,), (make(Div(), layers.linear(x, 16, "n"), divisor, origin=("y",)),), ("y",)))
    interpret(done.graph, {"x": np.full((1, 6, 16), value, np.float32)})


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e4, 1e12])
def test_quotients_of_any_magnitude(scale: float) -> None:
    layers, x = Layers(0), graph_input("x", (1, 6, 16))
    above = make(Mul(), layers.linear(x, 8, "n"), scalar(scale), origin=("scaled",))
    below = make(Add(), make(Sigmoid(), layers.linear(x, 1, "d"), origin=("s",)), scalar(0.3), origin=("f",))
    done = quantised(Graph("g", (x,), (make(Div(), above, below, origin=("y",)),), ("y",)))
    assert db_of(done, {"x": np.random.default_rng(1).standard_normal((4, 6, 16)).astype(np.float32)}) > 27
