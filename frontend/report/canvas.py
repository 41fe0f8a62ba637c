"""Drawings of many small shapes as SVG: shapes with tooltips, a few bytes each, in colours that are CSS variables of the page.

Text is escaped, and names are drawn verbatim. Matplotlib draws everything else (`drawing.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from edgewright.frontend.report.formats import si
from edgewright.passes.names import plain
from markupsafe import escape

WIDTH = 960
"""Of a drawing in its own units; the page scales it."""
SMALL, NORMAL = 12, 13
"""Heights of letters."""
LETTER = 0.6
"""Width of a letter, as a share of its height, to see what fits."""


@dataclass(slots=True)
class Canvas:
    """A drawing of ``WIDTH`` by ``height`` units, from the upper left corner. title: for those who cannot see it."""

    height: float
    title: str
    parts: list[str] = field(default_factory=list)

    def rectangle(self, x: float, y: float, width: float, height: float, colour: str, tip: str = "", edge: str = "") -> None:
        """Draw a rectangle; `tip` shows while the mouse is over it."""
        outline = f";stroke:{edge};stroke-width:.6" if edge else ""
        shape = f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" style="fill:{colour}{outline}"'
        self.parts.append(f"{shape}><title>{_safe(tip)}</title></rect>" if tip else f"{shape}/>")

    def line(self, x: float, y: float, x2: float, y2: float, colour: str = "var(--line)", width: float = 0.8) -> None:
        """Draw a line."""
        path = f"M{_n(x)} {_n(y)}L{_n(x2)} {_n(y2)}"
        self.parts.append(f'<path d="{path}" style="stroke:{colour};stroke-width:{_n(width)};fill:none"/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "start",
        colour: str = "var(--ink)",
        size: int = NORMAL,
        bold: bool = False,
    ) -> None:
        """Write a line of text; y is its middle."""
        style = f"fill:{colour};font-size:{size}px;text-anchor:{anchor}{';font-weight:700' if bold else ''}"
        self.parts.append(f'<text x="{_n(x)}" y="{_n(y + 0.36 * size)}" style="{style}">{_safe(text)}</text>')

    @contextmanager
    def tip(self, text: str) -> Iterator[None]:
        """Show a text while the mouse is over what is drawn meanwhile."""
        self.parts.append(f"<g><title>{_safe(text)}</title>")
        yield
        self.parts.append("</g>")

    def steps(self, x: float, y: float, width: float, height: float, levels: Sequence[int], top: int, colour: str) -> None:
        """Draw columns without gaps between them, up to ``levels`` of ``top``, over the rectangle's lower side."""
        path, before = [f"M0 {top}"], 0
        for place, level in enumerate(levels):
            if level != before:
                path.append(f"H{place}V{top - level}")
                before = level
        path.append(f"H{len(levels)}V{top}Z")
        scale = f"translate({_n(x)} {_n(y)}) scale({width / max(1, len(levels)):.6g} {height / top:.6g})"
        self.parts.append(f'<path transform="{scale}" d="{"".join(path)}" style="fill:{colour}"/>')

    def axis(self, x: float, y: float, width: float, first: float, last: float, label: str, top: float | None = None) -> None:
        """Draw a horizontal axis from ``first`` to ``last`` with round numbers below it, and lines up to `top`."""
        for value in round_numbers(first, last):
            at = x + (value - first) / max(last - first, 1) * width
            if top is not None:
                self.line(at, top, at, y)
            self.text(at, y + 12, si(value), "middle", "var(--muted)", SMALL)
        self.text(x + width / 2, y + 29, label, "middle", "var(--muted)", SMALL)

    def svg(self) -> str:
        """Return the drawing as one element."""
        head = f'<svg role="img" aria-label="{escape(self.title)}" viewBox="0 0 {WIDTH} {_n(self.height)}"'
        return f'{head} xmlns="http://www.w3.org/2000/svg">{"".join(self.parts)}</svg>'


def round_numbers(first: float, last: float, most: int = 9) -> list[int]:
    """Return multiples of 1, 2 or 5 times a power of ten from ``first`` to ``last``, at most ``most``."""
    span = max(last - first, 1)
    step = next(size for power in range(16) for size in (10**power, 2 * 10**power, 5 * 10**power) if size * (most - 1) >= span)
    begin = -int(-first // step) * step
    return list(range(begin, int(last) + 1, step))


def fits(text: str, width: float, size: int = SMALL) -> bool:
    """Return whether a text is about as wide as that, or narrower."""
    return LETTER * size * len(text) <= width


def _safe(text: str) -> str:
    return str(escape(plain(text)))


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
