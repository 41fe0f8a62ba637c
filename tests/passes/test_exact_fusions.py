"""Exact fusions: where each fires and where it must not; on random networks no value changes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from edgewright.passes.exact.fold_norm_affine import FoldNormAffine
from edgewright.passes.exact.fold_scales import FoldScales
from edgewright.passes.exact.fuse_linears import FuseLinears
from edgewright.passes.exact.scale_into_query import ScaleIntoQuery
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.text import digest
from edgewright.passes.ops import (
    Add,
    Attention,
    BatchNormalization,
    Constant,
    Conv,
    Gelu,
    LayerNormalization,
    Linear,
    PatchEmbed,
    ReduceMean,
    Relu,
    Reshape,
    RMSNormalization,
    Slice,
    Transpose,
    constant,
    graph_input,
    value_of,
)
from edgewright.passes.pipeline import optimise
from edgewright.passes.transform import Pass
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import tiny_vit

Counts = dict[str, int]


def done(step: Pass, graph: Graph, tolerance: float = 2e-5) -> tuple[Graph, Counts]:
    """The pass's result, after comparing both on random samples, and what it counted."""
    after, statistics = step(graph)
    rng = np.random.default_rng(1)
    given = {node.name: rng.standard_normal(node.shape).astype(np.float32) for node in graph.inputs}
    wanted, found = interpret(graph, given), interpret(after, given)
    for name, value in wanted.items():
        assert np.abs(found[name] - value).max() <= tolerance * max(1.0, np.abs(value).max())
    return after, dict(statistics.counts)


def leaves_alone(step: Pass, graph: Graph) -> None:
    assert digest(step(graph)[0]) == digest(graph)


def graph_of(inputs: Sequence[Node], *outputs: Node) -> Graph:
    return Graph("g", tuple(inputs), outputs, tuple(f"y{i}" for i in range(len(outputs))))


