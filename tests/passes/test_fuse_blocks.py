from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgewright.passes.blocks.fuse_blocks import FuseBlocks, group_of
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import to_text
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Constant, Linear
from edgewright.passes.structure.find_blocks import find_blocks, runs_of_equal_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixed_models import samples, text_network
from tests.models import images, tiny_vit
from tests.passes.test_find_blocks import builder, two_blocks

pytestmark = pytest.mark.train


def weights(graph: Graph) -> list[Array]:
    return [node.op.value for node in graph.nodes() if isinstance(node.op, Constant)]


def same(a: Graph, b: Graph) -> bool:
    return len(weights(a)) == len(weights(b)) and all(map(np.array_equal, weights(a), weights(b)))


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(0, 11), st.integers(2, 9))
def test_groups_hold_the_removed_block_and_neighbours(count: int, place: int, size: int) -> None:
    blocks = find_blocks(tiny_vit(width=16, hidden=16, blocks=count))
    removed = blocks[min(place, count - 1)]
    group = group_of(blocks, removed, size)
    first = group[0].index
    assert removed in group and len(group) == min(size, count)
    assert [b.index for b in group] == list(range(first, first + len(group)))
    if size == 8 and count >= 8:  # the published window: [t - 3, f + 3] about t = f - 1, clamped
        f = removed.index
        assert first == min(max(max(f - 1, 0) - 3, 0), count - 8)


def test_without_learning_fusion_is_plain_removal() -> None:
    graph = tiny_vit(1, blocks=3)
    x = {"image": images(graph, 6)}
    fused, _ = FuseBlocks(count=1, samples=x, epochs=0, fit_samples=0)(graph)
    removed, _ = RemoveBlocks(count=1, samples=x)(graph)
    assert same(fused, removed) and interpret(fused, x)["logits"].shape == (6, 10)


def test_least_squares_alone_give_back_a_part() -> None:
    graph = tiny_vit(7, blocks=4, width=16, hidden=32)
    x = {"image": images(graph, 256)}
    fused, statistics = FuseBlocks(count=2, samples=x, epochs=0)(graph)
    removed, _ = RemoveBlocks(count=2, samples=x)(graph)
    assert held_out_error(graph, fused) < 0.8 * held_out_error(graph, removed)
    assert [table.name for table in statistics.tables] == ["Macro Influence", "Prediction by least squares"]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 2), st.integers(0, 99))
def test_a_fused_constant_is_its_formula(outs: int, ins: int, rank: int, parents: int, seed: int) -> None:
    import torch
    from edgewright.passes.learn.block_fusion import FusedConstant

    rng = np.random.default_rng(seed)
    own, *others = rng.standard_normal((parents + 1, outs, ins)).astype(np.float32)
    fused = FusedConstant(own, rank, torch.Generator().manual_seed(seed))
    for other in others:
        fused.absorb(other)
    assert np.array_equal(fused.folded(), own)  # B, L and beta are zero
    with torch.no_grad():
        for parameter in fused.parameters():
            parameter.copy_(torch.from_numpy(rng.standard_normal(parameter.shape)))
    b, a = (p.detach().numpy() for p in fused.factors)
    expected = own + b @ a
    for factors, other in zip(fused.coefficients, others, strict=True):
        left, right = (p.detach().numpy() for p in factors.parameters())
        assert left.shape[1] <= rank
        expected = expected + (left @ right) * other
    assert np.allclose(fused.folded(), expected, rtol=1e-4, atol=1e-5)
    bias = FusedConstant(own[0], rank, torch.Generator())
    bias.absorb(others[0][0])
    with torch.no_grad():
        bias.factors[0].fill_(0.5)
        bias.coefficients[0][0].fill_(2.0)
    assert np.allclose(bias.folded(), own[0] + 0.5 + 2 * others[0][0], atol=1e-5)


