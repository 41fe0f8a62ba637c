"""Sequence-first layers: Reshapes that move an axis of 1 sink to the end, and sums meet the products that end in them."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.hw.plan import plan
from edgewright.passes.exact.sink_reshapes import SinkReshapes
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import (
    Add,
    Attention,
    Gelu,
    LayerNormalization,
    Linear,
    ReduceMean,
    Reshape,
    Slice,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import optimise, quantise

from tests.hw.random_programs import CONFIG, interpreted

TOKENS, WIDTH = 6, 32


class Layers:
    """Float layers with random weights."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def real(self, *shape: int) -> Node:
        return constant(self.rng.standard_normal(shape).astype(np.float32) / 4)

    def linear(self, x: Node, outs: int) -> Node:
        return make(Linear(), x, self.real(outs, x.shape[-1]), self.real(outs))

    def norm(self, x: Node) -> Node:
        return make(LayerNormalization(1e-5), x, self.real(WIDTH), self.real(WIDTH))

    def layer(self, x: Node) -> Node:
        """x (tokens, 1, channels), as a sequence-first transformer layer is exported."""
        normed = self.norm(x)
        q, k, v = (make(Reshape((1, TOKENS, WIDTH)), self.linear(normed, WIDTH)) for _ in range(3))
        mixed = make(Reshape((TOKENS, 1, WIDTH)), make(Attention(2, 0.25), q, k, v))
        x = make(Add(), x, self.linear(mixed, WIDTH))
        hidden = make(Gelu("none"), self.linear(self.norm(x), 2 * WIDTH))
        return make(Add(), x, self.linear(hidden, WIDTH))


def sequence_first(head: str, layers: int = 2) -> Graph:
    net = Layers()
    start = graph_input("x", (1, TOKENS, WIDTH))
    x = make(Reshape((TOKENS, 1, WIDTH)), net.linear(start, WIDTH))
    x = make(Add(), x, net.real(TOKENS, 1, WIDTH))  # positions
    for _ in range(layers):
        x = net.layer(x)
    x = net.norm(x)
    if head == "first token":
        x = make(Reshape((1, WIDTH)), make(Slice(0, 0, 1), x))
    elif head == "mean":
        x = make(ReduceMean((1,)), make(Reshape((1, TOKENS, WIDTH)), x))
    return Graph("g", (start,), (net.linear(x, 10),), ("y",))


@pytest.mark.parametrize("head", ["first token", "mean", "every token"])
def test_reshapes_sink_and_values_stay(head: str) -> None:
    graph = sequence_first(head)
    inputs = {"x": np.random.default_rng(1).standard_normal((1, TOKENS, WIDTH)).astype(np.float32)}
    for after in (SinkReshapes()(graph)[0], optimise(graph)[0]):
        wanted, found = interpret(graph, inputs)["y"], interpret(after, inputs)["y"]
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() <= 2e-5 * np.abs(wanted).max()
    assert not any(isinstance(x.op, Reshape) for node in after if isinstance(node.op, Add) for x in node.inputs)


@pytest.mark.parametrize("head", ["first token", "mean", "every token"])
def test_the_engine_runs_them(head: str) -> None:
    graph, _ = optimise(sequence_first(head))
    inputs = {"x": np.random.default_rng(1).standard_normal((8, TOKENS, WIDTH)).astype(np.float32)}
    planned = plan(quantise(graph, inputs).graph, CONFIG)
    assert interpreted(planned, {"x": inputs["x"][:1]}) is None


def test_reshapes_that_regroup_tokens_or_squeeze_stay() -> None:
    net = Layers()
    x = graph_input("x", (1, TOKENS, WIDTH))
    for shape in ((1, 2, 3, WIDTH), (TOKENS, WIDTH), (1, TOKENS * WIDTH)):
        moved = make(Reshape(shape), x)
        graph = Graph("g", (x,), (net.linear(moved, 10),), ("y",))
        after, _ = SinkReshapes()(graph)
        assert isinstance(after.outputs[0].op, Linear)
