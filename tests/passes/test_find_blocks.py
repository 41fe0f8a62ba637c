from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ops import (
    Add,
    Attention,
    Constant,
    HashAttention,
    HashCodes,
    MoE,
    Slice,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import optimise
from edgewright.passes.structure.find_blocks import find_blocks, runs_of_equal_blocks, tokens_read
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixed_models import gated_network, plain_attention, text_network, windows_network
from tests.models import VitBuilder, tiny_vit


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.booleans(), st.sampled_from(["cls", "avg"]), st.sampled_from([1, 2, 4]), st.integers(1, 3))
def test_blocks_of_a_vit_follow_each_other(count: int, merged: bool, pooling: str, heads: int, ratio: int) -> None:
    graph = tiny_vit(1, blocks=count, merged_qkv=merged, pooling=pooling, heads=heads, width=16, hidden=16 * ratio)
    blocks = find_blocks(graph)
    assert [b.index for b in blocks] == list(range(count))
    assert all(
        (b.layout, b.heads, b.width, b.hidden, b.closed, b.is_plain) == ("pre-norm", heads, 16, 16 * ratio, True, True)
        for b in blocks
    )
    assert all(a.stream_out is b.stream_in for a, b in pairwise(blocks))
    members = [node for b in blocks for node in b.members]
    assert len(members) == len(set(members))
    projections = ["qkv"] if merged else ["key", "query", "value"]
    for block in blocks:
        assert sorted(role for role, _ in block.linears if role not in ("projection", "ffn1", "ffn2")) == projections
        assert [role for role, _ in block.norms] == ["norm1", "norm2"]
        assert len(dict(block.constants)) == len(block.constants) == 2 * (len(block.linears) + 2)
        assert all(isinstance(node.op, Constant) for _, node in block.constants)
        ffn2 = block.constant("ffn2.weight")
        assert ffn2 is not None and ffn2.shape == (16, 16 * ratio)
    assert [len(run) for run in runs_of_equal_blocks(blocks)] == [count]


def test_post_norm_blocks_end_behind_their_norm() -> None:
    graph = text_network()
    first, second = find_blocks(graph)
    assert first.layout == second.layout == "post-norm"
    assert first.stream_in.name == "norm" and first.stream_out.name == "after0" and second.stream_out.name == "after1"
    assert first.stream_out is second.stream_in and first.form == second.form
    assert {role for role, _ in first.linears} == {"query", "key", "value", "projection", "ffn1", "ffn2"}
    assert all(node.name != "bias" for node in first.members)  # the mask belongs to nobody


@pytest.mark.parametrize("network", [gated_network, windows_network, plain_attention])
def test_networks_without_blocks_have_none(network: object) -> None:
    assert find_blocks(network()) == ()  # type: ignore[operator]


def test_a_last_block_narrowed_to_the_class_token_is_of_another_form() -> None:
    graph, _ = optimise(tiny_vit(2, blocks=3))
    blocks = find_blocks(graph)
    assert [len(run) for run in runs_of_equal_blocks(blocks)] == [2, 1]
    assert blocks[2].stream_in is blocks[1].stream_out and blocks[2].stream_out.shape[1] == 1


def two_blocks(first: VitBuilder, second: VitBuilder) -> Graph:
    x = graph_input("x", (1, 6, 16))
    middle = first.block(x, "a")
    return Graph("two", (x,), (second.block(middle, "b"),), ("y",))


def builder(seed: int, heads: int = 2, hidden: int = 32, activation: str = "gelu") -> VitBuilder:
    return VitBuilder(np.random.default_rng(seed), heads, hidden, activation, True)


@pytest.mark.parametrize(
    ("other", "equal"),
    [
        (builder(1), True),
        (builder(1, heads=4), False),
        (builder(1, hidden=48), False),
        (builder(1, activation="relu"), False),
    ],
)
def test_only_equal_form_may_be_grouped(other: VitBuilder, equal: bool) -> None:
    runs = runs_of_equal_blocks(find_blocks(two_blocks(builder(0), other)))
    assert [len(run) for run in runs] == ([2] if equal else [1, 1])


