"""Memory words that a program reads after another value has taken their place: none, in a right plan.

The interpreted engine reads as early as it may, and would not notice: on a board, the result that takes a value's place may be
stored before an operation further on reads that value.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgewright.hw.memory import WORD_BYTES
from edgewright.hw.operations.operation import Step
from edgewright.hw.plan import Plan
from edgewright.passes.ir.graph import Node
from numpy.typing import NDArray

Words = NDArray[np.int64]
Reads = tuple[str, tuple[Node, ...], Words, Words | None]
"""What is read, the values that it may belong to, words, and for each the number of the first result that waits for it (None:
unknown)."""


def spans(begin: Words, size: Words) -> Words:
    """Return all words of runs."""
    return np.repeat(begin - np.cumsum(size) + size, size) + np.arange(int(size.sum()))


def in_order(step: Step) -> tuple[Words, Words, Words]:
    """Return the tokens and the tiles of a step's results, in the order in which they are computed, and the number of the first
    result that is stored after each: itself, or the first of its block where results are stored row by row."""
    tiles = np.arange(step.fields["out_tiles"])
    blocks = [np.meshgrid(tiles, tokens, indexing="ij") for tokens in step.blocks()]
    tile, token = (np.concatenate([block[axis].reshape(-1) for block in blocks]) for axis in (0, 1))
    each = np.array([block[0].size for block in blocks], np.int64)
    first = np.repeat(np.cumsum(each) - each, each) if step.fields["by_rows"] else np.arange(len(token))
    return token, tile, first


def reads(step: Step) -> Iterator[Reads]:
    """Yield what a step reads of stored values."""
    operation, fields = step.operation, step.fields
    product = operation.product
    for access in step.accesses():
        if access.what in ("results", "the residual"):
            continue
        begin = (access.address + np.arange(access.rows) * access.pitch) // WORD_BYTES
        yield access.what, (access.owner,), spans(begin, np.full(access.rows, -(-access.size // WORD_BYTES))), None
    if len(requests := step.requests):
        words = spans(requests[:, 0] // WORD_BYTES, requests[:, 1])
        first = None
        if fields["direct"]:  # a row, or a pixel, after the other: of a row to normalise, its first result waits for all
            each = fields["win_words"] if fields["window"] else len(words) // (fields["n_tokens"] * fields["direct_taps"])
            row, word = np.divmod(np.arange(len(words)), each)
            tile = 0 * word if fields["norm"] else word * fields["out_tiles"] // each
            first = row // max(1, fields["direct_taps"]) * fields["out_tiles"] + tile
        yield "activations", (product.source.root, *product.constants), words, first
    if operation.residual is not None and not operation.residual.packed:
        token, tile, first = in_order(step)
        each = 2 - fields["res_narrow"]
        begin = (fields["res_address"] + token * fields["res_pitch"]) // WORD_BYTES + tile * each
        order = np.repeat(first, each)
        yield "the second operand", (operation.residual.source.root,), spans(begin, np.full(len(begin), each)), order


def overwritten(planned: Plan) -> list[tuple[int, str, str]]:
    """Return (step, what it reads, of which value) for every read of words that no longer hold that value, or that the step
    itself stores before it reads them. An output has to be there at the end."""
    nodes = [*planned.addresses]
    number = {node: at for at, node in enumerate(nodes, 1)}
    owner = np.zeros(-(-planned.memory_bytes // WORD_BYTES) + 1, np.int64)
    targets = {step.operation.target for step in planned.steps}
    found = []

    def region(node: Node) -> Words:
        begin = planned.addresses[node] // WORD_BYTES
        return np.arange(begin, begin + -(-planned.layouts[node].size_bytes // WORD_BYTES))

    for node in nodes:
        if node not in targets:
            assert not owner[region(node)].any(), f"{node.name} lies where another value is from the start"
            owner[region(node)] = number[node]
    for at, step in enumerate(planned.steps):
        stored = step.addresses().astype(np.int64) // WORD_BYTES
        written = np.full(len(owner), -1)
        written[stored] = np.arange(len(stored)) // (1 if step.fields["copy"] else step.row_words)
        for what, values, words, first in reads(step):
            if step.fields["patch"]:  # whole words, also where an image begins or ends within one
                words = words[owner[words] > 0]
            known = np.isin(owner[words], [number[value] for value in values])
            own = written[words] >= 0
            early = own if first is None else own & (written[words] < first)
            if not known.all() or early.any():
                found.append((at, what, values[0].name))
        owner[stored] = number[step.operation.target]
    for view in planned.outputs:
        if not np.isin(owner[region(view.root)], [0, number[view.root]]).all():
            found.append((len(planned.steps), "output", view.root.name))
    return found