class Draw:
    """Constants and products from one generator."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def real(self, *shape: int, middle: float = 0.0) -> Node:
        return constant((middle + self.rng.standard_normal(shape) / 3).astype(np.float32))

    def linear(self, x: Node, outs: int) -> Node:
        return make(Linear(), x, self.real(outs, x.shape[-1]), self.real(outs))

    def norm(self, x: Node, kind: type[Op] = LayerNormalization) -> Node:
        width = x.shape[-1]
        if kind is RMSNormalization:
            return make(RMSNormalization(1e-4), x, self.real(width, middle=1.0))
        return make(LayerNormalization(1e-4), x, self.real(width, middle=1.0), self.real(width))

    def batch_norm(self, x: Node, offset: bool = True) -> Node:
        size = x.shape[1]
        variance = constant(self.rng.uniform(0.5, 2, size).astype(np.float32))
        zeros = constant(np.zeros(size, np.float32))
        beta, mean = (self.real(size), self.real(size)) if offset else (zeros, zeros)
        return make(BatchNormalization(1e-3), x, self.real(size, middle=1.0), beta, mean, variance)


def of(graph: Graph, kind: type[Op]) -> list[Node]:
    return [node for node in graph if isinstance(node.op, kind)]


def neutral(norm: Node) -> bool:
    return all(np.all(value_of(n) == wanted) for n, wanted in zip(norm.inputs[1:], (1, 0), strict=False))


# ---- a norm's affine into the products behind it


@pytest.mark.parametrize("kind", [LayerNormalization, RMSNormalization])
def test_affine_goes_into_every_reader(kind: type[Op]) -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    norm = draw.norm(x, kind)
    token = make(Reshape((1, 8)), make(Slice(1, 0, 1), norm))
    mean = make(ReduceMean((1,), False), norm)
    graph = graph_of([x], draw.linear(norm, 6), draw.linear(token, 3), draw.linear(mean, 4))
    after, counts = done(FoldNormAffine(), graph)
    assert counts == {"folded": 1}
    assert all(neutral(n) for n in of(after, kind)) and len(of(after, kind)) == 1
    assert done(FoldNormAffine(), after)[1] == {}


def test_affine_stays_where_anything_else_reads_it() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    norm = draw.norm(x)
    product = draw.linear(norm, 8)
    leaves_alone(FoldNormAffine(), graph_of([x], product, norm))  # an output
    leaves_alone(FoldNormAffine(), graph_of([x], make(Add(), norm, product)))  # a sum
    leaves_alone(FoldNormAffine(), graph_of([x], product, make(Gelu(), norm)))
    leaves_alone(FoldNormAffine(), graph_of([x], draw.linear(make(Slice(2, 0, 4), norm), 3)))  # part of the channels
    w = graph_input("w", (4, 8))
    leaves_alone(FoldNormAffine(), graph_of([x, w], make(Linear(), norm, w, draw.real(4))))  # weights are computed


def test_a_weight_that_is_read_elsewhere_is_not_duplicated() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    weight, bias = draw.real(8, 8), draw.real(8)
    tied = make(Linear(), x, weight, bias)
    graph = graph_of([x], make(Linear(), draw.norm(x), weight, bias), tied)
    after, counts = done(FoldNormAffine(), graph)
    assert counts == {"kept, weights are shared": 1} and digest(after) == digest(graph)


def test_gamma_and_beta_of_two_norms_may_be_one_constant() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    first = draw.norm(x)
    second = make(first.op, make(Relu(), x), *first.inputs[1:])
    after, counts = done(FoldNormAffine(), graph_of([x], draw.linear(first, 4), make(Gelu(), second)))
    assert counts == {"folded": 1}
    assert sorted(neutral(n) for n in of(after, LayerNormalization)) == [False, True]


# ---- attention's scale into the query


def attention_graph(draw: Draw, merged: bool, scale: float = 0.3, bias: bool = False) -> Graph:
    x = graph_input("x", (1, 5, 8))
    if merged:
        whole = draw.linear(x, 24)
        q, k, v = (make(Slice(2, 8 * i, 8 * i + 8), whole) for i in range(3))
    else:
        q, k, v = (draw.linear(x, 8) for _ in range(3))
    extra = [draw.real(2, 5, 5)] if bias else []
    return graph_of([x], make(Attention(2, scale), q, k, v, *extra))


@pytest.mark.parametrize("merged", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_scale_goes_into_the_rows_of_the_query(merged: bool, bias: bool) -> None:
    graph = attention_graph(Draw(), merged, bias=bias)
    after, counts = done(ScaleIntoQuery(), graph)
    assert counts == {"folded": 1}
    (attention,) = of(after, Attention)
    assert isinstance(attention.op, Attention) and attention.op.scale == 1
    before, rows = (value_of(of(g, Linear)[0].inputs[1]) for g in (graph, after))
    assert before is not None and rows is not None
    assert np.allclose(rows[:8], 0.3 * before[:8]) and np.array_equal(rows[8:], before[8:])


def test_scale_goes_through_moves_of_tokens() -> None:
    draw, x = Draw(), graph_input("x", (1, 6, 8))
    q = make(Slice(1, 0, 4), make(Reshape((1, 6, 8)), make(Reshape((6, 8)), draw.linear(x, 8))))
    graph = graph_of([x], make(Attention(2, 0.3), q, draw.linear(x, 8), draw.linear(x, 8)))
    assert done(ScaleIntoQuery(), graph)[1] == {"folded": 1}


def test_scale_stays_where_the_query_is_not_its_own() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    q, k, v = (draw.linear(x, 8) for _ in range(3))
    attention = make(Attention(2, 0.3), q, k, v)
    leaves_alone(ScaleIntoQuery(), graph_of([x], attention, q))  # an output
    leaves_alone(ScaleIntoQuery(), graph_of([x], attention, make(Gelu(), q)))  # another reader
    leaves_alone(ScaleIntoQuery(), graph_of([x], make(Attention(2, 0.3), q, q, v)))  # the key, too
    leaves_alone(ScaleIntoQuery(), graph_of([x], attention, make(Attention(2, 0.7), q, k, v)))
    leaves_alone(ScaleIntoQuery(), graph_of([x], make(Attention(2, 0.3), make(Gelu(), q), k, v)))  # no Linear
    leaves_alone(ScaleIntoQuery(), graph_of([x], make(Attention(2, 0.3), draw.real(1, 5, 8), k, v)))
    leaves_alone(ScaleIntoQuery(), graph_of([x], make(Attention(2, -1.0), q, k, v)))  # refused later, by name
    tied = make(Linear(), x, *q.inputs[1:])
    leaves_alone(ScaleIntoQuery(), graph_of([x], attention, make(Gelu(), tied), make(Relu(), tied)))
    whole = draw.linear(x, 12)
    overlapping = make(Attention(2, 0.3), make(Slice(2, 0, 8), whole), make(Slice(2, 4, 12), whole), v)
    leaves_alone(ScaleIntoQuery(), graph_of([x], overlapping))


# ---- affine maps in a row


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.booleans(), st.integers(0, 99))
def test_two_linears_are_one_exactly_where_that_saves_products(ins: int, middle: int, outs: int, flat: bool, seed: int) -> None:
    draw, x = Draw(seed), graph_input("x", (1, 5, ins))
    inner = draw.linear(x, middle)
    graph = graph_of([x], draw.linear(make(Reshape((5, middle)), inner) if flat else inner, outs))
    after, counts = done(FuseLinears(), graph)
    assert (counts == {"fused": 1}) == (ins * outs < middle * (ins + outs))
    assert len(of(after, Linear)) == (1 if counts else 2)
    assert sum(n.work.macs for n in after) == 5 * min(ins * outs, middle * (ins + outs))


def test_a_linear_goes_into_the_patch_embedding_and_through_chains() -> None:
    draw, x = Draw(), graph_input("x", (1, 2, 8, 8))
    tokens = make(PatchEmbed(4), x, draw.real(16, 32), draw.real(16))
    after, counts = done(FuseLinears(), graph_of([x], draw.linear(draw.linear(tokens, 16), 8)))
    assert counts == {"fused": 2} and not of(after, Linear)


def test_linears_stay_apart_where_something_is_between_or_beside() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    inner = draw.linear(x, 8)
    outer = draw.linear(inner, 8)
    leaves_alone(FuseLinears(), graph_of([x], outer, inner))  # an output
    leaves_alone(FuseLinears(), graph_of([x], outer, make(Gelu(), inner)))  # another reader
    leaves_alone(FuseLinears(), graph_of([x], draw.linear(make(Gelu(), inner), 8)))
    leaves_alone(FuseLinears(), graph_of([x], draw.linear(make(Reshape((1, 10, 4)), inner), 8)))  # other channels
    leaves_alone(FuseLinears(), graph_of([x], outer, make(Linear(), make(Relu(), x), *inner.inputs[1:])))  # tied weights
    moved = make(Reshape((5, 8)), inner)
    leaves_alone(FuseLinears(), graph_of([x], draw.linear(moved, 8), moved))


# ---- BatchNormalization into its neighbour


def test_batch_norm_goes_forward_into_a_convolution_that_pads_only_without_offset() -> None:
    for groups, pads, offset in ((1, 0, True), (2, 0, True), (6, 0, True), (1, 1, False), (3, 1, False), (1, 1, True)):
        draw, x = Draw(groups), graph_input("x", (1, 6, 7, 7))
        conv = Conv((1, 1), (pads,) * 4, (1, 1), groups)
        norm = draw.batch_norm(make(Relu(), x), offset)
        graph = graph_of([x], make(conv, norm, draw.real(6, 6 // groups, 3, 3), *([draw.real(6)] if pads else [])))
        after, counts = done(FoldScales(), graph)
        assert len(of(after, BatchNormalization)) == int(pads == 1 and offset)
        assert counts == ({} if pads and offset else {"folded": 1})


def test_batch_norm_goes_into_linear_and_patch_embedding() -> None:
    draw, tokens, image = Draw(), graph_input("x", (1, 8, 5)), graph_input("image", (1, 3, 8, 8))
    turned = make(Transpose((0, 2, 1)), draw.batch_norm(tokens))  # (1, channels, tokens), as exporters leave it
    maps = make(PatchEmbed(4), draw.batch_norm(image), draw.real(6, 48), draw.real(6))
    pooled = make(Reshape((1, 8)), draw.batch_norm(make(Reshape((1, 8, 1)), make(ReduceMean((2,), False), tokens))))
    graph = graph_of([tokens, image], draw.linear(turned, 4), maps, draw.linear(pooled, 3))
    after, counts = done(FoldScales(), graph)
    assert counts == {"folded": 3} and not of(after, BatchNormalization)


def test_batch_norm_goes_back_through_moves() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    turned = make(Transpose((0, 2, 1)), draw.linear(x, 6))
    after, counts = done(FoldScales(), graph_of([x], make(Relu(), draw.batch_norm(turned))))
    assert counts == {"folded": 1} and not of(after, BatchNormalization)


def test_batch_norm_stays_where_its_channels_are_not_the_products() -> None:
    draw, x = Draw(), graph_input("x", (1, 5, 8))
    leaves_alone(FoldScales(), graph_of([x], draw.linear(draw.batch_norm(x), 4)))  # over tokens
    leaves_alone(FoldScales(), graph_of([x], draw.batch_norm(draw.linear(x, 4))))
    norm = draw.batch_norm(make(Relu(), x))
    turned = make(Transpose((0, 2, 1)), norm)
    five = draw.linear(turned, 4)
    leaves_alone(FoldScales(), graph_of([x], five, make(Relu(), turned)))
    leaves_alone(FoldScales(), graph_of([x], five, norm))
    mixed = make(Reshape((1, 8, 5)), norm)  # another order of channels
    leaves_alone(FoldScales(), graph_of([x], draw.linear(mixed, 4)))


# ---- all of them together


@pytest.mark.parametrize("merged", [True, False])
def test_nothing_is_left_to_scale_in_a_vision_transformer(merged: bool) -> None:
    graph = tiny_vit(blocks=2, pooling="avg", merged_qkv=merged)
    after, _ = optimise(graph)
    assert all(neutral(n) for n in of(after, LayerNormalization)) and len(of(after, LayerNormalization)) == 5
    assert {n.op.scale for n in of(after, Attention) if isinstance(n.op, Attention)} == {1.0}
    assert len(of(after, Linear)) == 2 * 4 + 1
    assert sum(n.type.size for n in of(after, Constant)) < sum(n.type.size for n in of(graph, Constant))
