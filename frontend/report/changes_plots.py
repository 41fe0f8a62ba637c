"""Plots of what passes changed: before and after, heat maps, and bars."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report.changes import MEASURES
from edgewright.frontend.report.drawing import Bar, bars, blank, drawn, groups
from edgewright.frontend.report.formats import short
from edgewright.frontend.report.palette import ACCENT, INK, KINDS, LINE, PAPER
from edgewright.passes.results import Cell, Change, Table
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

_LABELLED_CELLS = 400  # a heat map of more has no numbers in its cells
_MOST_ROWS = 48
_MOST_BARS = 40


@drawn("before-after", "The model before and after each pass")
def before_after(changes: Sequence[Change]) -> Figure | None:
    """Every figure before the first pass and after each, as shares of the first; None without changes."""
    if not changes:
        return None
    models = [changes[0].before, *(change.after for change in changes)]
    known = [m for m in MEASURES if m.value(models[0]) and all(m.value(model) is not None for model in models)]
    if not known:
        return None
    labels = ["before", *(f"after {change.name}" for change in changes)]
    series: dict[str, list[tuple[float, str]]] = {}
    for step, (name, model) in enumerate(zip(labels, models, strict=True)):
        cells = []
        for measure in known:
            first, value = measure.value(models[0]) or 1.0, measure.value(model) or 0.0
            change = f"  {measure.difference(first, value)[0]}" if step else ""
            cells.append((100 * value / first, measure.shown(model) + change.rstrip()))
        series[name if name not in series else f"{name} ({step})"] = cells
    tints = [LINE, *(KINDS[i % len(KINDS)] for i in range(len(changes)))]
    return groups([measure.label for measure in known], series, tints, "share of the model before all passes")


def of_table(table: Table) -> str | None:
    """The plot that a table of a pass asks for."""
    return _heat_map(table) if table.draw == "map" else _bars(table) if table.draw == "bars" else None


@drawn("map", "Heat map")
def _heat_map(table: Table) -> Figure | None:
    """Numbers as shades of one colour, from 0 to the largest; empty where nothing was measured."""
    names = [str(row[0]) for row in table.rows][:_MOST_ROWS]
    values = [[_number(value) for value in row[1:]] for row in table.rows][:_MOST_ROWS]
    known = [value for row in values for value in row if value is not None]
    if not known:
        return None
    top, columns = max(*known, 1e-12), len(table.columns) - 1
    share = top <= 1
    figure, axes = blank(0.75 + 0.27 * len(values))
    numbered = len(values) * columns <= _LABELLED_CELLS and columns <= 24
    for y, row in enumerate(values):
        for x, value in enumerate(row):
            if value is None:
                continue
            strength = max(0.0, value / top)
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=LINE, alpha=0.35, edgecolor="none"))
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor=ACCENT, alpha=strength**0.5, edgecolor=PAPER, linewidth=1))
            if numbered:
                text = f"{100 * value:.0f}" if share else f"{value:.3g}"
                ink = PAPER if strength > 0.4 else INK
                axes.text(x + 0.5, y + 0.52, text, ha="center", va="center", fontsize=7.5, color=ink)
    axes.set_xlim(0, columns)
    axes.set_ylim(len(values), 0)
    axes.set_xticks([x + 0.5 for x in range(columns)], [short(str(name)) for name in table.columns[1:]], fontsize=8)
    axes.set_yticks([y + 0.5 for y in range(len(values))], [short(name) for name in names])
    axes.set_ylabel(short(table.columns[0]))
    axes.xaxis.tick_top()
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    if share and numbered:
        axes.set_xlabel("cells in percent")
    return figure


@drawn("bars", "Bars")
def _bars(table: Table) -> Figure | None:
    """The second column as horizontal bars."""
    rows = [Bar(str(row[0]), value, f"{value:.3g}") for row in table.rows if (value := _number(row[1])) is not None]
    return bars(rows[:_MOST_BARS], short(table.columns[1])) if rows else None


def _number(value: Cell) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
