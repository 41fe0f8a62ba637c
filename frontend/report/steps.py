"""Steps of a program, summed up by kind: for operations of an engine, estimated and measured steps alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from edgewright.frontend.report.formats import UNKNOWN, count, kind_title, share, time_range
from edgewright.frontend.report.page import Block, Marked, Plot, Table, words
from edgewright.frontend.report.palette import CSS, legend, palette
from edgewright.passes.results import OperationCost

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Kind:
    """Steps of one kind together. cycles: best known; share: of all cycles or, without cycles, of the time (middle of the
    range). None where it is not known for all of them."""

    kind: str
    count: int
    macs: int
    bytes: int | None
    cycles: int | None
    low_us: float | None
    high_us: float | None
    share: float | None

    @property
    def title(self) -> str:
        return kind_title(self.kind)


def by_kind(operations: Sequence[OperationCost]) -> list[Kind]:
    """Sum up operations by kind, those with the largest share first, without shares those with most products."""
    rows = []
    costs = [op.middle_us if op.cycles.best_known is None else op.cycles.best_known for op in operations]
    whole = sum(cost or 0.0 for cost in costs)
    for kind in dict.fromkeys(op.kind for op in operations):
        same = [op for op in operations if op.kind == kind]
        part = _sum([cost for op, cost in zip(operations, costs, strict=True) if op.kind == kind])
        low, high = _sum([op.low_us for op in same]), _sum([op.high_us for op in same])
        cycles, moved = _sum([op.cycles.best_known for op in same]), _sum([op.bytes for op in same])
        macs = sum(op.macs for op in same)
        rows.append(Kind(kind, len(same), macs, moved, cycles, low, high, part / whole if whole and part is not None else None))
    return sorted(rows, key=lambda row: (-(row.share or 0.0), -row.macs))


def _sum(values: Sequence[Number | None]) -> Number | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def time_blocks(operations: Sequence[OperationCost], *middle: Block) -> tuple[Block, ...]:
    """Return plots and a table of the time by kind and by step, `middle` between them; without times the table alone."""
    from edgewright.frontend.report import steps_plots

    rows = by_kind(operations)
    order = [row.kind for row in rows]
    colours = palette(order)
    timed = any(row.low_us is not None for row in rows)
    total = ("all steps", str(len(operations)), count(sum(row.macs for row in rows)), count(_sum([row.bytes for row in rows])))
    cells = []
    for row in rows:
        name = Marked(row.title, swatch=CSS[colours[row.kind]] if timed else "")
        time = (*times(row), "" if row.share is None else share(row.share)) if timed else ()
        cells.append((name, str(row.count), count(row.macs), count(row.bytes), *time))
    low, high = (_sum([op.low_us for op in operations]), _sum([op.high_us for op in operations]))
    table = Table(
        ("kind of step", "steps", "products (MACs)", "bytes touched", *(("time", "GOP/s", "share") if timed else ())),
        cells,
        total=(*total, *((time_range(low, high), "", "") if timed else ())),
    )
    kinds = Plot(steps_plots.kinds(rows), words("time.kinds_caption"))
    steps = Plot(steps_plots.steps(operations, order), words("time.steps_caption"), legend(map(kind_title, order)))
    return (kinds, table, *middle, steps)


def times(step: OperationCost | Kind) -> tuple[str, str]:
    """Return the time of a step or a kind of steps, and its speed in GOP/s (a product is two operations)."""
    low, high = step.low_us, step.high_us
    speed = UNKNOWN if not step.macs or not low or not high else f"{4e-3 * step.macs / (low + high):,.1f}"
    return time_range(low, high), speed
