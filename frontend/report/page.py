"""A page as a value, and its HTML: one self-contained file without scripts or external resources.

All text is escaped; in texts of ours `...` becomes code. Figures are SVG that `drawing` made.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from edgewright.frontend.report.formats import NOT_MEASURED
from edgewright.passes.names import plain
from edgewright.passes.results import to_data
from markupsafe import Markup, escape

_INTEGERS = re.compile(r"\[\n\s+((?:-?\d+,\s+)*-?\d+)\s+\]")
Mood: TypeAlias = Literal["", "good", "bad", "warn", "none"]


@dataclass(frozen=True, slots=True)
class Banner:
    """A message to read before everything else."""

    title: str
    text: str
    mood: Mood = "warn"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the headline."""

    label: str
    value: str
    note: str = ""
    mood: Mood = ""


def tile(label: str, value: str | None, note: str = "", mood: Mood = "") -> Tile:
    """Return a tile; a value of None was not measured."""
    return Tile(label, NOT_MEASURED, note, "none") if value is None else Tile(label, value, note, mood)


@dataclass(frozen=True, slots=True)
class Marked:
    """A cell with more than text: a mood, a coloured swatch or a numbered mark before the text, a small line below it."""

    text: str
    mood: Mood = ""
    swatch: str = ""
    mark: str = ""
    below: str = ""


Cell: TypeAlias = str | Marked | None
"""None: not measured."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under column titles. text: indices of left-aligned columns besides the first; total: the last row;
    fold: the line that unfolds the table; wraps: cells may have several lines."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Cell, ...]]
    text: tuple[int, ...] = ()
    total: tuple[Cell, ...] = ()
    fold: str = ""
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """An SVG (None: nothing to draw), what to see in it, and its legend as (name, CSS colour)."""

    svg: str | None
    caption: str
    legend: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading inside a section."""

    text: str


@dataclass(frozen=True, slots=True)
class FactTable:
    """Terms with their values; None: not measured."""

    rows: Sequence[tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Steps:
    """Commands (or files) and what they are for."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


Block: TypeAlias = str | Table | Plot | Heading | FactTable | Steps | Bullets
"""A string is a paragraph."""


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a page. tag: where its figures come from, in a few words."""

    title: str
    blocks: Sequence[Block]
    tag: str = ""


def section(name: str, *blocks: Block, tag: str = "", **values: object) -> Section:
    """Return a section with its title, tag and text from texts.toml, `values` filled in."""
    texts = _texts()[name]
    paragraph = [words(f"{name}.text", **values)] if "text" in texts else []
    return Section(words(f"{name}.title"), (*paragraph, *blocks), tag or str(texts.get("tag", "")))


def words(name: str, **values: object) -> str:
    """Return the text "section.key" of texts.toml, `values` filled in."""
    table, key = name.split(".")
    return str(_texts()[table][key]).strip().format(**values)


def sentences(*names: str) -> tuple[str, ...]:
    """Return the lists of sentences with these names in texts.toml, one after the other."""
    return tuple(sentence.strip() for name in names for sentence in _texts()["limits"][name])


@functools.cache
def _texts() -> dict[str, dict[str, str | list[str]]]:
    return tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Page:
    """A page. what: said after the title in small letters."""

    title: str
    what: str
    subtitle: str
    banners: Sequence[Banner]
    tiles: Sequence[Tile]
    sections: Sequence[Section]
    footer: str


def files_of(stem: str, page: str, report: object) -> dict[str, bytes]:
    """Return STEM.html and STEM.json by name. ValueError for numbers that are not finite."""
    return {f"{stem}.html": page.encode(), f"{stem}.json": json_text(report).encode()}


def json_text(report: object) -> str:
    """Return the JSON of a report's values, a list of integers on one line. ValueError for numbers that are not finite."""
    text = json.dumps(to_data(report), indent=2, allow_nan=False) + "\n"
    return _INTEGERS.sub(lambda found: f"[{' '.join(found.group(1).split())}]", text)


def html(page: Page) -> str:
    """Return the page's HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        lstrip_blocks=True,
        trim_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else plain(value),
    )
    environment.filters["coded"] = _coded
    return environment.get_template("page.html.j2").render(page=page)


def _coded(text: str) -> Markup:
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(plain(text)))))  # escaped before
