"""The pass that hashes attention: what it chooses, learns, replaces, refuses and says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.hashing.attention_layers import attention_layers
from edgewright.passes.hashing.hash_attention import LEAST_SAMPLES, HashAttentionLayers
from edgewright.passes.ir.graph import Graph, Node, make, rebuild
from edgewright.passes.ir.interp import interpret
from edgewright.passes.learn.hashing import learn_hashing, shared_projection
from edgewright.passes.learn.recipe import Recipe
from edgewright.passes.ops import Attention, HashAttention, HashCodes, Slice, constant, value_of
from edgewright.passes.pipeline import optimise, quantise
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models import images, tiny_vit
from tests.noise import sqnr


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes()]


def hashed(graph: Graph, layers: str | Sequence[int] = "all", count: int = 24, **options: object) -> Graph:
    step = HashAttentionLayers(layers, samples={"image": images(graph, count)}, recipe=None, **options)  # type: ignore[arg-type]
    return step(graph)[0]


def codes_of(graph: Graph) -> list[str]:
    """The codes of the refusal."""
    with pytest.raises(CompileError) as caught:
        hashed(graph)
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize("merged", [True, False])
def test_attention_and_the_projection_of_keys_are_gone(merged: bool) -> None:
    graph = tiny_vit(3, blocks=2, merged_qkv=merged)
    found = hashed(graph)
    assert kinds(found).count("HashAttention") == kinds(found).count("HashCodes") == 2
    assert "Attention" not in kinds(found)
    tokens, width = 17, 32
    per_layer = tokens * width * width + 2 * tokens * tokens * width  # keys, scores and sums
    hashing = tokens * 2 * (25 * 16 + 16 * 25) + tokens * width
    before, after = (sum(node.work.macs for node in g.nodes()) for g in (graph, found))
    assert before - after == 2 * (per_layer - hashing)
    assert interpret(found, {"image": images(graph, 3)})["logits"].shape == (3, 10)


def test_layers_are_chosen_by_position_length_and_price() -> None:
    graph = tiny_vit(1, blocks=3)
    assert [n.origin[0] for n in hashed(graph, "0,2").nodes() if isinstance(n.op, Attention)] == ["block1.attention"]
    assert kinds(hashed(graph, [1])).count("Attention") == 2
    assert "Attention" not in kinds(hashed(graph, ">=17"))
    for layers, code in (("3", "H003"), (">=18", "H005"), ("auto", "H006")):
        with pytest.raises(CompileError, match=code):
            hashed(graph, layers)
    long = tiny_vit(1, image=28, patch=2, width=16, blocks=1, hidden=16)
    assert "Attention" not in kinds(hashed(long, "auto"))


def test_too_few_samples_says_how_many() -> None:
    graph = tiny_vit(0)
    with pytest.raises(CompileError, match=f"at least {LEAST_SAMPLES} samples") as caught:
        hashed(graph, count=LEAST_SAMPLES - 1)
    assert [d.code for d in caught.value.diagnostics] == ["H001"]
    assert "HashCodes" in kinds(hashed(graph, count=LEAST_SAMPLES))


def test_models_without_attention_are_refused() -> None:
    graph = tiny_vit(0, blocks=0)
    assert codes_of(graph) == ["H002"]
    again = hashed(tiny_vit(0))
    with pytest.raises(CompileError, match="hashed already"):
        hashed(again)


def replaced(graph: Graph, change: object) -> Graph:
    """The graph with its attention changed."""

    def on(old: Node, operands: tuple[Node, ...]) -> Node | None:
        return change(old, operands) if isinstance(old.op, Attention) else None  # type: ignore[operator]

    return rebuild(graph, on)


def test_layers_that_no_code_can_stand_for_are_refused_by_name_and_left_out_of_all() -> None:
    plain = tiny_vit(0, blocks=2)
    bias = constant(np.zeros((1, 2, 17, 17), np.float32))
    seen = []

    def biased(old: Node, operands: tuple[Node, ...]) -> Node | None:
        seen.append(old)
        return make(old.op, *operands, bias, origin=old.origin) if len(seen) == 1 else None

    graph = replaced(plain, biased)
    assert [layer.obstacle is None for layer in attention_layers(graph)] == [False, True]
    assert kinds(hashed(graph)).count("HashAttention") == 1
    with pytest.raises(CompileError, match="H004"):
        hashed(graph, "0")
    one = tiny_vit(0, blocks=1)
    short = replaced(
        one,
        lambda old, operands: make(old.op, operands[0], *(make(Slice(1, 0, 9), n) for n in operands[1:]), origin=old.origin),
    )
    crossed = replaced(
        one,
        lambda old, operands: make(
            old.op, operands[0], constant(np.ones((1, 17, 32), np.float32)), operands[2], origin=old.origin
        ),
    )
    for other in (short, crossed):
        assert codes_of(other) == ["H004"]


@settings(max_examples=12)
@given(
    st.sampled_from([(1, "avg"), (2, "cls"), (3, "avg")]),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 5, 16]),
    st.sampled_from([1, 7, 25]),
    st.sampled_from(["sum", "own"]),
    st.integers(0, 5),
)
def test_any_size_is_hashed_and_quantised(
    side: tuple[int, str], heads: int, bits: int, supports: int, constant_term: str, seed: int
) -> None:
    """A single token, one head, odd numbers of bits and anchors: finite in floats, and in integers what floats say."""
    graph = tiny_vit(seed, image=4 * side[0], width=6 * heads, heads=heads, pooling=side[1], hidden=8)
    found = hashed(graph, count=50, bits=bits, supports=supports, constant=constant_term)
    data = {"image": images(graph, 16, seed)}
    assert np.isfinite(interpret(found, data)["logits"]).all()
    done = quantise(optimise(found)[0], data)
    assert kinds(done.graph).count("HashAttention") == 1
    codes = next(node for node in done.graph.nodes() if isinstance(node.op, HashCodes))
    assert codes.elem.bits == 8
    assert np.isfinite(interpret(done.graph, data)["logits"]).all()


def test_integers_say_what_floats_say() -> None:
    graph = hashed(tiny_vit(5, blocks=2, image=28))
    data = {"image": images(graph, 48, 7)}
    done = quantise(optimise(graph)[0], data)
    rows = sqnr(done.float_graph, done.graph, {"image": images(graph, 16, 9)})
    assert rows[-1][1] is not None and rows[-1][1] > 10
    assert kinds(done.graph).count("HashCodes") == 2


def test_the_same_samples_and_seed_give_the_same_functions() -> None:
    graph = tiny_vit(2)
    first, second, other = (hashed(graph, seed=seed) for seed in (4, 4, 5))
    values = [[value_of(n) for n in g.nodes() if value_of(n) is not None] for g in (first, second, other)]
    assert all(np.array_equal(a, b) for a, b in zip(values[0], values[1], strict=True))  # type: ignore[arg-type]
    assert not all(np.array_equal(a, b) for a, b in zip(values[0], values[2], strict=True))  # type: ignore[arg-type]


def test_more_samples_than_tokens_need_and_anchors_of_several_samples() -> None:
    """A single token a sample: 25 anchors come from 25 samples."""
    rng = np.random.default_rng(0)
    u = rng.standard_normal((40, 1, 8)).astype(np.float32)
    found = learn_hashing(u, None, 2, 3, 25, 0)
    assert found.anchors.shape == (2, 25, 4)
    np.testing.assert_allclose(np.linalg.norm(found.anchors, axis=-1), 1, rtol=1e-5)
    assert len(np.unique(found.anchors[0], axis=0)) == 25
    with pytest.raises(ValueError, match="supports"):
        learn_hashing(u[:24], None, 2, 3, 25, 0)


@pytest.mark.parametrize("supervised", [True, False])
def test_codes_of_tokens_that_belong_together_agree(supervised: bool) -> None:
    """Four groups of directions: codes within a group agree more than across groups, on tokens not learned from."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((4, 16))
    group = rng.integers(0, 4, (30, 24))
    u = (3 * centres[group] + rng.standard_normal((30, 24, 16))).astype(np.float32)
    found = learn_hashing(u[:20], (u[:20], u[:20]) if supervised else None, 1, 16, 25, 0)
    codes = HashCodes(1, found.sigma).eval(u[20:], found.anchors, found.coefficients, found.threshold)
    agreement = codes @ codes.swapaxes(1, 2)
    same = group[20:, :, None] == group[20:, None, :]
    assert agreement[same].mean() > 10
    assert agreement[~same].mean() < 2
    balance = codes.reshape(-1, 16).mean(axis=0)
    assert np.abs(balance).max() < 0.9


