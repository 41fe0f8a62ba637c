"""Channels whose ranges differ: scales per channel, and outliers spread over several columns."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.exact.split_outliers import SplitOutliers
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.ir.verify import verify
from edgewright.passes.ops import Add, Concat, Conv, Gelu, Linear, Requantise, constant, graph_input, value_of
from edgewright.passes.pipeline import QuantiseOptions, quantise
from edgewright.passes.quantisation.calibrate import Calibration, calibrate, observe
from edgewright.passes.quantisation.lowering_channels import weighed
from edgewright.passes.quantisation.sqnr import decibels

from tests.mixed_models import Layers


def value(node: Node) -> Array:
    """A constant's."""
    found = value_of(node)
    assert found is not None
    return found


def depthwise_behind_a_sum(spread: float) -> Graph:
    """Channels whose ranges differ by up to `spread`, each filtered by itself and scaled back."""
    layers = Layers(0)
    x = graph_input("x", (1, 8, 6, 6))
    ranges = np.geomspace(1, spread, 8).astype(np.float32)
    w = constant(np.diag(ranges).reshape(8, 8, 1, 1).astype(np.float32))
    wide = make(Conv(), x, w, constant(np.zeros(8, np.float32)), origin=("scaled",))
    total = make(Add(), wide, wide, origin=("sum",))
    filters = value(layers.normal(8, 1, 3, 3)) / ranges.reshape(8, 1, 1, 1)
    y = make(Conv((1, 1), (1,) * 4, (1, 1), 8), total, constant(filters), constant(np.zeros(8, np.float32)), origin=("filter",))
    return Graph("depthwise", (x,), (y,), ("y",))


def noise_db(graph: Graph, given: dict[str, Array], tested: dict[str, Array], split: bool = False) -> float:
    done = quantise(graph, given, QuantiseOptions(split_outliers=split))
    verify(done.graph)
    (node,) = done.graph.outputs
    assert node.quant is not None
    name = graph.output_names[0]
    found = decibels(interpret(graph, tested)[name], node.quant.real(interpret(done.graph, tested)[name]))
    assert found is not None
    return found


def normal(graph: Graph, count: int, seed: int) -> dict[str, Array]:
    shape = (count, *graph.inputs[0].shape[1:])
    return {graph.inputs[0].name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def test_depthwise_filters_lose_nothing_to_other_channels() -> None:
    for spread in (1.0, 300.0):
        graph = depthwise_behind_a_sum(spread)
        done = quantise(graph, normal(graph, 32, 0))
        (operand,) = {n.inputs[0] for n in done.graph if isinstance(n.op, Conv) and n.op.groups == 8}
        assert isinstance(operand.op, Requantise)
        assert operand.inputs[1].shape == ((8, 1, 1) if spread > 1 else (1,))
        assert noise_db(graph, normal(graph, 32, 0), normal(graph, 32, 1)) > 33


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_scales_move_into_weights(groups: int) -> None:
    rng = np.random.default_rng(groups)
    x, w = rng.standard_normal((1, 8, 5, 5)), rng.standard_normal((16, 8 // groups, 3, 3))
    scale = rng.uniform(0.1, 10, 8)
    op = Conv(groups=groups)
    node = make(op, graph_input("x", (1, 8, 5, 5)), constant(w.astype(np.float32)))
    moved = weighed(node, w, scale)
    assert np.allclose(op.eval(x, w), op.eval(x / scale.reshape(8, 1, 1), moved), rtol=1e-4, atol=1e-4)


def with_outliers(times: float = 30) -> Graph:
    """A hidden layer in which three channels reach so many times as far as the others."""
    layers = Layers(0)
    x = graph_input("x", (1, 10, 16))
    hidden = layers.linear(x, 960, "up")
    gain = np.ones(960, np.float32)
    gain[[5, 77, 300]] = times
    up = make(Linear(), x, constant(value(hidden.inputs[1]) * gain[:, None]), hidden.inputs[2], origin=("up",))
    down = layers.linear(make(Gelu(), up, origin=("gelu",)), 12, "down")
    weight = constant(value(down.inputs[1]) / gain)
    return Graph("outliers", (x,), (make(Linear(), down.inputs[0], weight, down.inputs[2], origin=("down",)),), ("y",))


def test_splitting_outliers_is_exact_in_float_and_helps_in_integers() -> None:
    graph = with_outliers()
    given, tested = normal(graph, 16, 0), normal(graph, 16, 1)
    after, statistics = SplitOutliers(calibrate(graph, given))(graph)
    assert dict(statistics.counts) == {"channels split": 16}  # whole words of 16 channels
    assert np.allclose(interpret(after, tested)["y"], interpret(graph, tested)["y"], atol=1e-4)
    (joined,) = (n for n in after if isinstance(n.op, Concat))
    assert 960 < joined.shape[-1] <= 960 * 13 / 12
    plain = noise_db(graph, given, tested)
    assert noise_db(graph, given, tested, split=True) > plain + 6


def test_even_channels_are_left_alone() -> None:
    graph = with_outliers(1)
    after, statistics = SplitOutliers(calibrate(graph, normal(graph, 16, 0)))(graph)
    assert not statistics.counts
    assert not any(isinstance(n.op, Concat) for n in after)


def test_channels_are_observed_along_both_axes() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.standard_normal((n, 3, 4, 5)).astype(np.float32) for n in (2, 5))
    whole = np.concatenate([first, second])
    x = graph_input("x", (1, 3, 4, 5))
    seen = Calibration({x: observe(first).joined(observe(second))}, 7)
    for axis, others in ((-1, (0, 1, 2)), (-3, (0, 2, 3))):
        channels = seen.channels(x, axis)
        assert np.array_equal(channels.low, whole.min(axis=others))
        assert np.array_equal(channels.high, whole.max(axis=others))
        assert np.allclose(channels.square, (whole.astype(np.float64) ** 2).mean(axis=others))
        assert channels.each == whole.size // len(channels.low)
