"""How many completions each unit that reads memory waits for, block by block, so that it reads only what has been stored.

Every descriptor gives one completion for each block of tokens that it stores, or one for all of them. They come in the
program's order, so a row of a value is in memory once a certain number of completions has come.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.operations.operation import Step
from edgewright.hw.operations.product import tiles
from edgewright.hw.views import StoredView, rows_columns
from edgewright.passes.ir.graph import Node
from numpy.typing import NDArray

Counts = NDArray[np.int64]
"""Completions from the program's start on, one number for each row or block."""
LOOKAHEAD = 4
"""Descriptors after which a unit takes completions that it does not need, so that they never accumulate."""


class Readers:
    """The completions that each reading unit has taken so far."""

    def __init__(self) -> None:
        self.taken = dict.fromkeys(("act", "opd", "res"), 0)

    def wait(self, unit: str, needed: Counts, settled: int) -> dict[str, int]:
        """Return the fields of a unit's gate. ``needed``: completions before each of its blocks; ``settled``: the number that
        it takes in any case."""
        taken = self.taken[unit]
        needed = np.maximum(needed, max(taken, settled))
        last = int(needed.max(initial=max(taken, settled)))
        begin, step = last, 0
        if len(needed) > 1:
            line = int((needed - np.arange(len(needed))).max())  # the latest start of a wait for one more before each block
            if line + len(needed) - 1 <= last:
                begin, step = line, 1
        self.taken[unit] = last
        return {f"{unit}_blocks": len(needed), f"{unit}_first": begin - taken, f"{unit}_next": step}

    def drained(self, step: Step, end: int) -> dict[str, int]:
        """Return the fields of the last descriptor, after which each unit has taken all ``end`` completions: a unit without
        blocks takes them at once."""
        fields = {}
        for unit, taken in self.taken.items():
            part = "drain" if step.fields[f"{unit}_blocks"] else "first"
            fields[f"{unit}_{part}"] = step.fields[f"{unit}_{part}"] + end - taken
        return fields


def order(steps: Iterable[Step], config: EngineConfig) -> list[Step]:
    """Return the descriptors with the completions that they give and wait for."""
    readers, stored = Readers(), dict[Node, Counts]()
    ends, ordered = [0], list[Step]()
    for step in steps:
        begin, settled = ends[-1], ends[max(0, len(ends) - LOOKAHEAD)]
        blocks = step.fields["n_blocks"]
        progress = not step.fields["copy"] and blocks <= config.completions // (LOOKAHEAD + 2)
        fields = {**step.fields, "progress": int(progress), "marks": blocks if progress else 1}
        for unit, needed in needs(step, stored, config).items():
            fields |= readers.wait(unit, needed, settled)
        ends.append(begin + fields["marks"])
        note_stored(step, stored, begin, config.tokens if progress else step.operation.shape[0])
        ordered.append(replace(step, fields=fields))
    if ordered:
        ordered[-1] = replace(ordered[-1], fields={**ordered[-1].fields, **readers.drained(ordered[-1], ends[-1]), "final": 1})
    return ordered


def needs(step: Step, stored: dict[Node, Counts], config: EngineConfig) -> dict[str, Counts]:
    """Return for each reading unit the completions that must have come before each block that it reads."""
    operation, fields = step.operation, step.fields
    none: Counts = np.zeros(0, np.int64)
    found = {"act": none, "opd": none, "res": none}
    blocks = fields["n_blocks"]
    if operation.product.streamed:
        (view,) = operation.product.streamed
        by_token = not fields["patch"] and not fields["copy"]
        found["act"] = by_blocks(view, stored, config.tokens, blocks) if by_token else np.full(blocks, latest(view, stored))
    if operation.residual is not None:
        found["res"] = by_blocks(operation.residual.source, stored, config.tokens, blocks)
    if operation.loaded:
        count = tiles(fields["n_keys"], config.outs)
        found["opd"] = np.max([by_blocks(view, stored, config.outs, count) for view in operation.loaded], axis=0)
    return found


def by_blocks(view: StoredView, stored: dict[Node, Counts], size: int, blocks: int) -> Counts:
    """Return the completions before each block of ``size`` rows of a view."""
    counts = stored.get(view.root)
    if counts is None:
        return np.zeros(blocks, np.int64)
    rows = counts[view.row + view.row_step * np.arange(view.rows)]
    return np.array([rows[b * size : (b + 1) * size].max() for b in range(blocks)], np.int64)


def latest(view: StoredView, stored: dict[Node, Counts]) -> int:
    """Return the completions before all of a view's value is stored."""
    return int(stored[view.root].max()) if view.root in stored else 0


def note_stored(step: Step, stored: dict[Node, Counts], begin: int, size: int) -> None:
    """Note the completions after which the rows of a descriptor are in memory: one after every ``size`` of them."""
    place = step.operation.place
    counts = stored.setdefault(place.target, np.zeros(rows_columns(place.target)[0], np.int64))
    row = np.arange(step.operation.shape[0])
    counts[place.first_row + place.row_step * row] = begin + row // size + 1
