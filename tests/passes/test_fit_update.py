from __future__ import annotations

import numpy as np
import pytest
from edgewright.passes.blocks.fit_update import Update, fit_update
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.ir.graph import Graph, Node, rebuild
from edgewright.passes.ir.interp import interpret, interpret_all
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import constant, value_of
from edgewright.passes.structure.find_blocks import find_blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mixed_models import samples, text_network
from tests.models import images, tiny_vit


def with_constants(graph: Graph, values: dict[Node, Array]) -> Graph:
    return rebuild(graph, lambda old, _: constant(values[old], old.origin) if old in values else None)


def found(graph: Graph, place: int, x: dict[str, Array], mask: str | None = None) -> Update:
    blocks = find_blocks(graph)
    update = fit_update(graph, blocks[place - 1], blocks[place], x, mask, interpret)
    assert update is not None
    return update


def without(graph: Graph, place: int, update: Update | None = None) -> Graph:
    """The graph without a block, the one in front changed by the update."""
    front = dict(find_blocks(graph)[place - 1].constants)
    added = {} if update is None else {"ffn2.weight": update.weight, "ffn2.bias": update.bias}
    changed = with_constants(graph, {front[role]: value_of(front[role]) + value for role, value in added.items()})
    return RemoveBlocks(blocks=(place,))(changed)[0]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99), st.integers(1, 2), st.integers(8, 24), st.integers(66, 100))
def test_it_is_the_least_squares_solution(seed: int, place: int, hidden: int, count: int) -> None:
    graph = tiny_vit(seed, blocks=3, width=16, hidden=hidden)
    x = images(graph, count, seed=seed)
    update = found(graph, place, {"image": x})
    front, removed = find_blocks(graph)[place - 1 : place + 1]
    linear = front.linear("ffn2")
    assert linear is not None
    rows, goals = [], []
    for one in x:
        values = interpret_all(graph, {"image": one[None]})
        rows.append(values[linear.inputs[0]].reshape(-1, hidden))
        goals.append((values[removed.stream_out] - values[removed.stream_in]).reshape(-1, 16))
    h, goal = np.concatenate(rows).astype(np.float64), np.concatenate(goals).astype(np.float64)
    h = np.concatenate([h, np.ones((len(h), 1))], axis=1)
    best, *_ = np.linalg.lstsq(h, goal, rcond=None)
    ours = np.concatenate([update.weight.T, update.bias[None]])
    least, reached = np.square(goal - h @ best).sum(), np.square(goal - h @ ours).sum()
    assert least * (1 - 1e-9) <= reached <= 1.01 * least
    assert update.explained == pytest.approx(1 - reached / np.square(goal - goal.mean(0)).sum(), abs=1e-4)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 99))
def test_what_can_be_predicted_is_given_back_whole(seed: int) -> None:
    graph = tiny_vit(seed, blocks=3, width=16, hidden=16)
    block = find_blocks(graph)[1]
    silent = {}
    for role in ("projection.weight", "ffn2.weight"):  # it adds its two biases to every token and nothing else
        node = block.constant(role)
        assert node is not None
        silent[node] = np.zeros(node.shape, np.float32)
    graph = with_constants(graph, silent)
    x = {"image": images(graph, 100)}
    update = found(graph, 1, x)
    biases = [value_of(node) for role, node in find_blocks(graph)[1].constants if role in ("projection.bias", "ffn2.bias")]
    assert len(biases) == 2 and np.allclose(update.bias, sum(biases), atol=1e-3)  # type: ignore[arg-type]
    wanted = interpret(graph, x)["logits"]
    assert np.allclose(interpret(without(graph, 1, update), x)["logits"], wanted, atol=2e-3)
    assert not np.allclose(interpret(without(graph, 1), x)["logits"], wanted, atol=2e-2)


def test_post_norm_blocks_and_masked_tokens() -> None:
    graph = text_network()
    x = samples(graph, 200)
    other = dict(x, ids=np.where(x["mask"] == 1, x["ids"], (x["ids"] + 1) % 29))
    update = found(graph, 1, x, "mask")
    assert np.allclose(update.weight, found(graph, 1, other, "mask").weight, atol=1e-3)  # what is masked teaches nothing
    fresh = samples(graph, 50, seed=1)
    counted = fresh["mask"].astype(bool)
    wanted = interpret(graph, fresh)["states"][counted]
    ways = without(graph, 1, update), without(graph, 1)
    error = [float(np.square(interpret(g, fresh)["states"][counted] - wanted).mean()) for g in ways]
    assert error[0] < 0.7 * error[1]


def test_too_few_tokens_or_another_end_say_nothing() -> None:
    graph = tiny_vit(0, blocks=2, width=16, hidden=64)
    blocks = find_blocks(graph)
    x = {"image": images(graph, 2)}
    assert blocks[0].tokens * 2 < 4 * 65
    assert fit_update(graph, blocks[0], blocks[1], x, None, interpret) is None
    assert fit_update(graph, blocks[1], blocks[0], {"image": images(graph, 100)}, None, interpret) is None
