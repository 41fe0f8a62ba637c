"""How many completions each unit that reads memory waits for, block by block, so that it reads only what has been stored.

Every descriptor gives one completion for each block of tokens that it stores, or one for all of them. They come in the
program's order, so a row of a value is in memory once a certain number of completions has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.sequencer import GATE_FRACTION
from edgewright.hw.operations.operation import Step
from edgewright.hw.views import StoredView, rows_columns
from edgewright.passes.ir.graph import Node
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Completions from the program's start on, one number for each row or block."""
LOOKAHEAD = {"con": 24, "act": 4, "opd": 4, "res": 4}
"""Descriptors after which a unit takes completions that it does not need, so that they never accumulate."""


class Readers:
    """The completions that each reading unit has taken so far."""

    def __init__(self) -> None:
        self.taken = dict.fromkeys(LOOKAHEAD, 0)

    def wait(self, unit: str, needed: Counts, settled: int) -> dict[str, int]:
        """Return the fields of a unit's gate. ``needed``: completions before each of its blocks; ``settled``: the number that
        it takes in any case."""
        taken = self.taken[unit]
        needed = np.maximum.accumulate(np.maximum(needed, max(taken, settled)))  # a list may go back to earlier rows
        last = int(needed.max(initial=max(taken, settled)))
        begin, phase, slope = line_above(needed) if len(needed) else (last, 0, 0)
        self.taken[unit] = last
        return {
            f"{unit}_blocks": len(needed),
            f"{unit}_first": begin - taken,
            f"{unit}_phase": phase,
            f"{unit}_slope": slope,
            f"{unit}_steps": last - begin,
        }

    def drained(self, step: Step, end: int) -> dict[str, int]:
        """Return the fields of the last descriptor, after which each unit has taken all ``end`` completions: a unit without
        blocks takes them at once."""
        fields = {}
        for unit, taken in self.taken.items():
            part = "drain" if step.fields[f"{unit}_blocks"] else "first"
            fields[f"{unit}_{part}"] = step.fields[f"{unit}_{part}"] + end - taken
        return fields


def line_above(needed: Counts) -> tuple[int, int, int]:
    """Return first value, its fraction and the slope of the line that, rounded down, is nowhere below, and in sum as little as
    can be above, ``needed`` where it does not exceed the last of them."""
    blocks, last, one = np.arange(len(needed)), int(needed[-1]), 1 << GATE_FRACTION
    mean = (last - int(needed[0])) * one // max(1, len(needed) - 1)
    best: tuple[int, int, int] | None = None
    for slope in sorted({mean * part // 32 for part in range(49)} | {mean + 1}):
        start = int((needed * one - blocks * slope).max())
        above = int((np.minimum((start + blocks * slope) // one, last) - needed).sum())
        if best is None or above < best[0]:
            best = above, start, slope
    assert best is not None
    _, start, slope = best
    return start // one, start % one, slope


def order(steps: Iterable[Step], config: EngineConfig) -> list[Step]:
    """Return the descriptors with the completions that they give and wait for.

    A program that begins with copies, of an image, loads the weights of its first product beside them, the constants that this
    adds as the copy proceeds, and all others after it: they would take what memory gives from what is needed sooner.
    """
    readers, stored = Readers(), dict[Node, Counts]()
    ends, ordered = [0], list[Step]()
    copied, computes = 0, False
    for step in steps:
        begin = ends[-1]
        blocks = step.fields["n_blocks"]
        progress = blocks <= config.completions // (max(LOOKAHEAD.values()) + 2)
        fields = {**step.fields, "progress": int(progress), "marks": blocks if progress else 1}
        waits = needs(step, stored, config)
        if not fields["copy"]:
            waits["con"] = np.full(1, copied if computes else 0)
            if not computes and len(waits["res"]):
                waits["res"] = np.maximum(waits["res"], waits["act"])
        computes |= not fields["copy"]
        for unit, needed in waits.items():
            fields |= readers.wait(unit, needed, settled=ends[max(0, len(ends) - LOOKAHEAD[unit])])
        ends.append(begin + fields["marks"])
        copied = copied if computes else ends[-1]
        ordered.append(replace(step, fields=fields))
        note_stored(ordered[-1], stored, begin, config)
    if ordered:
        ordered[-1] = replace(ordered[-1], fields={**ordered[-1].fields, **readers.drained(ordered[-1], ends[-1]), "final": 1})
    return ordered


def needs(step: Step, stored: dict[Node, Counts], config: EngineConfig) -> dict[str, Counts]:
    """Return for each reading unit the completions that must have come before each block that it reads."""
    operation, fields = step.operation, step.fields
    none: Counts = np.zeros(0, np.int64)
    found = dict.fromkeys(LOOKAHEAD, none)
    blocks, size, piece = fields["n_blocks"], 1 if fields["single"] else config.tokens, step.piece
    if operation.product.streamed:
        (view,) = operation.product.streamed
        rows = operation.product.fetched(fields, piece, config)
        copied = [int(stored[node].max()) for node in operation.product.constants if node in stored]
        found["act"] = np.maximum(completions(view.root, rows, stored), max(copied, default=0))
    if operation.residual is not None:
        view = operation.residual.source.part(piece.row, piece.rows)
        found["res"] = completions(view.root, blocks_of(view, size), stored)
    if fields["copy"]:
        found["opd"] = np.zeros(blocks, np.int64)  # constants and inputs
    elif fields["leads"]:
        views = [operation.product.loaded_part(view, piece) for view in operation.loaded]
        each = [completions(view.root, blocks_of(view, config.ins), stored) for view in views]
        found["opd"] = np.max(each, axis=0)
    return found


def blocks_of(view: StoredView, size: int) -> list[Counts]:
    """Return the rows of each block of ``size`` rows of a view."""
    rows = view.row_numbers
    return [rows[begin : begin + size] for begin in range(0, view.rows, size)]


def completions(root: Node, blocks: list[Counts], stored: dict[Node, Counts]) -> Counts:
    """Return the completions after which the rows of each block of a value are in memory."""
    if root not in stored:
        return np.zeros(len(blocks), np.int64)
    return np.array([stored[root][rows].max(initial=0) for rows in blocks], np.int64)


def note_stored(step: Step, stored: dict[Node, Counts], begin: int, config: EngineConfig) -> None:
    """Note the completions after which the rows of a descriptor are in memory."""
    place, fields, piece = step.operation.place, step.fields, step.piece
    height = step.operation.shape[0] if fields["copy"] else piece.rows
    counts = stored.setdefault(place.target, np.zeros(rows_columns(place.target)[0], np.int64))
    mark = np.full(height, fields["marks"] - 1)
    if fields["progress"]:
        mark = step.operation.product.row_tokens(height) // (1 if fields["copy"] or fields["single"] else config.tokens)
    counts[place.first_row + place.row_step * (piece.row + np.arange(height))] = begin + mark + 1
