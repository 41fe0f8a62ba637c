"""Plots of estimated latencies beside published ones, and of what limits them."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report.drawing import PALE, blank, drawn, percent_ticks, rows_of
from edgewright.frontend.report.formats import between, share, si, threads_of
from edgewright.frontend.report.palette import ACCENT, INK, PAPER, WARN, palette
from edgewright.passes.results import Latency, Published
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_BAR, _LANE, _GAP = 0.30, 0.26, 0.16  # inches: a range, a line of marks, the space after both
_NEAR = 0.035  # of the axis: marks closer than this get lines of their own


@drawn("latency", "Estimated latency for each number of threads")
def latency(estimates: Sequence[Latency], published: Sequence[Published]) -> Figure | None:
    """The range of each thread count over milliseconds, and numbered marks for what others measured."""
    if not estimates:
        return None
    ranges = {estimate.threads: estimate for estimate in estimates}
    top = 1.22 * max(*(estimate.high_ms for estimate in estimates), *(float(row.ms) for row in published), 1e-6)
    counts = sorted({*ranges, *(row.threads for row in published)}, key=lambda count: (count is None, count or 0))
    marks = {count: [(float(row.ms), i) for i, row in enumerate(published, 1) if row.threads == count] for count in counts}
    lanes = {count: _lanes(marks[count], top * _NEAR) for count in counts}
    height = 0.1 + sum(_BAR * (count in ranges) + _LANE * len(lanes[count]) + _GAP for count in counts)
    figure, axes = blank(height + 0.55)
    y, ticks = 0.1, []
    for count in counts:
        ticks.append(y + (_BAR if count in ranges else _LANE) / 2)
        if count is not None and count in ranges:
            _range(axes, y, ranges[count])
            y += _BAR
        for lane in lanes[count]:
            for ms, number in lane:
                middle = y + _LANE / 2
                axes.plot([ms], [middle], marker="o", markersize=11.5, color=WARN, markeredgecolor=PAPER, zorder=3)
                axes.text(ms, middle, str(number), ha="center", va="center_baseline", fontsize=7.5, color=PAPER, zorder=4)
            y += _LANE
        y += _GAP
    axes.set_yticks(ticks, [threads_of(count) for count in counts])
    axes.set_ylim(y, 0)
    axes.set_xlim(0, top)
    axes.set_xlabel("milliseconds for one inference")
    axes.xaxis.set_major_formatter(lambda value, _: si(value))
    axes.grid(axis="x")
    return figure


def _range(axes: Axes, place: float, estimate: Latency) -> None:
    low, high, middle = estimate.low_ms, estimate.high_ms, place + _BAR / 2
    for colour, alpha in ((PAPER, 1.0), (ACCENT, PALE)):  # the grid does not shine through
        axes.barh(middle, high - low, left=low, height=_BAR * 0.62, color=colour, alpha=alpha)
    for end in (low, high):
        axes.plot([end, end], [place + 0.02, place + _BAR - 0.02], color=ACCENT, lw=2.4, solid_capstyle="round")
    axes.annotate(
        f"{between(low, high)} ms",
        (high, middle),
        (9, 0),
        textcoords="offset points",
        va="center_baseline",
        fontsize=10,
        color=INK,
    )


def _lanes(marks: Sequence[tuple[float, int]], near: float) -> list[list[tuple[float, int]]]:
    """Marks in as few lines as keep them apart."""
    lanes: list[list[tuple[float, int]]] = []
    for mark in sorted(marks):
        lane = next((lane for lane in lanes if mark[0] - lane[-1][0] >= near), None)
        if lane is None:
            lanes.append([mark])
        else:
            lane.append(mark)
    return lanes


@drawn("limits", "What the time waits for")
def limits(estimates: Sequence[Latency], names: Sequence[str]) -> Figure | None:
    """What the time of each thread count waits for, as shares of a strip."""
    if not estimates:
        return None
    colours = palette(names)
    figure, axes = blank(0.65 + 0.34 * len(estimates))
    for row, estimate in enumerate(estimates):
        left = 0.0
        for name in names:
            part = 100 * estimate.limits.get(name, 0.0)
            axes.barh(row, part, left=left, height=0.66, color=colours[name], edgecolor=PAPER, linewidth=0.6)
            if part >= 6:
                middle = left + part / 2
                axes.text(middle, row, share(part / 100), ha="center", va="center_baseline", fontsize=8, color=PAPER)
            left += part
    rows_of(axes, [threads_of(estimate.threads) for estimate in estimates], "share of the estimated time")
    axes.set_xlim(0, 100)
    percent_ticks(axes)
    axes.spines["left"].set_visible(False)
    return figure
