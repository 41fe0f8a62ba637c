"""The profile's figures: static SVG whose colours are CSS variables of its page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.figure import Figure

# Placeholder colours, each replaced by a CSS variable of the page after drawing.
_NAMES = ("ink", "muted", "line", "accent", *(f"k{i}" for i in range(8)))
_COLOUR = {name: f"#0103{i:02x}" for i, name in enumerate(_NAMES)}
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": _COLOUR["ink"],
    "axes.edgecolor": _COLOUR["line"],
    "axes.labelcolor": _COLOUR["muted"],
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _COLOUR["line"],
    "ytick.color": _COLOUR["line"],
    "xtick.labelcolor": _COLOUR["muted"],
    "ytick.labelcolor": _COLOUR["muted"],
    "grid.color": _COLOUR["line"],
    "grid.linewidth": 0.6,
}
_WIDTH = 8.6  # inches; the page scales it
_KINDS = 8


def kind_variables(kinds: Iterable[str]) -> dict[str, str]:
    """Return a CSS colour for each kind, in order; the same grey from the eighth on."""
    return {kind: f"var(--k{min(i, _KINDS - 1)})" for i, kind in enumerate(kinds)}


def steps(operations: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> str | None:
    """Draw the time of each step in program order, in microseconds, coloured by kind; None when no step was timed."""
    values = [op["ms"][0]["median"] * 1e3 for op in operations if op["ms"]]
    if not values or max(values) <= 0:
        return None
    order = {kind: f"k{min(i, _KINDS - 1)}" for i, kind in enumerate(kinds)}
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 2.7), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(values)), values, width=0.84, color=[_COLOUR[order[op["kind"]]] for op in operations])
        axes.set_xlim(-0.8, len(values) - 0.2)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
        axes.set_xlabel("step, in program order")
        axes.set_ylabel("microseconds")
        axes.grid(axis="y")
        axes.tick_params(length=0)
        return _svg(figure, "steps", "Time of each step")


def threads(runs: Sequence[Mapping[str, Any]]) -> str | None:
    """Draw median times by number of threads with bars from minimum to 95th percentile; None for fewer than two numbers."""
    if len(runs) < 2:
        return None
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 0.75 + 0.36 * len(runs)), layout="constrained")
        axes = figure.add_subplot()
        medians = [run["median_ms"] for run in runs]
        rows = range(len(runs))
        axes.barh(rows, medians, height=0.62, color=_COLOUR["accent"])
        low, high = [run["min_ms"] for run in runs], [run["p95_ms"] for run in runs]
        errors = [[m - v for m, v in zip(medians, low, strict=True)], [v - m for m, v in zip(medians, high, strict=True)]]
        axes.errorbar(medians, rows, xerr=errors, fmt="none", ecolor=_COLOUR["ink"], elinewidth=1, capsize=3)
        axes.set_yticks(rows, [f"{run['threads']} thread{'s' if run['threads'] > 1 else ''}" for run in runs])
        axes.set_ylim(len(runs) - 0.5, -0.5)
        axes.set_xlim(0, max(high) * 1.22)
        axes.set_xlabel("milliseconds for one inference: median, with minimum and 95th percentile")
        axes.grid(axis="x")
        axes.tick_params(length=0)
        for row, run in enumerate(runs):
            note = f"{run['median_ms']:.3g} ms" + (f", {medians[0] / run['median_ms']:.2f} x" if row else "")
            axes.annotate(
                note, (max(run["p95_ms"], run["median_ms"]), row), (7, 0), textcoords="offset points", va="center", fontsize=8.5
            )
        return _svg(figure, "threads", "Time by number of threads")


def _svg(figure: Figure, name: str, title: str) -> str:
    """Return the drawing as one element: no XML prologue, deterministic, unused ids removed."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    for variable, colour in _COLOUR.items():
        text = text.replace(colour, f"var(--{variable})")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m.group() if m.group(1) in used else "", text)
    text = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()
