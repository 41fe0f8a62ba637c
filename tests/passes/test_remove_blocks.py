from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from edgewright.passes.blocks.block_influence import influences, mask_input
from edgewright.passes.blocks.removable_blocks import most_removable, removable
from edgewright.passes.blocks.remove_blocks import RemoveBlocks
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph, rebuild
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import constant
from edgewright.passes.structure.find_blocks import find_blocks

from tests.mixed_models import gated_network, samples, text_network
from tests.models import images, tiny_vit
from tests.passes.test_find_blocks import builder, special_block, two_blocks


def scaled(graph: Graph, index: int, by: float) -> Graph:
    """What block `index` adds to the stream, times `by`: 0 makes it do nothing."""
    block = find_blocks(graph)[index]
    nodes = {node for role, node in block.constants if role.split(".")[0] in ("projection", "ffn2")}
    return rebuild(graph, lambda old, _: constant(old.op.value * np.float32(by)) if old in nodes else None)  # type: ignore[attr-defined]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_removed_block_is_one_that_adds_nothing(index: int) -> None:
    graph = tiny_vit(4, blocks=3)
    x = {"image": images(graph, 3)}
    shorter, statistics = RemoveBlocks(blocks=(index,))(graph)
    assert np.array_equal(interpret(shorter, x)["logits"], interpret(scaled(graph, index, 0), x)["logits"])
    assert len(find_blocks(shorter)) == 2 and dict(statistics.counts) == {"blocks removed": 1}


def test_the_block_of_least_influence_goes_and_the_rest_is_evaluated_anew() -> None:
    graph = scaled(scaled(tiny_vit(5, blocks=4), 2, 0.01), 0, 0.1)
    pass_ = RemoveBlocks(share=0.5, samples={"image": images(graph, 8)})
    shorter, statistics = pass_(graph)
    (table,) = statistics.tables
    assert [(row[0], row[1]) for row in table.rows if row[4]] == [("step 1", 2), ("step 2", 0)]
    assert [row[1] for row in table.rows] == [0, 1, 2, 3, 0, 1, 3]
    assert np.array_equal(
        interpret(shorter, pass_.samples)["logits"],
        interpret(RemoveBlocks(blocks=(2, 0))(graph)[0], pass_.samples)["logits"],
    )


def test_influence_is_one_minus_the_mean_cosine() -> None:
    graph = tiny_vit(6, blocks=2)
    x = {"image": images(graph, 5)}
    blocks = find_blocks(graph)
    first, last = influences(graph, blocks, x, interpret)

    def hidden(of: Graph) -> Array:
        node = find_blocks(of)[-1].stream_out
        return interpret(Graph("hidden", of.inputs, (node,), ("h",)), x)["h"].astype(float)

    whole, shorter = hidden(graph), hidden(RemoveBlocks(blocks=(1,))(graph)[0])
    cosine = (whole * shorter).sum(-1) / np.linalg.norm(whole, axis=-1) / np.linalg.norm(shorter, axis=-1)
    assert last.tokens == pytest.approx(1 - cosine.mean(), abs=1e-6)
    assert last.first == pytest.approx(1 - cosine[:, 0].mean(), abs=1e-6)
    assert 0 < first.tokens < 2 and first.tokens != last.tokens


def test_masked_tokens_do_not_count() -> None:
    graph = text_network()
    blocks = find_blocks(graph)
    assert mask_input(graph, blocks) == "mask"
    x = samples(graph, 4)
    other = dict(x, ids=np.where(x["mask"] == 1, x["ids"], (x["ids"] + 1) % 29))
    assert not np.array_equal(x["ids"], other["ids"])
    a, b = (influences(graph, blocks, given, interpret) for given in (x, other))
    assert [i.tokens for i in a] == pytest.approx([i.tokens for i in b], abs=1e-6)


def test_how_many_may_go() -> None:
    equal, unequal = two_blocks(builder(0), builder(1)), two_blocks(builder(0), builder(1, hidden=48))
    assert most_removable(find_blocks(equal)) == 1 and len(removable(find_blocks(equal))) == 2
    assert most_removable(find_blocks(unequal)) == 0 and removable(find_blocks(unequal)) == ()


def of_kind(kind: str) -> Graph:
    x = two_blocks(builder(0), builder(1)).inputs[0]
    build = builder(3)
    return Graph(kind, (x,), (special_block(build, build.block(x, "plain"), kind),), ("y",))


@pytest.mark.parametrize(
    ("make", "options", "code", "words"),
    [
        (gated_network, {"count": 1}, "F001", "no transformer blocks"),
        (lambda: two_blocks(builder(0), builder(1, hidden=48)), {"share": 0.25}, "F002", "48 hidden units"),
        (lambda: tiny_vit(blocks=3), {"count": 3}, "F002", "at most 2"),
        (lambda: tiny_vit(blocks=2), {"share": 1.0}, "F003", "100 %"),
        (lambda: tiny_vit(blocks=2), {"count": 0}, "F003", "0 blocks"),
        (lambda: tiny_vit(blocks=2), {}, "F003", "cannot"),
        (lambda: of_kind("hashed"), {"count": 1}, "F004", "then hash"),
        (lambda: of_kind("experts"), {"count": 1}, "F005", "5 experts"),
    ],
)
def test_refusals(make: Callable[[], Graph], options: dict[str, float], code: str, words: str) -> None:
    graph = make()
    with pytest.raises(CompileError) as caught:
        RemoveBlocks(**options)(graph)  # type: ignore[arg-type]
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code and words in str(diagnostic)
