"""Products of joined operands that are sliced apart: a product for each part, sums for a column of ones."""

from __future__ import annotations

import itertools

import numpy as np
from edgewright.passes.exact.take_joined_apart import TakeJoinedApart
from edgewright.passes.ir import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Concat, MatMul, ReduceMean, Slice, constant, graph_input
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.frontend.float_tolerances import assert_close


def joined(side: int, widths: list[int], ones: float | None, lead: tuple[int, ...], nested: bool, cut: int = 0) -> Graph:
    """Slices of q (k parts) along columns (side 1), or of (parts k) q along rows (side 0); the last part may be constant."""
    axis = len(lead) + side
    inputs: list[Node] = []

    def given_as(name: str, rows: int, columns: int) -> Node:
        inputs.append(graph_input(name, (*lead, rows, columns)))
        return inputs[-1]

    parts = [given_as(f"p{i}", *((5, n) if side else (n, 5))) for i, n in enumerate(widths)]
    if ones is not None:
        parts.append(constant(np.full((*lead, *((5, 1) if side else (1, 5))), ones, np.float32)))
    value = make(Concat(axis), *parts, origin=("joined",))
    for i in range(1 + nested):
        other = given_as(f"o{i}", 5, 5)
        value = make(MatMul(), *((other, value) if side else (value, other)), origin=(f"product{i}",))
    ends = np.cumsum([0, *(part.shape[axis] for part in parts)]).tolist()
    slices = [make(Slice(axis, a, b - (cut if b == ends[-1] else 0)), value) for a, b in itertools.pairwise(ends)]
    return Graph("g", tuple(inputs), tuple(slices), tuple(f"y{i}" for i in range(len(slices))))


@given(
    st.sampled_from([0, 1]),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.sampled_from([None, 1.0, -0.5]),
    st.sampled_from([(), (1,), (1, 2)]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_parts_keep_their_values(side: int, widths: list[int], ones: float | None, lead: tuple[int, ...], nested: bool) -> None:
    graph = joined(side, widths, ones, lead, nested)
    rng = np.random.default_rng(0)
    x = {n.name: rng.standard_normal(n.shape).astype(np.float32) for n in graph.inputs}
    after, statistics = TakeJoinedApart()(graph)
    wanted, found = interpret(graph, x), interpret(after, x)
    for name, value in wanted.items():
        assert_close(found[name], value, "one block")
    assert dict(statistics.counts) == {"taken apart": len(graph.outputs)}
    kinds = [type(node.op) for node in after.nodes()]
    assert Concat not in kinds and Slice not in kinds
    assert kinds.count(ReduceMean) == (ones is not None and sum(lead) < 3)


def test_what_is_not_sliced_where_it_was_joined_stays() -> None:
    for graph in (joined(1, [3, 2], None, (1,), True, cut=1), _read_whole(joined(1, [3, 2], 1.0, (1,), True))):
        after, _ = TakeJoinedApart()(graph)
        assert after is graph


def _read_whole(graph: Graph) -> Graph:
    product = graph.outputs[0].inputs[0]
    return Graph(graph.name, graph.inputs, (*graph.outputs, product), (*graph.output_names, "whole"))