def test_equal_blocks_with_something_between_are_no_run() -> None:
    x = graph_input("x", (1, 6, 16))
    middle = make(Add(), builder(0).block(x, "a"), constant(np.ones((1, 6, 16), np.float32)), origin=("between",))
    blocks = find_blocks(Graph("two", (x,), (builder(1).block(middle, "b"),), ("y",)))
    assert blocks[0].form == blocks[1].form and [len(run) for run in runs_of_equal_blocks(blocks)] == [1, 1]


def test_a_value_read_within_a_block_keeps_it_in_place() -> None:
    graph = two_blocks(builder(0), builder(1))
    inner = next(node for node in graph.nodes() if node.name == "a.add1")
    tapped = replace(graph, outputs=(*graph.outputs, inner), output_names=("y", "inner"))
    assert [b.closed for b in find_blocks(tapped)] == [False, True]


def special_block(build: VitBuilder, x: Node, kind: str) -> Node:
    """A block with hashed attention, or with a mixture of experts in the place of its feed-forward network."""
    width, heads, bits = x.shape[-1], build.heads, 4
    normed = build.norm(x, "norm1")
    q, k, v = build.qkv(normed, "m")
    if kind == "hashed":
        anchors = constant(build.normal(heads, 3, width // heads))
        table, threshold = constant(build.normal(heads, bits, 3)), constant(build.normal(heads, bits))
        codes = make(HashCodes(heads, 0.5), q, anchors, table, threshold, origin=("codes",))
        mixed = make(HashAttention(heads, bits), codes, v, origin=("hashing",))
    else:
        mixed = make(Attention(heads, 1 / math.sqrt(width // heads)), q, k, v, origin=("attention",))
    x = make(Add(), x, build.linear(mixed, width, "proj"), origin=("add1",))
    normed = build.norm(x, "norm2")
    if kind == "experts":
        weights = [constant(build.normal(*shape)) for shape in ((5, 24, width), (5, 24), (5, width, 24), (5, width))]
        wide = make(MoE(2), normed, build.linear(normed, 5, "gate"), *weights, origin=("experts",))
    else:
        wide = build.linear(build.linear(normed, 24, "fc1"), width, "fc2")
    return make(Add(), x, wide, origin=("add2",))


@pytest.mark.parametrize("kind", ["hashed", "experts"])
def test_special_blocks_are_marked(kind: str) -> None:
    x = graph_input("x", (1, 6, 16))
    build = builder(3)
    graph = Graph(kind, (x,), (special_block(build, build.block(x, "plain"), kind),), ("y",))
    plain, special = find_blocks(graph)
    assert plain.is_plain and not special.is_plain and plain.form != special.form
    assert special.hashed == (kind == "hashed") and special.experts == (5 if kind == "experts" else 0)
    roles = {role for role, _ in special.linears}
    assert special.hidden == 24
    if kind == "experts":
        assert roles == {"qkv", "projection", "router"} and special.constant("moe.w1") is not None
    else:
        assert roles == {"qkv", "projection", "ffn1", "ffn2"} and special.constant("codes.anchors") is not None


def test_a_residual_around_several_blocks_is_no_block() -> None:
    graph = two_blocks(builder(0), builder(1))
    whole = make(Add(), graph.outputs[0], graph.inputs[0], origin=("around",))
    part = make(Slice(1, 0, 2), whole, origin=("part",))
    assert len(find_blocks(replace(graph, outputs=(part,)))) == 2


def test_tokens_that_are_read_behind_a_block() -> None:
    cls, avg, text = tiny_vit(1, blocks=2), tiny_vit(1, blocks=2, pooling="avg"), text_network()
    first, last = find_blocks(cls)
    assert tokens_read(cls, last) == slice(0, 1) and tokens_read(cls, first) == slice(0, 17)
    assert tokens_read(avg, find_blocks(avg)[-1]) == slice(0, 16)
    assert tokens_read(text, find_blocks(text)[-1]) == slice(0, 9)