def test_the_shared_projection_keeps_scores_that_are_the_same_both_ways() -> None:
    """With keys equal to queries, u_i u_j is q_i q_j; of other keys it is the symmetric part where that is positive."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((6, 20, 8)) + 1
    query = rng.standard_normal((8, 8)), rng.standard_normal(8)
    weight, bias = shared_projection(x, query, query, 2)
    for h in range(2):
        rows = slice(4 * h, 4 * h + 4)
        u, q = (x @ w[rows].T + b[rows] for w, b in ((weight, bias), query))
        np.testing.assert_allclose(u @ u.swapaxes(1, 2), q @ q.swapaxes(1, 2), rtol=1e-3, atol=1e-3)


def test_tables_compare_maps_with_softmax_and_with_equal_weights() -> None:
    """Where keys are queries, so that a map can be had from codes, codes beat equal weights."""
    graph = replaced(
        tiny_vit(4, blocks=2), lambda old, operands: make(old.op, operands[0], operands[0], operands[2], origin=old.origin)
    )
    _, done = HashAttentionLayers(samples={"image": images(graph, 40)}, recipe=None)(graph)
    (table,) = done.tables
    assert table.columns == (
        "layer",
        "tokens",
        "cosine, equal weights",
        "KL, equal weights",
        "cosine, hashed",
        "KL, hashed",
    )
    for row in table.rows:
        equal, divergence, cosine, kl = (float(str(cell)) for cell in row[2:])
        assert equal < cosine <= 1 and 0 <= kl < divergence
    assert done.counts == (("hashed layers", 2),)


@pytest.mark.train
def test_tuning_comes_nearer_and_resumes_to_the_same_bits(tmp_path: object) -> None:
    from pathlib import Path

    assert isinstance(tmp_path, Path)
    graph = tiny_vit(6, blocks=1, width=16)
    samples = {"image": images(graph, 128)}
    options = HashAttentionLayers(samples=samples, bits=8, recipe=None, supports=9)
    plain = options(graph)[0]
    recipe = Recipe(epochs=4, batch=32, rate=3e-3)
    tuned, done = replace(options, recipe=recipe)(graph)
    again = replace(options, recipe=recipe, checkpoints=tmp_path)(graph)[0]
    resumed = replace(options, recipe=recipe, checkpoints=tmp_path)(graph)[0]
    wanted, far, near, twice, thrice = (interpret(g, samples)["logits"] for g in (graph, plain, tuned, again, resumed))
    assert np.square(near - wanted).mean() < 0.5 * np.square(far - wanted).mean()
    assert np.array_equal(near, twice) and np.array_equal(twice, thrice)
    assert [table.name for table in done.tables] == ["Tuning of hashed attention", "Attention maps"]
    assert kinds(tuned) == kinds(plain)
    moved = [
        not np.array_equal(value_of(a), value_of(b))  # type: ignore[arg-type]
        for a, b in zip(
            *([n.inputs[i] for n in g.nodes() if isinstance(n.op, HashCodes) for i in (1, 2, 3)] for g in (plain, tuned)),
            strict=True,
        )
    ]
    assert moved == [False, True, True]


def test_values_that_come_from_elsewhere_keep_their_queries() -> None:
    """A query that is no Linear of the keys' value is its own u."""
    graph = tiny_vit(0, merged_qkv=False)

    def doubled(old: Node, operands: tuple[Node, ...]) -> Node | None:
        part = make(Slice(2, 0, 32), operands[0], origin=("cut",))
        return make(old.op, make(Slice(2, 0, 32), part), *operands[1:], origin=old.origin)

    changed = replaced(graph, doubled)
    found = hashed(changed)
    codes = next(node for node in found.nodes() if isinstance(node.op, HashCodes))
    assert isinstance(codes.inputs[0].op, Slice)
    assert any(isinstance(node.op, HashAttention) for node in found.nodes())
