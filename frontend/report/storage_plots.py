"""Drawing of what is stored where, and when."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report.canvas import LETTER, SMALL, WIDTH, Canvas, fits
from edgewright.frontend.report.formats import bytes_of, short
from edgewright.frontend.report.palette import PLACES
from edgewright.passes.results import MemoryRange, MemoryUse

LEFT, RIGHT = 76, 6
PANEL, TITLE = 230, 24
LEAST = 1.6
"""Height of the smallest value."""
LINES = 5


def over_time(entries: Sequence[MemoryRange], uses: Sequence[MemoryUse], cycles: int) -> str | None:
    """Draw a rectangle for each stored value: its addresses, lowest at the bottom, from its first to its last cycle; a panel
    for each memory. None when nothing is known of their time."""
    timed = [entry for entry in entries if entry.first_cycle is not None and entry.last_cycle is not None]
    panels = [
        (use, inside)
        for use in uses
        if (inside := [entry for entry in timed if (entry.place == "on chip") == (use.name == "on chip")])
    ]
    if not panels or not cycles:
        return None
    canvas = Canvas(len(panels) * (PANEL + TITLE + 14) + 34, "What is stored where, over time")
    y = 0.0
    for use, inside in panels:
        percent = 100 * use.bytes / use.capacity_bytes
        used = f"{bytes_of(use.bytes)} of {bytes_of(use.capacity_bytes)} ({percent:.{0 if percent >= 1 else 2}f} %)"
        canvas.text(LEFT, y + TITLE / 2, f"{use.name}: {used}, in use at once at most {bytes_of(use.live_bytes)}", size=SMALL)
        _panel(canvas, y + TITLE, use, inside, cycles)
        y += PANEL + TITLE + 14
    canvas.axis(LEFT, y - 8, WIDTH - LEFT - RIGHT, 0, cycles, "cycle")
    return canvas.svg()


def place_of(entry: MemoryRange) -> str:
    """Return the memory of a value as `PLACES` calls it."""
    return "host" if entry.region in ("input", "output") else entry.place or "external"


def _panel(canvas: Canvas, top: float, use: MemoryUse, inside: Sequence[MemoryRange], cycles: int) -> None:
    width, start = WIDTH - LEFT - RIGHT, min(entry.address for entry in inside)
    span = max(use.bytes, 1)
    start = min(start, max(entry.address + entry.bytes for entry in inside) - span)
    canvas.rectangle(LEFT, top, width, PANEL, "var(--lane)")
    step = 1 << max(0, (span // LINES).bit_length())
    for offset in range(0, span + 1, step):
        y = top + PANEL * (1 - offset / span)
        canvas.line(LEFT - 4, y, LEFT, y)
        canvas.text(LEFT - 8, y, bytes_of(offset), "end", "var(--muted)", SMALL)
    for entry in inside:
        first, last = entry.first_cycle or 0, entry.last_cycle or 0
        height = max(LEAST, PANEL * entry.bytes / span)
        y = min(top + PANEL * (1 - (entry.address - start + entry.bytes) / span), top + PANEL - height)
        at, wide = LEFT + width * first / cycles, max(1.0, width * (last + 1 - first) / cycles)
        tip = f"{entry.name} ({entry.region}, {entry.place}): {entry.bytes:,} bytes from {entry.address:#x}"
        tip += f", cycles {first:,} to {last:,}"
        canvas.rectangle(at, y, min(wide, LEFT + width - at), height, PLACES[place_of(entry)], tip, "var(--paper)")
        name = short(entry.name, max(14, int(wide / (LETTER * SMALL)) - 1))
        if height > SMALL + 2 and fits(name, wide - 6):
            canvas.text(at + wide / 2, y + height / 2, name, "middle", "var(--paper)", SMALL)
