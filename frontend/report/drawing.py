"""What all plots share: style, axes, bars and columns, and the SVG that a page embeds.

Text stays text; names are drawn verbatim (no mathtext) and escaped by the SVG writer. A range is drawn as a bar, solid up to
its lower end and pale up to its upper end.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import matplotlib
from edgewright.frontend.report.formats import short, si
from edgewright.frontend.report.palette import ACCENT, CSS, INK, LINE, MUTED, PAPER
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

P = ParamSpec("P")
PALE = 0.38
WIDTH = 8.6  # inches; the page scales it
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}


def drawn(name: str, title: str) -> Callable[[Callable[P, Figure | None]], Callable[P, str | None]]:
    """Make a function that draws a figure (None: nothing to draw) return its SVG, labelled with `title`."""

    def wrapped(draw: Callable[P, Figure | None]) -> Callable[P, str | None]:
        @functools.wraps(draw)
        def svg(*args: P.args, **kwargs: P.kwargs) -> str | None:
            with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
                figure = draw(*args, **kwargs)
                return None if figure is None else _svg(figure, title)

        return svg

    return wrapped


def _svg(figure: Figure, title: str) -> str:
    """The drawing as one element: no XML prologue, deterministic, ids that nothing refers to removed."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for colour, variable in CSS.items():
        text = text.replace(colour, variable)
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m.group() if m.group(1) in used else "", text)
    text = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()


def blank(height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of the page's width, `height` inches high."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(which="both", length=0)
    return figure, axes


def label(axes: Axes, x: float, y: float, text: str, colour: str = INK) -> None:
    """Write a text to the right of a point."""
    axes.annotate(text, (x, y), (5, 0), textcoords="offset points", va="center_baseline", fontsize=8, color=colour)


def percent_ticks(axes: Axes) -> None:
    """Mark quarters of a horizontal axis from 0 to 100."""
    axes.set_xticks([0, 25, 50, 75, 100], ["0", "25 %", "50 %", "75 %", "100 %"])


def rows_of(axes: Axes, names: Sequence[str], xlabel: str) -> None:
    """Set up an axis whose rows are named, the first on top."""
    axes.set_yticks(range(len(names)), [short(name) for name in names])
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.set_xlabel(xlabel)
    axes.grid(axis="x")


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar or column up to `value`, or a range from `low` to it; text: written beside it."""

    name: str
    value: float
    text: str = ""
    colour: str = ACCENT
    low: float | None = None


def bars(data: Sequence[Bar], xlabel: str, *, colour: str = MUTED) -> Figure:
    """Draw named horizontal bars, the first on top, each with its text."""
    figure, axes = blank(0.7 + 0.27 * len(data))
    _draw(axes.barh, "height", dict(enumerate(data)), 0.66)
    rows_of(axes, [bar.name for bar in data], xlabel)
    longest = max(*(bar.value for bar in data), 1e-12)
    axes.set_xlim(min(0.0, *(bar.value for bar in data)), longest * (1.04 + 0.011 * max(len(bar.text) for bar in data)))
    axes.xaxis.set_major_formatter(lambda value, _: si(value))
    for place, bar in enumerate(data):
        label(axes, bar.value, place, bar.text, colour)
    return figure


def columns(data: Mapping[int, Bar], count: int, xlabel: str, ylabel: str, named: Collection[int]) -> Figure:
    """Draw columns by their place among `count`; those at the places `named` get their name and text."""
    figure, axes = blank(3.1)
    _draw(axes.bar, "width", data, 0.84)
    values = [bar.value for bar in data.values()]
    top = max(*values, 1e-9)
    axes.set_xlim(-0.8, count - 0.2)
    axes.set_ylim(min(0.0, *values), top * 1.36)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_formatter(lambda value, _: si(value))
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    axes.grid(axis="y")
    lefts = sum(place < count / 2 for place in named)
    for rank, place in enumerate(sorted(named)):
        left = place < count / 2
        height = top * (1.12 + 0.09 * (rank if left else lefts + len(named) - 1 - rank))
        axes.plot([place, place], [data[place].value, height], color=MUTED, lw=0.7, zorder=3 - 0.1 * rank)
        axes.annotate(
            f"{short(data[place].name)}  {data[place].text}",
            (place, height),
            (3 if left else -3, 0),
            textcoords="offset points",
            fontsize=8,
            ha="left" if left else "right",
            va="center",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
        )
    return figure


def _draw(method: Callable[..., Any], thickness: str, data: Mapping[int, Bar], size: float) -> None:
    tints = [bar.colour for bar in data.values()]
    ranged = any(bar.low is not None for bar in data.values())
    method(list(data), [bar.value for bar in data.values()], color=tints, alpha=PALE if ranged else 1.0, **{thickness: size})
    if ranged:
        method(list(data), [bar.low or 0.0 for bar in data.values()], color=tints, **{thickness: size})


def largest(data: Mapping[int, Bar], count: int = 3) -> list[int]:
    """Return the places of the longest columns."""
    return sorted(data, key=lambda place: (-data[place].value, place))[:count]


def groups(
    names: Sequence[str], series: Mapping[str, Sequence[tuple[float, str]]], tints: Sequence[str], xlabel: str
) -> Figure:
    """Draw for each name one horizontal bar of every series: (percent, text), in the colours `tints`."""
    count = len(series)
    figure, axes = blank(0.9 + len(names) * (0.16 + 0.2 * count))
    height = 0.8 / count
    for step, ((title, cells), tint) in enumerate(zip(series.items(), tints, strict=True)):
        places = [row - 0.4 + (step + 0.5) * height for row in range(len(names))]
        axes.barh(places, [value for value, _ in cells], height=height * 0.9, color=tint, label=title)
        for place, (value, text) in zip(places, cells, strict=True):
            label(axes, value, place, text)
    rows_of(axes, names, xlabel)
    axes.set_xlim(0, 1.32 * max(100.0, *(value for cells in series.values() for value, _ in cells)))
    percent_ticks(axes)
    axes.spines["left"].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=min(count, 3), loc="lower left", bbox_to_anchor=(0, 1.0), handlelength=1.2)
    return figure
