"""The float passes: what each is for, and that on random graphs none changes a value."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.exact.add_before_concat import AddBeforeConcat
from edgewright.passes.exact.drop_identities import DropIdentities, JoinMoves
from edgewright.passes.exact.fold_constants import FoldConstants
from edgewright.passes.exact.fold_image_affine import FoldImageAffine
from edgewright.passes.exact.fold_norm_affine import FoldNormAffine
from edgewright.passes.exact.fold_scales import FoldScales
from edgewright.passes.exact.fuse_linears import FuseLinears
from edgewright.passes.exact.merge_linears import MergeLinears
from edgewright.passes.exact.narrow_linear import NarrowLinear
from edgewright.passes.exact.pre_rmsnorm import PreRMSNorm, RMSAsLayerNorm
from edgewright.passes.exact.scale_into_query import ScaleIntoQuery
from edgewright.passes.exact.share_equal import ShareEqual
from edgewright.passes.exact.sink_reshapes import SinkReshapes
from edgewright.passes.exact.slice_early import SliceEarly
from edgewright.passes.exact.take_joined_apart import TakeJoinedApart
from edgewright.passes.ir.graph import Graph, Node, make, topological
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import digest
from edgewright.passes.ir.types import Level
from edgewright.passes.ops import (
    Add,
    Attention,
    BatchNormalization,
    Concat,
    Constant,
    Conv,
    Div,
    Gelu,
    LayerNormalization,
    Linear,
    Mul,
    Relu,
    Reshape,
    Slice,
    Sub,
    Transpose,
    constant,
    graph_input,
)
from edgewright.passes.pipeline import FLOAT_PASSES, TIDY, optimise
from edgewright.passes.transform import Pass
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import images, tiny_vit


def macs(graph: Graph) -> int:
    return sum(node.work.macs for node in graph)


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph if not isinstance(node.op, Constant)]


def same_values(before: Graph, after: Graph, tolerance: float = 2e-5) -> None:
    """Outputs on two random samples differ by float rounding at most."""
    rng = np.random.default_rng(0)
    name = before.inputs[0].name
    for _ in range(2):
        x = {name: rng.standard_normal(before.inputs[0].shape).astype(np.float32)}
        wanted, found = interpret(before, x), interpret(after, x)
        assert wanted.keys() == found.keys()
        for key, value in wanted.items():
            assert found[key].shape == value.shape
            assert np.abs(found[key] - value).max() <= tolerance * max(1.0, np.abs(value).max())


def graph_of(x: Node, *outputs: Node) -> Graph:
    return Graph("g", (x,), outputs, tuple(f"y{i}" for i in range(len(outputs))))


def weights(rng: np.random.Generator, *shape: int) -> Node:
    return constant(rng.standard_normal(shape).astype(np.float32) / 3)


def linear(rng: np.random.Generator, x: Node, outs: int) -> Node:
    return make(Linear(), x, weights(rng, outs, x.shape[-1]), weights(rng, outs))


# ---- what each pass is for


@pytest.mark.parametrize("merged", [True, False])
def test_only_the_class_token_of_the_last_block_is_computed(merged: bool) -> None:
    graph = tiny_vit(blocks=2, merged_qkv=merged)
    after, statistics = optimise(graph)
    same_values(graph, after)
    tokens, width, hidden = 17, 32, 64
    saved = (tokens - 1) * (2 * width * width + 2 * width * hidden)  # Q, projection, both FFN products
    saved += 2 * (tokens - 1) * tokens * width  # scores and weighted sums
    assert macs(graph) - macs(after) == saved
    assert [s.name for s in statistics] == [step.name for step in FLOAT_PASSES]
    last = [n for n in after if isinstance(n.op, Attention)][-1]
    assert [n.shape[1] for n in last.inputs] == [1, tokens, tokens]
    linears = [n for n in after if isinstance(n.op, Linear)]
    assert sorted(n.shape[-1] for n in linears if n.shape[1:2] == (tokens,)) == [32, 32, 64, 64, 96]


def test_average_pooling_leaves_nothing_to_save() -> None:
    graph = tiny_vit(pooling="avg")
    after, _ = optimise(graph)
    assert macs(after) == macs(graph) and kinds(after) == kinds(graph)


def test_position_is_added_to_the_parts() -> None:
    graph = tiny_vit()
    after, statistics = AddBeforeConcat()(graph)
    same_values(graph, after, tolerance=0)
    (concat,) = (n for n in after if isinstance(n.op, Concat))
    assert [n.op.kind for n in concat.inputs] == ["Constant", "Add"]
    assert dict(statistics.counts) == {"moved": 1}


def test_a_concat_that_is_read_elsewhere_stays() -> None:
    x = graph_input("x", (1, 3, 4))
    rng = np.random.default_rng(0)
    joined = make(Concat(1), weights(rng, 1, 1, 4), x)
    graph = graph_of(x, make(Add(), joined, weights(rng, 1, 4, 4)), make(Relu(), joined))
    assert digest(AddBeforeConcat()(graph)[0]) == digest(graph)


def test_three_linears_become_one() -> None:
    graph = tiny_vit(pooling="avg", merged_qkv=False)
    after, statistics = MergeLinears()(graph)
    same_values(graph, after)
    assert kinds(after).count("Linear") == kinds(graph).count("Linear") - 2
    (merged,) = (n for n in after if isinstance(n.op, Linear) and n.shape[-1] == 96)
    assert merged.origin == ("block0.q", "block0.k", "block0.v")
    assert dict(statistics.counts) == {"merged": 3}


def test_columns_nobody_reads_are_not_computed() -> None:
    rng = np.random.default_rng(1)
    x = graph_input("x", (1, 5, 8))
    wide = linear(rng, x, 12)
    graph = graph_of(x, make(Slice(2, 9, 12), wide), make(Slice(-1, 2, 5), wide))
    after, _ = NarrowLinear()(graph)
    same_values(graph, after)
    assert macs(after) * 2 == macs(graph)


@pytest.mark.parametrize(
    "build",
    [
        lambda rng, x: make(Mul(), linear(rng, x, 6), weights(rng, 6)),
        lambda rng, x: make(Add(), weights(rng, 1, 1, 6), linear(rng, x, 6)),
        lambda rng, x: make(Sub(), weights(rng, 6), linear(rng, x, 6)),
        lambda rng, x: make(Sub(), linear(rng, x, 6), weights(rng, 6)),
        lambda rng, x: make(Div(), linear(rng, x, 6), constant(np.array(3.5))),
        lambda rng, x: make(Add(), make(Mul(), linear(rng, x, 6), weights(rng, 6)), weights(rng, 6)),
    ],
)
def test_factors_and_offsets_fold_into_a_linear(build: object) -> None:
    x = graph_input("x", (1, 5, 8))
    graph = graph_of(x, build(np.random.default_rng(2), x))  # type: ignore[operator]
    after, _ = FoldScales()(graph)
    same_values(graph, after)
    assert kinds(after) == ["Input", "Linear"]


def test_a_position_table_is_no_bias() -> None:
    rng = np.random.default_rng(3)
    x = graph_input("x", (1, 5, 8))
    graph = graph_of(x, make(Add(), linear(rng, x, 6), weights(rng, 1, 5, 6)))
    assert digest(FoldScales()(graph)[0]) == digest(graph)


def test_batch_normalization_folds_into_a_convolution_and_into_the_linear_behind() -> None:
    rng = np.random.default_rng(4)

    def norm(x: Node, channels: int) -> Node:
        positive = constant(np.abs(rng.standard_normal(channels)).astype(np.float32) + 0.1)
        return make(BatchNormalization(1e-3), x, *(weights(rng, channels) for _ in range(3)), positive)

    x = graph_input("x", (1, 2, 4, 4))
    image = norm(make(Conv(), x, weights(rng, 3, 2, 3, 3)), 3)
    flat = norm(make(Reshape((1, 12)), make(Relu(), image)), 12)
    graph = graph_of(x, linear(rng, flat, 5))
    after, _ = FoldScales()(graph)
    same_values(graph, after)
    assert kinds(after) == ["Input", "Conv", "Relu", "Reshape", "Linear"]


def test_identities_go_and_moves_join() -> None:
    x = graph_input("x", (1, 6, 4))
    moves = make(Slice(1, 1, 3), make(Slice(1, 2, 6), make(Reshape((1, 6, 4)), make(Transpose((0, 1, 2)), x))))
    twice = make(Add(), make(Relu(), moves), make(Relu(), moves))
    graph = graph_of(x, make(Concat(0), make(Reshape((8,)), make(Reshape((2, 4)), twice))))
    after, _ = TIDY(graph)
    same_values(graph, after, tolerance=0)
    assert kinds(after) == ["Input", "Slice", "Relu", "Add", "Reshape"]
    (part,) = (n.op for n in after if isinstance(n.op, Slice))
    assert (part.start, part.stop) == (3, 5)


def test_a_pass_refuses_the_wrong_level() -> None:
    graph = tiny_vit()
    quantised = Graph(graph.name, graph.inputs, graph.outputs, graph.output_names, Level.QUANTISED)
    with pytest.raises(CompileError) as caught:
        FoldConstants()(quantised)
    assert [d.code for d in caught.value.diagnostics] == ["G006"]


def test_dump_sees_every_pass() -> None:
    names: list[str] = []
    optimise(tiny_vit(), dump=lambda name, graph: names.append(name))
    assert names == [step.name for step in FLOAT_PASSES]


def test_every_pass_documents_itself() -> None:
    for step in {type(p) for p in FLOAT_PASSES}:
        text = step.__doc__ or ""
        assert all(word in text for word in ("Before", "After", "Exact")), step


# ---- fuzz: random graphs of tokens


KINDS = ["linear", "norm", "act", "add", "concat", "slice", "columns", "attention", "identity", "scale"]


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Token graphs (1, T, D) with shared values, constants, slices of tokens and columns, one or two outputs."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    x = graph_input("x", (1, 5, 8))
    values: list[Node] = [x, weights(rng, 1, 2, 8)]

    def pick() -> Node:
        return values[draw(st.integers(0, len(values) - 1))]

    for _ in range(draw(st.integers(2, 14))):
        kind = draw(
            st.sampled_from(["linear", "norm", "act", "add", "concat", "slice", "columns", "attention", "identity", "scale"])
        )
        a, b = pick(), pick()
        tokens, width = a.shape[1:]
        if kind == "linear":
            values.append(linear(rng, a, draw(st.sampled_from([4, 8, 24]))))
        elif kind == "norm":
            values.append(make(LayerNormalization(1e-5), a, weights(rng, width), weights(rng, width)))
        elif kind == "act":
            values.append(make(draw(st.sampled_from([Gelu(), Relu()])), a))
        elif kind == "add":
            other = b if b.shape == a.shape else weights(rng, 1, draw(st.sampled_from([1, tokens])), width)
            values.append(make(Add(), a, other))
        elif kind == "concat" and b.shape[2] == width and tokens + b.shape[1] < 12:
            values.append(make(Concat(1), a, b))
        elif kind == "slice":
            start = draw(st.integers(0, tokens - 1))
            values.append(make(Slice(1, start, draw(st.integers(start + 1, tokens))), a))
        elif kind == "columns" and width % 4 == 0:
            start = 4 * draw(st.integers(0, width // 4 - 1))
            values.append(make(Slice(2, start, start + 4), a))
        elif kind == "attention" and width % 2 == 0:
            q, k, v = (linear(rng, n, 4) for n in (a, b, b))
            biases = [weights(rng, 2, q.shape[1], k.shape[1])] if draw(st.booleans()) else []
            values.append(make(Attention(2, 0.5), q, k, v, *biases))
        elif kind == "identity":
            values.append(make(Reshape(a.shape), make(Transpose((0, 1, 2)), a)))
        elif kind == "scale":
            values.append(make(Mul(), linear(rng, a, width), weights(rng, width)))
    outputs = [values[-1]] if draw(st.booleans()) else [values[-1], pick()]
    if x not in topological(outputs):
        outputs.append(x)
    return graph_of(x, *outputs)


STEPS: list[Pass] = [
    *(FoldConstants(), DropIdentities(), JoinMoves(), ShareEqual(), FoldScales()),
    *(AddBeforeConcat(), FoldImageAffine(), SinkReshapes(), TakeJoinedApart(), SliceEarly(), NarrowLinear(), MergeLinears()),
    *(FuseLinears(), FoldNormAffine(), ScaleIntoQuery(), PreRMSNorm(), RMSAsLayerNorm()),
]


@pytest.mark.long
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
@settings(max_examples=60)
@given(graph=random_graphs())
def test_no_pass_changes_a_value(step: Pass, graph: Graph) -> None:
    after, _ = step(graph)
    same_values(graph, after)
    again, _ = step(graph)
    assert digest(again) == digest(after)


@settings(max_examples=100)
@given(random_graphs())
def test_the_pipeline_changes_no_value_and_adds_no_product(graph: Graph) -> None:
    for rms_norm in (False, True):
        after, _ = optimise(graph, rms_norm=rms_norm)
        same_values(graph, after)
        assert macs(after) <= macs(graph)


def test_the_pipeline_on_models() -> None:
    for seed, options in enumerate([{"blocks": 2}, {"pooling": "avg"}, {"merged_qkv": False}, {"channels": 3}]):
        graph = tiny_vit(seed, **options)  # type: ignore[arg-type]
        same_values(graph, optimise(graph)[0])
        same_values(graph, optimise(graph, rms_norm=True)[0])
        assert images(graph, 2).shape[0] == 2
