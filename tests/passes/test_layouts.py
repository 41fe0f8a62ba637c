"""Values that meet in different layouts, in integers: what random sums, joins and moves of them must not change."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.frontend.canonical.canonicalise import canonicalise
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import (
    Add,
    Concat,
    Conv,
    Gelu,
    LayerNormalization,
    Linear,
    Relu,
    Sub,
    Transpose,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import Quantised, optimise, quantise
from edgewright.passes.quantisation.sqnr import decibels, sqnr_rows

from tests.frontend.test_writer_integer import assert_same_bits
from tests.layout_graphs import Drawn
from tests.mixed_models import Layers, samples

LAST, FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


def quantised(graph: Graph) -> Quantised:
    return quantise(optimise(canonicalise(graph)[0])[0], samples(graph, 16))


def least(done: Quantised, graph: Graph) -> float:
    """The worst output against the float graph, dB."""
    x = samples(graph, 16, seed=1)
    wanted, found = interpret(graph, x), interpret(done.graph, x)
    db = []
    for name, node in zip(done.graph.output_names, done.graph.outputs, strict=True):
        assert node.quant is not None
        db.append(decibels(wanted[name], node.quant.real(found[name])) or 99.0)
    return min(db)


def convnext_block(size: int) -> Graph:
    layers = Layers(0)
    image = graph_input("image", (1, 3, size, size))
    x = layers.conv(image, 8, "stem", 3)
    y = make(Transpose(LAST), layers.conv(x, 8, "depthwise", 3, groups=8), origin=("last",))
    y = layers.linear(make(Gelu("none"), layers.linear(layers.norm(y, "norm"), 16, "wide"), origin=("gelu",)), 8, "narrow")
    x = make(Add(), x, make(Transpose(FIRST), y, origin=("first",)), origin=("sum",))
    return Graph("convnext", (image,), (layers.conv(x, 5, "head"),), ("y",))


@pytest.mark.parametrize("size", [4, 8])  # 8 channels: square maps whose transpose has the same shape too
def test_noise_is_measured_against_the_value_in_the_same_layout(size: int) -> None:
    graph = convnext_block(size)
    done = quantised(graph)
    rows = sqnr_rows(done.float_graph, done.graph, samples(graph, 4, seed=1))
    assert {"stem", "sum"} <= {name for name, _, _ in rows}
    assert all(db is None or db > 25 for _, _, db in rows), rows
    assert least(done, graph) > 25


def joined(*parts: Node, image: Node) -> Graph:
    return Graph("joined", (image,), (Layers(1).linear(make(Concat(2), *parts, origin=("join",)), 6, "head"),), ("y",))


def test_an_activation_that_a_view_hands_to_a_sum_has_no_zero_point() -> None:
    layers, x = Layers(0), graph_input("x", (1, 6, 6))
    gelu = make(Gelu("none"), layers.linear(x, 6, "a"), origin=("gelu",))
    turned = make(Transpose((0, 2, 1)), gelu, origin=("turned",))
    graph = Graph("sum", (x,), (make(Add(), turned, layers.linear(x, 6, "b"), origin=("sum",)),), ("y",))
    assert least(quantised(graph), graph) > 30


def test_a_relu_under_the_range_of_a_join_stops_at_its_zero() -> None:
    layers, x = Layers(0), graph_input("x", (1, 6, 6))
    shifted = make(Add(), layers.linear(x, 6, "b"), constant(np.full(6, -3, np.float32)), origin=("shifted",))
    for source in (layers.linear(x, 6, "a"), make(Sub(), x, layers.linear(x, 6, "c"), origin=("difference",))):
        graph = joined(make(Relu(), source, origin=("relu",)), shifted, image=x)
        assert least(quantised(graph), graph) > 30


def test_scales_per_channel_follow_one_axis() -> None:
    """A convolution that a Linear reads along its rows: the accumulators' channels are not the Linear's."""
    layers, x = Layers(0), graph_input("x", (1, 4, 6, 8))
    spread = constant(np.array([1, 8, 0.5, 20], np.float32).reshape(4, 1, 1, 1) * np.ones((4, 4, 3, 3), np.float32))
    image = make(Conv(pads=(1, 1, 1, 1)), x, spread, layers.normal(4), origin=("conv",))
    graph = Graph("rows", (x,), (layers.linear(image, 6, "rows"),), ("y",))
    assert least(quantised(graph), graph) > 30
    assert {type(node.op) for node in quantised(graph).graph} >= {Conv, Linear}


@pytest.mark.parametrize("seed", range(24))
def test_random_layouts_keep_every_bit(seed: int) -> None:
    graph = Drawn(seed).graph(12 + seed % 12)
    done = quantised(graph)
    sqnr_rows(done.float_graph, done.graph, samples(graph, 2, seed=seed))
    assert_same_bits(done.graph.outputs, samples(graph, 1, seed=seed))
    shallow = not any(isinstance(node.op, LayerNormalization) and node.shape[-1] < 6 for node in graph)
    assert least(done, graph) > (20 if shallow else 0)
