"""Graphs deeper than Python's stack, through the passes, quantisation and the lowering for CPUs."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.ir.graph import Graph, make
from edgewright.passes.ops import Add, Gelu, Linear, Relu, Tanh, Transpose, constant, graph_input
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise

from tests.mixed_models import Layers, samples

DEPTH = 700  # each demand takes several frames of Python's thousand


def deep(kind: str) -> Graph:
    layers = Layers(0)
    x = image = graph_input("x", (1, 4, 4))
    eye = constant(np.eye(4, dtype=np.float32))
    for i in range(DEPTH):
        if kind == "sums":
            x = make(Add(), x, image, origin=(f"n{i}",))
        elif kind == "constants":
            x = make(Add(), make(Tanh(), x, origin=(f"t{i}",)), layers.normal(4), origin=(f"n{i}",))
        elif kind == "views":
            x = make(Gelu("none") if i % 2 else Transpose((0, 2, 1)), x, origin=(f"n{i}",))
        elif kind == "relus":
            x = make(Relu() if i % 2 else Add(), x, *([] if i % 2 else [layers.normal(4)]), origin=(f"n{i}",))
        else:
            product = make(Linear(), x, eye, layers.normal(4), origin=(f"m{i}",))
            x = layers.norm(make(Add(), x, product, origin=(f"s{i}",)), f"n{i}")
    return Graph(kind, (image,), (x,), ("y",))


@pytest.mark.parametrize("kind", ["sums", "constants", "views", "relus", "post-norm"])
def test_a_deep_graph_is_quantised(kind: str) -> None:
    graph = deep(kind)
    done = quantise(optimise(graph, rms_norm=True)[0], samples(graph, 2), QuantiseOptions(method="minmax"))
    assert len(done.graph.nodes()) > DEPTH


@pytest.mark.tvm
def test_long_runs_are_lowered_in_bounded_steps() -> None:
    pytest.importorskip("tvm")
    from edgewright.targets.cpu.lower import lower
    from edgewright.targets.lowering.groups import MEMBERS_MAX, TERMS_MAX, group

    from tests.targets.cpu.lowered import HOST

    x = graph_input("x", (1, 4, 4))
    doubled = x
    for i in range(40):  # the expression of the last would have 2^40 terms
        doubled = make(Add(), doubled, doubled, origin=(f"n{i}",))
    for graph in (deep("sums"), deep("constants"), Graph("doubled", (x,), (doubled,), ("y",))):
        lower(graph, HOST)
        assert all(len(one.members) <= MEMBERS_MAX for one in group(graph, frozenset()))
    assert len(group(graph, frozenset())) > 40 // TERMS_MAX.bit_length()
