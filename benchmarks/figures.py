"""A figure of a benchmark as data, and tables of them for terminal and documentation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. asked: what it is to be, in words ("at most 1.0"); reached: whether it is (None: nothing is
    asked); source: "measured now", or where a result of training comes from ("trained earlier, log NAME"); headline: it
    stands in the summary too, as everything does that is asked for."""

    name: str
    value: str
    asked: str = ""
    reached: bool | None = None
    source: str = "measured now"
    headline: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Figures that belong together, and lines of explanation."""

    title: str
    figures: tuple[Figure, ...]
    lines: tuple[str, ...] = ()


def at_most(name: str, value: float, limit: float, form: str = "{:.2f}", source: str = "measured now") -> Figure:
    """A figure that should not exceed a limit."""
    return Figure(name, form.format(value), f"at most {form.format(limit)}", value <= limit, source)


def at_least(name: str, value: float, limit: float, form: str = "{:.2f}", source: str = "measured now") -> Figure:
    """A figure that should reach a limit."""
    return Figure(name, form.format(value), f"at least {form.format(limit)}", value >= limit, source)


def summary(sections: Iterable[Section]) -> str:
    """What was asked, and the headlines, as one table."""
    rows = ["| | measured | asked | |", "|---|---:|---:|---|"]
    for section in sections:
        shown = [figure for figure in section.figures if figure.headline or figure.reached is not None]
        if shown:
            rows.append(f"| **{section.title}** | | | |")
        rows += [f"| {_cells(figure)} |" for figure in shown]
    return "\n".join(rows) + "\n"


def _cells(figure: Figure) -> str:
    verdict = "" if figure.reached is None else "yes" if figure.reached else "no"
    return f"{figure.name} | {figure.value} | {figure.asked} | {verdict}"


def markdown(sections: Iterable[Section]) -> str:
    """All sections as tables."""
    blocks = []
    for section in sections:
        rows = [f"**{section.title}**", "", "| | measured | asked | | from |", "|---|---:|---:|---|---|"]
        rows += [f"| {_cells(figure)} | {figure.source} |" for figure in section.figures]
        blocks.append("\n".join([*rows, *(["", *section.lines] if section.lines else [])]))
    return "\n\n".join(blocks) + "\n"
