"""The figures of a CPU report, in the manner of report_plots: one SVG each, colours are the page's CSS variables.

A range is a solid bar up to its lower end and a pale one up to its upper end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
from edgewright.frontend.report.report_plots import (
    ACCENT,
    INK,
    KINDS,
    LINE,
    MUTED,
    PAPER,
    STYLE,
    WARN,
    blank,
    kind_colours,
    name_columns,
    short,
    to_svg,
)
from edgewright.frontend.report.report_words import COLOURED, about, between, share, threads_of
from matplotlib.axes import Axes

PALE = 0.38
_BAR, _LANE, _GAP = 0.30, 0.26, 0.16  # inches: a range, a line of marks, the space after both
_NEAR = 0.035  # of the axis: marks closer than this get lines of their own


def latency(estimates: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]]) -> str | None:
    """The range of each thread count over milliseconds, and numbered marks for what others measured."""
    if not estimates:
        return None
    ranges = {one["threads"]: (float(one["low_ms"]), float(one["high_ms"])) for one in estimates}
    numbered = list(enumerate(published, 1))
    top = 1.22 * max(*(high for _, high in ranges.values()), *(float(row["ms"]) for row in published), 1e-6)
    counts = sorted({*ranges, *(row["threads"] for row in published)}, key=lambda count: (count is None, count or 0))
    with matplotlib.rc_context(STYLE):
        y, ticks, bars, marks = 0.1, [], [], []
        for count in counts:
            lanes = _lanes([(float(row["ms"]), number) for number, row in numbered if row["threads"] == count], top * _NEAR)
            ticks.append((y + (_BAR if count in ranges else _LANE) / 2, threads_of(count)))
            if count in ranges:
                bars.append((y, *ranges[count]))
                y += _BAR
            for lane in lanes:
                marks += [(ms, y + _LANE / 2, number) for ms, number in lane]
                y += _LANE
            y += _GAP
        figure, axes = blank(y + 0.55)
        for place, low, high in bars:
            _range(axes, place, low, high)
        for ms, place, number in marks:
            axes.plot([ms], [place], marker="o", markersize=11.5, color=WARN, markeredgecolor=PAPER, zorder=3)
            axes.text(ms, place, str(number), ha="center", va="center_baseline", fontsize=7.5, color=PAPER, zorder=4)
        axes.set_yticks([place for place, _ in ticks], [text for _, text in ticks])
        axes.set_ylim(y, 0)
        axes.set_xlim(0, top)
        axes.set_xlabel("milliseconds for one input")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.grid(axis="x")
        axes.tick_params(length=0)
        return to_svg(figure, "latency", "Estimated latency for each number of threads")


def _range(axes: Axes, place: float, low: float, high: float) -> None:
    middle = place + _BAR / 2
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


def _lanes(marks: list[tuple[float, int]], near: float) -> list[list[tuple[float, int]]]:
    """Marks in as few lines as keep them apart."""
    lanes: list[list[tuple[float, int]]] = []
    for mark in sorted(marks):
        lane = next((lane for lane in lanes if mark[0] - lane[-1][0] >= near), None)
        if lane is None:
            lanes.append([mark])
        else:
            lane.append(mark)
    return lanes


def limits(estimates: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str | None:
    """What the time of each thread count waits for, as shares of a strip."""
    if not estimates:
        return None
    colours = kind_colours(names)
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.45 + 0.34 * len(estimates))
        for row, one in enumerate(estimates):
            left = 0.0
            for name in names:
                part = 100 * float(one["limits"].get(name, 0.0))
                axes.barh(row, part, left=left, height=0.66, color=colours[name], edgecolor=PAPER, linewidth=0.6)
                if part >= 6:
                    middle = left + part / 2
                    axes.text(middle, row, share(part / 100), ha="center", va="center_baseline", fontsize=8, color=PAPER)
                left += part
        axes.set_yticks(range(len(estimates)), [threads_of(one["threads"]) for one in estimates])
        axes.set_ylim(len(estimates) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=0)
        return to_svg(figure, "limits", "What the time waits for")


def ranked(kinds_in_order: Sequence[str]) -> dict[str, str]:
    """A colour for each of the first kinds, and the palette's last one for all others."""
    return {kind: KINDS[min(place, COLOURED)] for place, kind in enumerate(kinds_in_order)}


def kinds(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The range of each kind of step (a row of `report_cpu.by_kind`), the longest first."""
    timed = [row for row in rows if row["share"] is not None]
    if not timed:
        return None
    colours = ranked([row["kind"] for row in rows])
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.6 + 0.3 * len(timed))
        tints = [colours[row["kind"]] for row in timed]
        places = range(len(timed))
        axes.barh(places, [row["high_ms"] for row in timed], height=0.62, color=tints, alpha=PALE)
        axes.barh(places, [row["low_ms"] for row in timed], height=0.62, color=tints)
        axes.set_yticks(places, [short(row["title"]) for row in timed])
        axes.set_ylim(len(timed) - 0.45, -0.55)
        axes.set_xlim(0, max(*(row["high_ms"] for row in timed), 1e-9) * 1.1)
        axes.set_xlabel("milliseconds with one thread; next to each bar: its share of the time")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.grid(axis="x")
        axes.tick_params(length=0)
        for place, row in enumerate(timed):
            axes.annotate(
                share(row["share"]),
                (row["high_ms"], place),
                (5, 0),
                textcoords="offset points",
                va="center_baseline",
                fontsize=8,
                color=MUTED,
            )
        return to_svg(figure, "kinds", "Estimated time of each kind of step")


def steps(operations: Sequence[Mapping[str, Any]], order: Sequence[str]) -> str | None:
    """The range of each step in program order, the three longest named, coloured by kind as `kinds` does (`order`: its
    kinds); None without an estimate or with a single step."""
    timed = [op for op in operations if op["low_us"] is not None and op["high_us"] is not None]
    if len(timed) < 2:
        return None
    colours = ranked(order)
    tints = [colours[op["kind"]] for op in timed]
    top = max(*(float(op["high_us"]) for op in timed), 1e-6)
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(3.0)
        places = range(len(timed))
        axes.bar(places, [op["high_us"] for op in timed], width=0.84, color=tints, alpha=PALE)
        axes.bar(places, [op["low_us"] for op in timed], width=0.84, color=tints)
        axes.set_xlim(-0.8, len(timed) - 0.2)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
        axes.set_ylim(0, top * 1.36)
        axes.set_xlabel("step, in program order")
        axes.set_ylabel("microseconds, 1 thread")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        axes.grid(axis="y", color=LINE)
        axes.tick_params(length=0)
        longest = sorted(places, key=lambda i: (-timed[i]["high_us"], i))[:3]
        named = [(i, timed[i]["high_us"], f"{short(timed[i]['name'])}  {_us(timed[i])}") for i in sorted(longest)]
        name_columns(axes, named, len(timed), top)
        return to_svg(figure, "steps", "Estimated time of each step")


def _us(operation: Mapping[str, Any]) -> str:
    return f"{about(operation['low_us'])} to {about(operation['high_us'])} µs"
