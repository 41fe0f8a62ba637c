"""Which blocks of a graph may be removed, how many are requested, and why a request is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import Graph
from edgewright.passes.structure.find_blocks import TransformerBlock, find_blocks, runs_of_equal_blocks
from edgewright.passes.transform import Note


def removable(blocks: Sequence[TransformerBlock]) -> tuple[TransformerBlock, ...]:
    """Return the candidates: closed blocks with a neighbour of equal form, except the last of a run."""
    runs = [run for run in runs_of_equal_blocks(blocks) if len(run) > 1]
    return tuple(block for run in runs for block in run if block.closed and block.is_plain)


def most_removable(blocks: Sequence[TransformerBlock]) -> int:
    """Return how many can go one after another: of each run all that nothing reads within, but one stays."""
    runs = runs_of_equal_blocks(blocks)
    return sum(min(len(run) - 1, sum(block.closed for block in run)) for run in runs)


def check_removal(graph: Graph, share: float | None, count: int | None, note: Note) -> tuple[tuple[TransformerBlock, ...], int]:
    """Return all blocks, and how many are to go: `count`, or a share of all rounded up. Refusals (F-codes) go into the
    note."""
    blocks = find_blocks(graph)
    removals = count if count is not None else math.ceil(len(blocks) * (share or 0) - 1e-9)
    for diagnostic in _refusals(graph, blocks, share, count, removals):
        note.refuse(diagnostic)
    return blocks, removals


def _refusals(
    graph: Graph, blocks: Sequence[TransformerBlock], share: float | None, count: int | None, removals: int
) -> Iterator[Diagnostic]:
    if (count is None and not 0 < (share or 0) < 1) or (count is not None and count < 1):
        asked = f"{count} blocks" if count is not None else f"{100 * (share or 0):g} % of the blocks"
        yield Diagnostic("F003", f"{asked} cannot be taken out", graph.name, help="ask for 25%, or for 1 block or more")
        return
    if not blocks:
        yield Diagnostic(
            "F001",
            "there are no transformer blocks",
            graph.name,
            "no attention with a residual is followed by a feed-forward network with one",
            "`edgewright inspect` shows the graph as it was read",
        )
        return
    special = list(_special(blocks))
    yield from special
    most = most_removable(blocks)
    if removals > most and not special:
        yield Diagnostic(
            "F002",
            f"{removals} of {len(blocks)} blocks are to go, but only {most} can",
            graph.name,
            f"a block goes into neighbours of equal form, and one of each run stays: {_described(blocks)}",
            f"ask for at most {most}" if most else "",
        )


def _special(blocks: Sequence[TransformerBlock]) -> Iterator[Diagnostic]:
    for block in blocks:
        if block.hashed:
            yield Diagnostic(
                "F004",
                f"{block.name} has hashed attention",
                block.attention.name,
                "its hash functions were learned for its own queries and do not apply to another block",
                "fuse blocks first, then hash the attention of those that remain",
            )
        if block.experts:
            yield Diagnostic(
                "F005",
                f"{block.name} has {block.experts} experts",
                block.attention.name,
                "its router chooses among its own experts, which have no counterparts in another block",
                "--task and --usage-threshold make a model of experts smaller",
            )


def _described(blocks: Sequence[TransformerBlock]) -> str:
    return "; ".join(
        f"{len(run)} of width {run[0].width}, {run[0].heads} heads, {run[0].hidden} hidden units, {run[0].tokens} tokens"
        for run in runs_of_equal_blocks(blocks)
    )
