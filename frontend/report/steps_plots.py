"""Plots of where the time goes: by kind of step, by step, and by number of threads."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report.drawing import Bar, bars, columns, drawn, largest
from edgewright.frontend.report.formats import duration, several, share, time_range
from edgewright.frontend.report.palette import INK, palette
from edgewright.frontend.report.steps import Kind
from edgewright.passes.results import OperationCost
from edgewright.targets.cpu.profile_results import RunTimes
from matplotlib.figure import Figure


@drawn("kinds", "Time of each kind of step")
def kinds(rows: Sequence[Kind]) -> Figure | None:
    """The time of each kind of step, in the order of `rows`."""
    colours = palette(row.kind for row in rows)
    timed = [
        Bar(row.title, row.high_us / 1e3, share(row.share), colours[row.kind], row.low_us / 1e3)
        for row in rows
        if row.low_us is not None and row.high_us is not None and row.share is not None
    ]
    return bars(timed, "milliseconds; beside each bar: its share of the time") if timed else None


@drawn("steps", "Time of each step")
def steps(operations: Sequence[OperationCost], order: Sequence[str]) -> Figure | None:
    """The time of each step in program order, the three longest named, coloured by kind as `kinds` does (`order`: its
    kinds); None without times or with a single step."""
    colours = palette(order)
    known = [(op, op.low_us, op.high_us) for op in operations if op.low_us is not None and op.high_us is not None]
    timed = [Bar(op.name, high or 0.0, time_range(low, high), colours[op.kind], low) for op, low, high in known]
    places = dict(enumerate(timed))
    return columns(places, len(timed), "step, in program order", "microseconds", largest(places)) if len(timed) > 1 else None


@drawn("threads", "Time by number of threads")
def threads(runs: Sequence[RunTimes]) -> Figure | None:
    """Times by number of threads, solid up to the median, pale up to the 95th percentile; None for fewer than two."""
    if len(runs) < 2:
        return None
    rows = []
    for run in runs:
        gain = "" if run is runs[0] else f", {runs[0].median_ms / run.median_ms:.2f} times as fast"
        rows.append(Bar(several(run.threads, "thread"), run.p95_ms, f"{duration(run.median_ms)}{gain}", low=run.median_ms))
    return bars(rows, "milliseconds for one inference, median and 95th percentile", colour=INK)
