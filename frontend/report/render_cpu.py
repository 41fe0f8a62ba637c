"""Where the time of a CPU build goes, for the terminal: estimates, for nothing was timed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgewright.frontend.report import report_cpu
from edgewright.frontend.report.render import BAR, drawable
from edgewright.frontend.report.report_words import about, between, share, threads_of
from edgewright.passes.names import plain
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

KINDS = 6  # so many kinds of steps are named


def kinds(console: Console, data: Mapping[str, Any]) -> None:
    """Where the time goes: the kinds of steps that take most of it by the estimate for one thread."""
    rows = [row for row in report_cpu.by_kind(data) if row["share"] is not None]
    if not rows:
        return
    full, empty = ("█", "░") if console.encoding.lower().startswith("utf") else ("#", "-")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    for justify in ("left", "right", "right", "right"):
        grid.add_column(no_wrap=True, justify=justify)
    for row in rows[:KINDS]:
        filled = min(BAR, round(BAR * row["share"]))
        bar = Text.assemble((full * filled, "cyan"), (empty * (BAR - filled), "dim"))
        times = drawable(console, f"{between(row['low_ms'], row['high_ms'])} ms")
        macs = f"{row['macs']:,} MACs" if row["macs"] else ""
        grid.add_row(plain(row["title"]), bar, share(row["share"]), times, Text(macs, "dim"))
    console.print(Padding(grid, (0, 2), expand=False))
    left = len(rows) - KINDS
    also = f"; {left} other kind{'s'[: left != 1]} {share(sum(row['share'] for row in rows[KINDS:]))}" if left > 0 else ""
    console.print(Padding(Text(f"estimate for 1 thread{also}", "dim"), (0, 2, 1, 2), expand=False))


def published(console: Console, data: Mapping[str, Any]) -> None:
    """The published measurement of the model nearest in size, for the page has the others."""
    for row in data["published"][:1]:
        threads = threads_of(row["threads"])
        text = (
            f"published, not ours: {row['model']} ({about(row['macs_ratio'])} times the products) {row['ms']:,g} ms with "
            f"{row['runtime']}, {row['precision']}, {threads}; {row['differs']}"
        )
        console.print(Padding(Text(plain(text), "dim"), (0, 2, 1, 2), expand=False))