@settings(deadline=None, max_examples=4)
@given(st.integers(0, 99), st.booleans())
def test_folding_keeps_the_function(seed: int, merged: bool) -> None:
    import torch
    from edgewright.passes.learn.block_fusion import FusedBlock, fold
    from edgewright.passes.learn.torch_graph import TorchGraph

    graph = tiny_vit(seed, blocks=3, width=16, hidden=24, merged_qkv=merged)
    blocks = find_blocks(graph)
    generator = torch.Generator().manual_seed(seed)
    live = [FusedBlock(block, 3, generator) for block in blocks]
    live[0].absorb(live[1])
    with torch.no_grad():
        for parameter in live[0].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    live[2].absorb(live[0])  # as it stands: with what it has absorbed itself
    with torch.no_grad():
        for parameter in live[2].parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    x = images(graph, 4)
    given = {node: value for b, one in zip(blocks, live, strict=True) for node, value in one.values(b).items()}
    with torch.no_grad():
        learned = TorchGraph(graph)({"image": torch.from_numpy(x)}, given)["logits"].numpy()
    folded = fold(graph, blocks, live)
    assert np.allclose(interpret(folded, {"image": x})["logits"], learned, atol=2e-4)
    assert not np.allclose(interpret(graph, {"image": x})["logits"], learned, atol=1e-2)
    assert len(folded.nodes()) == len(graph.nodes())


def held_out_error(graph: Graph, shorter: Graph) -> float:
    x = {"image": images(graph, 64, seed=9)}
    wanted = interpret(graph, x)["logits"]
    return float(np.square(interpret(shorter, x)["logits"] - wanted).mean() / np.square(wanted).mean())


@pytest.mark.parametrize("loss", ["mse", "kl"])
def test_fusion_gives_back_what_removal_takes(loss: str) -> None:
    graph = tiny_vit(7, blocks=4, width=16, hidden=32)
    x = {"image": images(graph, 256)}
    fuse = FuseBlocks(
        share=0.5, samples=x, group=3, epochs=12.0, batch=32, loss=loss, rate=3e-3, distil_rate=3e-3, group_share=0.5
    )
    fused, statistics = fuse(graph)
    removed, _ = RemoveBlocks(share=0.5, samples=x)(graph)
    assert held_out_error(graph, fused) < 0.6 * held_out_error(graph, removed)
    assert [node.op.kind for node in fused.nodes()] == [node.op.kind for node in removed.nodes()]  # no overhead
    assert sum(isinstance(node.op, Linear) for node in fused) == 2 * 4 + 1
    influence, predicted, losses = statistics.tables
    assert [row[0] for row in predicted.rows] == [row[1] for row in influence.rows if row[4] and row[1]]
    assert all(0 < float(row[2]) <= 1 for row in predicted.rows)  # type: ignore[arg-type]
    assert len(influence.rows) == 4 + 3 and sum(bool(row[4]) for row in influence.rows) == 2
    stages = {row[0]: [r[2] for r in losses.rows if r[0] == row[0]] for row in losses.rows}
    assert list(stages) == ["group 1 of 2", "group 2 of 2", "distillation"]
    assert all(sum(values[5:]) < sum(values[:5]) for values in stages.values())  # type: ignore[arg-type]


def test_the_removed_weights_take_part() -> None:
    graph = tiny_vit(7, blocks=3, width=16, hidden=32)
    options = {"count": 1, "samples": {"image": images(graph, 64)}, "epochs": 1.0, "group_share": 1.0}
    with_, _ = FuseBlocks(**options)(graph)  # type: ignore[arg-type]
    without, _ = FuseBlocks(**options, coefficients=False)(graph)  # type: ignore[arg-type]
    again, _ = FuseBlocks(**options)(graph)  # type: ignore[arg-type]
    assert not same(with_, without) and same(with_, again)


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stage", ["group 2 of 2", "distillation"])
def test_an_interrupted_run_ends_with_the_same_bits(tmp_path: Path, stage: str) -> None:
    graph = tiny_vit(8, blocks=4, width=16, hidden=16)
    options: dict[str, Any] = {"samples": {"image": images(graph, 48)}, "batch": 8, "group_share": 0.6}

    def stop(at: str, done: int, total: int) -> None:
        if at == stage and done >= 2:
            raise Stopped

    whole, _ = FuseBlocks(count=2, **options)(graph)
    with pytest.raises(Stopped):
        FuseBlocks(count=2, **options, checkpoints=tmp_path, progress=stop)(graph)
    assert list(tmp_path.iterdir())
    resumed, _ = FuseBlocks(count=2, **options, checkpoints=tmp_path)(graph)
    assert same(whole, resumed)


