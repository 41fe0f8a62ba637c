"""Chains of Reshape and Transpose mean the same in their canonical form, and that form is a fixed point."""

from __future__ import annotations

import math

import numpy as np
from edgewright.frontend.canonical.axes import TidyPermutations
from edgewright.passes.ir import Graph, Node, Shape, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import to_text
from edgewright.passes.ops import Reshape, Transpose, graph_input
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def chains(draw: st.DrawFn) -> Graph:
    shape: Shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    x = node = graph_input("x", shape)
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            node = make(Transpose(tuple(draw(st.permutations(range(len(node.shape)))))), node)
            continue
        left, new = math.prod(node.shape), []
        for _ in range(draw(st.integers(0, 4))):
            new.append(draw(st.sampled_from([n for n in range(1, left + 1) if left % n == 0])))
            left //= new[-1]
        node = make(Reshape((*new, left)), node)
    return Graph("chain", (x,), (node,), ("y",))


@given(chains())
def test_any_chain(graph: Graph) -> None:
    tidy = TidyPermutations()(graph)[0]
    size = graph.inputs[0].type.size
    x = np.arange(size, dtype=np.float32).reshape(graph.inputs[0].shape)
    assert np.array_equal(interpret(tidy, {"x": x})["y"], interpret(graph, {"x": x})["y"])
    assert to_text(TidyPermutations()(tidy)[0]) == to_text(tidy)
    if len(graph.inputs[0].shape) < 4 and len(graph.outputs[0].shape) < 4:  # no channels to keep apart
        assert len(tidy.nodes()) <= max(4, len(graph.nodes()))


def steps(shape: Shape, *ops: Reshape | Transpose) -> list[str]:
    x: Node = graph_input("x", shape)
    node = x
    for op in ops:
        node = make(op, node)
    return [str(n.op) for n in TidyPermutations()(Graph("g", (x,), (node,), ("y",)))[0].nodes()[1:]]


LAST, FIRST = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))


def test_images_go_through_channels_last() -> None:
    flat = steps((1, 8, 4, 4), Reshape((1, 8, 16)), Transpose((0, 2, 1)))
    assert flat == [str(LAST), str(Reshape((1, 16, 8)))]
    back = steps((1, 16, 8), Transpose((0, 2, 1)), Reshape((1, 8, 4, 4)))
    assert back == [str(Reshape((1, 4, 4, 8))), str(FIRST)]
    windows = steps((1, 8, 4, 4), Reshape((1, 8, 2, 2, 2, 2)), Transpose((0, 2, 4, 1, 3, 5)), Reshape((4, 8, 2, 2)))
    assert windows[0] == str(LAST) and windows[-1] == str(FIRST) and len(windows) == 5


def test_opposites_cancel() -> None:
    assert steps((1, 8, 4, 4), LAST, Reshape((1, 16, 8)), Reshape((1, 4, 4, 8)), FIRST) == []
