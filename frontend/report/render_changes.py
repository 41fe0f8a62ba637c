"""What passes cost and saved, for the terminal: the figures of the page's section on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgewright.frontend.report import changes
from edgewright.frontend.report.optimised import subtitle
from edgewright.frontend.report.render import STYLES, drawable, last
from edgewright.passes.names import plain
from edgewright.passes.results import Report
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def show_changes(console: Console, report: Report) -> None:
    """Print for each pass what it did, its figures before and after, and how far both models agree."""
    done = report.changes
    if done and done[0].how:
        console.print(Text(f"  every pass {plain(done[0].how)}\n", "dim"))
    for change in done:
        console.print(Text.assemble((f"  {plain(changes.title(change))}", "bold"), (f"  {plain(changes.tag(change))}", "dim")))
        _rows(console, changes.rows(change.before, change.after))
        tables = (f"table '{table.name}' in the report" for table in change.tables)
        for text in (changes.compared(change), *changes.counts(change), *tables):
            console.print(Padding(Text(plain(drawable(console, text)), "dim"), (0, 4), expand=False))
        console.print()
    if len(done) > 1:
        console.print(Text("  All passes together", "bold"))
        _rows(console, changes.rows(done[0].before, done[-1].after))
        console.print()


def _rows(console: Console, rows: Sequence[changes.Row]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    for _ in range(3):
        grid.add_column(no_wrap=True, justify="right")
    grid.add_row("", *(Text(title, "dim") for title in ("before", "after", "change")))
    for row in rows:
        cells = (Text(plain(drawable(console, text))) for text in (row.label, row.before, row.after))
        grid.add_row(*cells, Text(row.change, STYLES[row.mood] if row.mood else ""))
    console.print(Padding(grid, (0, 4), expand=False))


def optimised(console: Console, report: Report, page: Path, model: Path, next_step: str) -> None:
    """Print what `optimise` wrote and what it cost."""
    for note in report.notes:
        console.print(Text.assemble(("Note. ", "bold yellow"), plain(note)), soft_wrap=True)
    console.print(Text.assemble((plain(report.model), "bold"), f": {plain(subtitle(report))}"))
    console.print()
    show_changes(console, report)
    if report.changes:
        where = "this machine" if report.target == "host" else plain(report.target)
        console.print(Text(f"  memory and latency: estimates for {where} in {report.precision}; nothing was timed\n", "dim"))
    last(console, page, next_step, model=model)