def test_constants_that_exporters_share_are_learned_apart() -> None:
    from edgewright.passes.learn.block_fusion import learned_constants, with_own_constants

    graph = two_blocks(builder(5), builder(5))  # the same weights twice; then the same nodes twice
    first, second = find_blocks(graph)
    twin = {b: a for (_, a), (_, b) in zip(first.constants, second.constants, strict=True)}
    from edgewright.passes.ir.graph import rebuild

    shared = rebuild(graph, lambda old, _: twin.get(old))
    a, b = find_blocks(shared)
    assert [n for _, n in a.constants] == [n for _, n in b.constants]
    apart = with_own_constants(shared, (a, b))
    a, b = find_blocks(apart)
    learned = [{block.constants[p][1] for p, _, _ in learned_constants(block)} for block in (a, b)]
    assert len(learned[0]) == len(learned[1]) == 12 and not learned[0] & learned[1]
    x = {"x": np.random.default_rng(0).standard_normal((3, 6, 16)).astype(np.float32)}
    assert np.array_equal(interpret(apart, x)["y"], interpret(shared, x)["y"])
    fused, _ = FuseBlocks(count=1, samples=x, epochs=1)(shared)
    assert len(find_blocks(fused)) == 1


def test_post_norm_blocks_and_masked_tokens() -> None:
    graph = text_network()
    x = samples(graph, 32)
    options = {"count": 1, "epochs": 10.0, "batch": 8, "distil_rate": 3e-3}
    fused, _ = FuseBlocks(samples=x, **options)(graph)  # type: ignore[arg-type]
    other = dict(x, ids=np.where(x["mask"] == 1, x["ids"], (x["ids"] + 1) % 29))
    blind, _ = FuseBlocks(samples=other, **options)(graph)  # type: ignore[arg-type]
    counted = x["mask"].astype(bool)
    a, b = (interpret(g, x)["states"][counted] for g in (fused, blind))
    assert np.allclose(a, b, atol=1e-3)  # what is masked teaches nothing
    removed, _ = RemoveBlocks(count=1, samples=x)(graph)
    wanted = interpret(graph, x)["states"][counted]
    assert np.square(a - wanted).mean() < 0.7 * np.square(interpret(removed, x)["states"][counted] - wanted).mean()


def test_runs_of_unequal_blocks_are_fused_each_by_itself() -> None:
    x = two_blocks(builder(0), builder(1)).inputs[0]
    node = x
    for i, hidden in enumerate((16, 16, 32, 32)):
        node = builder(i, hidden=hidden).block(node, f"b{i}")
    graph = Graph("stages", (x,), (node,), ("y",))
    values = {"x": np.random.default_rng(0).standard_normal((16, 6, 16)).astype(np.float32)}
    fused, _ = FuseBlocks(share=0.5, samples=values, epochs=1.0)(graph)
    assert [len(run) for run in runs_of_equal_blocks(find_blocks(fused))] == [1, 1]
    with pytest.raises(CompileError, match="F002") as caught:
        FuseBlocks(count=3, samples=values)(graph)
    assert "at most 2" in str(caught.value)


def test_the_given_graph_is_left_alone() -> None:
    graph = tiny_vit(1, blocks=2, width=16, hidden=16)
    before, text = [w.copy() for w in weights(graph)], to_text(graph)
    FuseBlocks(count=1, samples={"image": images(graph, 16)}, epochs=1.0)(graph)
    assert to_text(graph) == text and all(map(np.array_equal, before, weights(graph)))
