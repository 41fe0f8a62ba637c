"""The mean leaves the residual stream where all writers allow it; the reason is told where they do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.passes.exact.fold_norm_affine import FoldNormAffine
from edgewright.passes.exact.pre_rmsnorm import PreRMSNorm, RMSAsLayerNorm
from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ir.interp import interpret, interpret_all
from edgewright.passes.ir.text import digest
from edgewright.passes.ops import (
    Add,
    Attention,
    Concat,
    Constant,
    Conv,
    Div,
    Gather,
    Gelu,
    LayerNormalization,
    Linear,
    MoE,
    Mul,
    Neg,
    PatchEmbed,
    ReduceMean,
    Relu,
    Reshape,
    RMSNormalization,
    Slice,
    Sub,
    Transpose,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import optimise
from edgewright.passes.transform import Pass
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import images, tiny_vit
from tests.passes.test_exact_fusions import Draw, done, graph_of, of

WIDTH = 8


def norm(draw: Draw, x: Node, beta: bool = False) -> Node:
    width = x.shape[-1]
    offset = draw.real(width) if beta else constant(np.zeros(width, np.float32))
    return make(LayerNormalization(1e-4), x, draw.real(width, middle=1.0), offset)


def kept(graph: Graph, reason: str) -> None:
    after, counts = done(PreRMSNorm(), graph)
    assert digest(after) == digest(graph) and counts == {f"stream kept, {reason}": 1}


def stream_means(graph: Graph) -> list[float]:
    """The largest mean of each value that an RMSNormalization reads, relative to its size."""
    rng = np.random.default_rng(0)
    given = {node.name: rng.standard_normal(node.shape).astype(np.float32) for node in graph.inputs}
    values = interpret_all(graph, given)
    read = [values[n.inputs[0]] for n in of(graph, RMSNormalization)]
    return [float(np.abs(x.mean(axis=-1)).max() / np.abs(x).max()) for x in read]


@pytest.mark.parametrize("pooling", ["cls", "avg"])
@pytest.mark.parametrize("merged", [True, False])
def test_a_vision_transformer_keeps_no_mean(pooling: str, merged: bool) -> None:
    graph = tiny_vit(blocks=2, pooling=pooling, merged_qkv=merged)
    after, statistics = optimise(graph, rms_norm=True)
    assert not of(after, LayerNormalization) and len(of(after, RMSNormalization)) >= 5
    assert max(stream_means(after)) < 1e-6
    x = {"image": images(graph, 4)}
    wanted, found = interpret(graph, x)["logits"], interpret(after, x)["logits"]
    assert np.abs(found - wanted).max() < 5e-6 * np.abs(wanted).max()
    assert [s.counts for s in statistics if s.name == "PreRMSNorm"] == [
        (("norms without a mean", len(of(after, RMSNormalization))),)
    ]
    again, counts = done(PreRMSNorm(), after)
    assert digest(again) == digest(after) and not counts
    back, _ = done(RMSAsLayerNorm(), after)
    assert not of(back, RMSNormalization)


def experts(draw: Draw, x: Node) -> Node:
    w1, b1, w2, b2 = draw.real(3, 5, WIDTH), draw.real(3, 5), draw.real(3, WIDTH, 5), draw.real(3, WIDTH)
    return make(MoE(2), x, draw.linear(x, 3), w1, b1, w2, b2)


def by_convolution(draw: Draw, x: Node) -> Node:
    maps = make(Conv((1, 1), (1, 1, 1, 1)), x, draw.real(WIDTH, 2, 3, 3), draw.real(WIDTH))
    return make(Transpose((0, 2, 1)), make(Reshape((1, WIDTH, 16)), maps))


WRITERS: dict[str, tuple[tuple[int, ...], Callable[[Draw, Node], Node]]] = {
    "linear": ((1, 16, 6), lambda d, x: d.linear(x, WIDTH)),
    "patches": ((1, 2, 16, 16), lambda d, x: make(PatchEmbed(4), x, d.real(WIDTH, 32), d.real(WIDTH))),
    "convolution": ((1, 2, 4, 4), by_convolution),
    "experts": ((1, 16, WIDTH), experts),
    "one column for all channels": ((1, 16, 6), lambda d, x: make(Add(), d.linear(x, 1), d.real(1, 16, WIDTH))),
    "a difference": ((1, 16, 6), lambda d, x: make(Sub(), d.real(WIDTH), make(Neg(), d.linear(x, WIDTH)))),
    "a number times": ((1, 16, 6), lambda d, x: make(Mul(), d.real(1, 16, 1), make(Div(), d.linear(x, WIDTH), d.real()))),
    "a number more": ((1, 16, 6), lambda d, x: make(Add(), d.real(), d.linear(x, WIDTH))),
    "joined": ((1, 15, 6), lambda d, x: make(Concat(1), d.real(1, 1, WIDTH), d.linear(x, WIDTH))),
    "parts": ((1, 20, 6), lambda d, x: make(Slice(1, 2, 18), d.linear(x, WIDTH))),
    "pooled": ((16, 5, 6), lambda d, x: make(Reshape((1, 16, WIDTH)), make(ReduceMean((1,), False), d.linear(x, WIDTH)))),
}


@pytest.mark.parametrize("name", WRITERS)
def test_everything_that_writes_is_centred(name: str) -> None:
    shape, written = WRITERS[name]
    draw, x = Draw(), graph_input("x", shape)
    first = written(draw, x)
    total = make(Add(), first, draw.linear(make(Gelu(), norm(draw, first)), WIDTH))
    graph = graph_of([x], draw.linear(norm(draw, total), 4))
    after, counts = done(PreRMSNorm(), graph)
    assert counts == {"norms without a mean": 2}
    assert max(stream_means(after)) < 1e-6
    assert done(RMSAsLayerNorm(), after)[1] == {"as LayerNorm": 2}


def test_tables_are_centred() -> None:
    draw, ids = Draw(), constant(np.array([[3, 0, 1]]))
    x = graph_input("x", (1, 3, 6))
    table = draw.real(5, WIDTH)
    total = make(Add(), make(Gather(0), table, ids), draw.linear(x, WIDTH))
    graph = graph_of([x], draw.linear(norm(draw, total), 4))
    after, counts = done(PreRMSNorm(), graph)
    assert counts == {"norms without a mean": 1} and max(stream_means(after)) < 1e-6
    tied = graph_of([x], draw.linear(norm(draw, total), 4), make(Linear(), make(Relu(), total), table, draw.real(5)))
    kept(tied, "Relu reads it")
    tied = graph_of([x], make(Linear(), norm(draw, total), table, draw.real(5)))
    kept(tied, "weights are shared")


def test_a_norm_with_an_offset_stays_one_beside_others() -> None:
    draw, x = Draw(), graph_input("x", (1, 3, 6))
    total = draw.linear(x, WIDTH)
    graph = graph_of([x], make(Gelu(), norm(draw, total, beta=True)), make(Gelu(), norm(draw, total)))
    after, counts = done(PreRMSNorm(), graph)
    assert counts == {"norms without a mean": 1} and len(of(after, LayerNormalization)) == 1
    kept(graph_of([x], make(Gelu(), norm(draw, total, beta=True))), "all its norms have offsets")


def test_the_reason_is_told_where_a_mean_must_stay() -> None:
    draw, x = Draw(), graph_input("x", (1, 3, WIDTH))
    total = draw.linear(x, WIDTH)
    read = draw.linear(norm(draw, total), 4)
    kept(graph_of([x], read, total), "it is an output")
    kept(graph_of([x], read, make(Relu(), total)), "Relu reads it")
    kept(graph_of([x], read, draw.linear(total, 4)), "Linear reads it")
    kept(graph_of([x], read, make(Slice(2, 0, 4), total)), "Slice reads it")
    kept(graph_of([x], read, make(Concat(2), total, total)), "Concat reads it")
    kept(graph_of([x], read, make(RMSNormalization(), total, draw.real(WIDTH))), "RMSNormalization reads it")
    kept(graph_of([x], norm(draw, x)), "Input writes into it")
    kept(graph_of([x], norm(draw, make(Add(), total, make(Gelu(), draw.linear(x, WIDTH))))), "Gelu writes into it")
    kept(graph_of([x], norm(draw, make(Add(), total, make(Attention(2), total, total, total)))), "Attention writes into it")
    kept(graph_of([x], norm(draw, make(Mul(), total, draw.real(WIDTH)))), "Mul writes into it")
    kept(graph_of([x], norm(draw, make(Concat(2), total, draw.linear(x, 2)))), "Concat writes into it")
    kept(graph_of([x], norm(draw, make(Reshape((1, 6, 4)), total))), "Reshape writes into it")
    after = make(Linear(), make(Gelu(), x), *total.inputs[1:])  # the same weights elsewhere
    kept(graph_of([x], read, make(Relu(), after)), "weights are shared")
    position = draw.real(1, 3, WIDTH)
    both = graph_of([x], norm(draw, make(Add(), total, position)), make(Mul(), x, position))
    kept(both, "weights are shared")
    computed = graph_input("w", (WIDTH, WIDTH))
    kept(graph_of([x, computed], norm(draw, make(Linear(), x, computed, draw.real(WIDTH)))), "Linear writes into it")
    post = norm(draw, make(Add(), norm(draw, total), draw.linear(x, WIDTH)))  # as BERT does it
    assert done(PreRMSNorm(), graph_of([x], draw.linear(post, 4)))[1] == {
        "stream kept, LayerNormalization writes into it": 1,
        "norms without a mean": 1,
    }


def test_one_stream_stays_while_another_changes() -> None:
    draw, x = Draw(), graph_input("x", (1, 3, 6))
    first, second = draw.linear(x, WIDTH), draw.linear(x, 4)
    graph = graph_of([x], make(Gelu(), norm(draw, first)), make(Gelu(), norm(draw, second)), second)
    after, counts = done(PreRMSNorm(), graph)
    assert counts == {"norms without a mean": 1, "stream kept, it is an output": 1}
    assert after.outputs[2].shape == (1, 3, 4)


def test_rms_norms_of_values_that_may_have_a_mean_stay() -> None:
    draw, x = Draw(), graph_input("x", (1, 3, 6))
    total = make(Add(), draw.linear(x, WIDTH), draw.real(1, 3, WIDTH))
    graph = graph_of([x], make(Gelu(), draw.norm(total, RMSNormalization)))
    after, counts = done(RMSAsLayerNorm(), graph)
    assert digest(after) == digest(graph) and counts == {"kept, the mean may not be 0": 1}


# ---- fuzz: random residual networks


@st.composite
def residual_networks(draw: st.DrawFn) -> Graph:
    """Sums of what blocks write, moved, cut, joined, read by norms, sometimes by something else."""
    made = Draw(draw(st.integers(0, 2**32 - 1)))
    x = graph_input("x", (1, 5, 6))
    stream = made.linear(x, WIDTH)
    outputs = []
    for _ in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(["block", "block", "block", "join", "cut", "scale", "turn", "strange", "output"]))
        read = norm(made, stream, beta=draw(st.integers(0, 9)) == 0)
        if step == "block":
            inner = make(Gelu(), made.linear(read, 6))
            branch = made.linear(inner, draw(st.sampled_from([1, WIDTH, WIDTH, WIDTH])))
            stream = make(draw(st.sampled_from([Add(), Sub()])), stream, branch)
        elif step == "join":
            stream = make(Concat(1), made.real(1, 1, WIDTH), stream)
        elif step == "cut" and stream.shape[1] > 1:
            stream = make(Slice(1, 1, stream.shape[1]), stream)
        elif step == "scale":
            stream = make(Mul(), stream, made.real(*draw(st.sampled_from([(), (1,), (stream.shape[1], 1), (WIDTH,)]))))
        elif step == "turn":
            stream = make(Transpose((0, 2, 1)), make(Transpose((0, 2, 1)), stream))
        elif step == "strange":
            stream = make(Add(), stream, make(draw(st.sampled_from([Relu(), Gelu()])), made.linear(read, WIDTH)))
        elif step == "output":
            outputs.append(make(Relu(), stream) if draw(st.booleans()) else stream)
    return graph_of([x], made.linear(norm(made, stream), 4), *outputs)


@pytest.mark.parametrize(
    "steps", [(PreRMSNorm(),), (FoldNormAffine(), PreRMSNorm()), (PreRMSNorm(), RMSAsLayerNorm())], ids=str
)
@settings(max_examples=60, deadline=None)
@given(graph=residual_networks())
def test_random_residual_networks_keep_their_values(steps: tuple[Pass, ...], graph: Graph) -> None:
    for step in steps:
        before = len(of(graph, LayerNormalization))
        graph, counts = done(step, graph, 5e-5)
        if isinstance(step, PreRMSNorm):
            assert before - len(of(graph, LayerNormalization)) == counts.get("norms without a mean", 0)
            assert max(stream_means(graph), default=0) < 1e-5
    if isinstance(steps[-1], RMSAsLayerNorm):
        assert not of(graph, RMSNormalization)


def test_a_mean_that_was_not_removed_would_be_seen() -> None:
    """The tests above compare values: norms that are only renamed differ."""
    graph = tiny_vit()

    def renamed(node: Node) -> Node | None:
        if not isinstance(node.op, LayerNormalization):
            return None
        return make(RMSNormalization(node.op.epsilon), *node.inputs[:2], origin=node.origin)

    wrong = rewrite(FoldNormAffine()(graph)[0], renamed)
    x = {"image": images(graph, 2)}
    assert np.abs(interpret(wrong, x)["logits"] - interpret(graph, x)["logits"]).max() > 1e-2
    assert not isinstance(wrong.outputs[0].op, Constant)


@pytest.mark.parametrize("groups", [2, WIDTH])
def test_a_grouped_convolution_does_not_carry_a_mean(groups: int) -> None:
    draw, x = Draw(), graph_input("x", (1, WIDTH, 4, 4))
    maps = make(Conv((1, 1), (1, 1, 1, 1), groups=groups), x, draw.real(WIDTH, WIDTH // groups, 3, 3), draw.real(WIDTH))
    last = make(Transpose((0, 2, 3, 1)), maps)
    kept(graph_of([x], draw.linear(norm(draw, last), 4)), "Conv writes into it")
    centred = constant(np.zeros((WIDTH, WIDTH // groups, 3, 3), np.float32))
    still = make(Conv((1, 1), (1, 1, 1, 1), groups=groups), x, centred, constant(np.zeros(WIDTH, np.float32)))
    rms = make(RMSNormalization(), make(Transpose((0, 2, 3, 1)), still), draw.real(WIDTH))
    assert done(RMSAsLayerNorm(), graph_of([x], rms))[1] == {"kept, the mean may not be 0": 1}


def test_weights_that_float32_cannot_hold_without_their_mean_stay() -> None:
    draw, x = Draw(), graph_input("x", (1, 3, 6))
    weight = np.full((WIDTH, 6), -3.2e38, np.float32)
    weight[0] = 3.2e38
    small = make(Mul(), x, constant(np.array(1e-38, np.float32)))
    total = make(Linear(), small, constant(weight), draw.real(WIDTH))
    kept(graph_of([x], draw.linear(norm(draw, total), 4)), "weights without their mean do not fit float32")
