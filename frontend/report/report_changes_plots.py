"""The figures of what passes changed: before and after, heat maps, and bars. Same conventions as `report_plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from edgewright.frontend.report.report_changes import MEASURES, difference, shown, value_of
from edgewright.frontend.report.report_plots import ACCENT, INK, KINDS, LINE, MUTED, PAPER, STYLE, blank, short, to_svg
from matplotlib.patches import Rectangle

_LABELLED_CELLS = 400  # a heat map of more has no numbers in its cells
_MOST_ROWS = 48
_MOST_BARS = 40


def before_after(changes: Sequence[Mapping[str, Any]]) -> str | None:
    """Every figure before the first pass and after each, as shares of the first; None without changes."""
    if not changes:
        return None
    snapshots = [changes[0]["before"], *(one["after"] for one in changes)]
    labels = ["before", *(f"after {one['name']}" for one in changes)]
    known = [one for one in MEASURES if all(value_of(snapshot, one.key) is not None for snapshot in snapshots)]
    known = [one for one in known if value_of(snapshots[0], one.key)]
    if not known:
        return None
    count = len(snapshots)
    tints = [LINE, *(KINDS[i % len(KINDS)] for i in range(count - 1))]
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.9 + len(known) * (0.16 + 0.2 * count))
        height = 0.8 / count
        longest = 100.0
        for place, one in enumerate(known):
            first = value_of(snapshots[0], one.key) or 1.0
            for step, snapshot in enumerate(snapshots):
                value = value_of(snapshot, one.key) or 0.0
                share, y = 100 * value / first, place - 0.4 + (step + 0.5) * height
                longest = max(longest, share)
                axes.barh(y, share, height=height * 0.9, color=tints[step], label=labels[step] if place == 0 else None)
                change = difference(one, first, value)[0] if step else ""
                text = shown(one, snapshot) + (f"  {change}" if change else "")
                axes.annotate(text, (share, y), (5, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
        axes.set_yticks(range(len(known)), [one.label for one in known])
        axes.set_ylim(len(known) - 0.45, -0.55)
        axes.set_xlim(0, longest * 1.32)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(length=0)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.legend(
            frameon=False,
            fontsize=8,
            ncols=min(count, 3),
            loc="lower left",
            bbox_to_anchor=(0, 1.0),
            handlelength=1.2,
        )
        return to_svg(figure, "before-after", "The model before and after each pass")


def heat_map(table: Mapping[str, Any]) -> str | None:
    """Numbers of a table as shades of one colour, from 0 to the largest; empty where nobody measured."""
    names = [str(row[0]) for row in table["rows"]][:_MOST_ROWS]
    values = [[_number(value) for value in row[1:]] for row in table["rows"]][:_MOST_ROWS]
    known = [value for row in values for value in row if value is not None]
    if not known:
        return None
    top, columns = max(*known, 1e-12), len(table["columns"]) - 1
    share = top <= 1
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.75 + 0.27 * len(values))
        numbered = len(values) * columns <= _LABELLED_CELLS and columns <= 24
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                if value is None:
                    continue
                strength = max(0.0, value / top)
                axes.add_patch(Rectangle((x, y), 1, 1, facecolor=LINE, alpha=0.35, edgecolor="none"))
                axes.add_patch(
                    Rectangle((x, y), 1, 1, facecolor=ACCENT, alpha=float(np.sqrt(strength)), edgecolor=PAPER, linewidth=1)
                )
                if numbered:
                    text = f"{100 * value:.0f}" if share else f"{value:.3g}"
                    ink = PAPER if strength > 0.4 else INK
                    axes.text(x + 0.5, y + 0.52, text, ha="center", va="center", fontsize=7.5, color=ink)
        axes.set_xlim(0, columns)
        axes.set_ylim(len(values), 0)
        axes.set_xticks([x + 0.5 for x in range(columns)], [short(str(name)) for name in table["columns"][1:]], fontsize=8)
        axes.set_yticks([y + 0.5 for y in range(len(values))], [short(name) for name in names])
        axes.tick_params(length=0)
        axes.xaxis.tick_top()
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)
        if share and numbered:
            axes.set_xlabel("cells in percent")
        return to_svg(figure, "map", "Heat map")


def bars(table: Mapping[str, Any]) -> str | None:
    """The second column of a table as horizontal bars."""
    rows = [(str(row[0]), value) for row in table["rows"] if (value := _number(row[1])) is not None][:_MOST_BARS]
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.6 + 0.23 * len(rows))
        values = [value for _, value in rows]
        axes.barh(range(len(rows)), values, height=0.7, color=ACCENT)
        axes.set_yticks(range(len(rows)), [short(name) for name, _ in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(min(0.0, *values), max(*values, 1e-12) * 1.15)
        axes.set_xlabel(short(str(table["columns"][1])))
        axes.tick_params(length=0)
        for place, value in enumerate(values):
            where: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 8, "color": MUTED}
            axes.annotate(f"{value:.3g}", (value, place), (4, 0), **where)
        return to_svg(figure, "bars", "Bars")


def drawn(tables: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """A figure for each table that asks for one."""
    return [heat_map(one) if one["draw"] == "map" else bars(one) if one["draw"] == "bars" else None for one in tables]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
