"""How much the last hidden state changes when one block is skipped, and which blocks may be skipped at all."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from edgewright.passes.ir import Array, Graph, Int, Node, moved, rebuild
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Attention, Input
from edgewright.passes.structure.find_blocks import TransformerBlock, find_blocks
from edgewright.passes.transform import Note

Run: TypeAlias = Callable[[Graph, Mapping[str, Array]], dict[str, Array]]
"""A graph's outputs on samples: `interpret`, or the same by torch."""

HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Influence:
    """Macro Influence of a block: 1 - the mean cosine, along the features, of the last block's hidden state with the block
    and without it; over all tokens, and of the first token (the class token, where there is one).

    Source: FuseGPT (arXiv 2411.14507), section 3.1.
    """

    block: TransformerBlock
    tokens: float
    first: float


def influences(
    graph: Graph, candidates: Sequence[TransformerBlock], samples: Mapping[str, Array], run: Run
) -> tuple[Influence, ...]:
    """Of each candidate, the others in place. Tokens that the attention mask hides do not count."""
    blocks = find_blocks(graph)
    last = blocks[-1].stream_out
    mask = mask_input(graph, blocks)
    counted = None if mask is None else np.asarray(samples[mask]).astype(bool)
    whole = run(_up_to(graph, last), samples)[HIDDEN]
    weighed = []
    for block in candidates:
        shorter = run(_up_to(*_without(graph, block, last)), samples)[HIDDEN]
        cosine = _cosine(whole, shorter)  # (samples, tokens)
        tokens = cosine[counted] if counted is not None and counted.shape == cosine.shape else cosine
        weighed.append(Influence(block, float(1 - tokens.mean()), float(1 - cosine[:, 0].mean())))
    return tuple(weighed)


def fastest_run() -> Run:
    """Return the same values by torch where it is installed, by the interpreter where not."""
    if importlib.util.find_spec("torch") is None:
        return interpret
    from edgewright.passes.learn.measure import outputs

    return outputs


def least(weighed: Sequence[Influence], by: str) -> TransformerBlock:
    """Return the block of least influence by "tokens" or "first"; the first of equals."""
    return min(weighed, key=lambda influence: influence.first if by == "first" else influence.tokens).block


def influence_rows(
    step: int, weighed: Sequence[Influence], chosen: TransformerBlock, numbers: Sequence[int]
) -> list[tuple[object, ...]]:
    """Return rows for `tell_influence`; numbers: what the blocks that are left were called in the unmodified graph."""
    return [(f"step {step + 1}", numbers[i.block.index], i.tokens, i.first, i.block is chosen) for i in weighed]


def tell_influence(note: Note, rows: Sequence[tuple[object, ...]]) -> None:
    """The table of all steps."""
    if rows:
        text = "1 - the mean cosine of the last hidden state with the block and without it; the least goes"
        note.table("Macro Influence", ("step", "block", "all tokens", "first token", "goes"), rows, text)


def without_block(graph: Graph, block: TransformerBlock) -> Graph:
    """Return the graph whose readers of stream_out read stream_in. The block is `closed` and keeps the stream's shape."""
    return _without(graph, block, block.stream_out)[0]


def _without(graph: Graph, block: TransformerBlock, followed: Node) -> tuple[Graph, Node]:
    """Return the graph without the block, and what `followed` has become in it."""
    rewritten: dict[Node, Node] = {}

    def change(old: Node, operands: tuple[Node, ...]) -> Node:
        rewritten[old] = rewritten[block.stream_in] if old is block.stream_out else moved(old, operands)
        return rewritten[old]

    return rebuild(graph, change), rewritten[followed]


def _up_to(graph: Graph, node: Node) -> Graph:
    return replace(graph, outputs=(node,), output_names=(HIDDEN,))


def _cosine(a: Array, b: Array) -> Array:
    a, b = (x.reshape(x.shape[0], -1, x.shape[-1]).astype(np.float64) for x in (a, b))
    size = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return np.asarray((a * b).sum(-1) / np.maximum(size, 1e-30))


def mask_input(graph: Graph, blocks: Sequence[TransformerBlock]) -> str | None:
    """Return the one integer input (1, tokens) that decides the bias of the blocks' attention: 1 for tokens that count."""
    masks: set[str] = set()
    for block in blocks:
        if not isinstance(block.attention.op, Attention):
            continue
        stack, seen = list(block.attention.inputs[3:]), set()
        while stack:
            node = stack.pop()
            if node in seen:
                continue
            seen.add(node)
            stack += node.inputs
            if isinstance(node.op, Input) and isinstance(node.elem, Int) and node.shape == (1, block.tokens):
                masks.add(node.op.name)
    return masks.pop() if len(masks) == 1 else None
