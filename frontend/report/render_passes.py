"""What the passes did to a graph, as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from edgewright.passes.transform import Statistics
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text


def pass_table(console: Console, statistics: Iterable[Statistics]) -> None:
    """Print a row for each group and pass: nodes before and after, what it counted, and its time. Of a group's passes, those
    that changed something are shown, with the nodes that all their runs added or removed."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("pass")
    table.add_column("nodes", justify="right", style="dim")
    table.add_column("changes", style="dim")
    table.add_column("ms", justify="right", style="dim")
    for done in statistics:
        table.add_row(Text(done.name, "bold"), f"{done.nodes_before} to {done.nodes_after}", _events(done), _ms(done))
        for part in done.parts:
            _part(table, part, 1)
    console.print(Padding(table, (0, 2, 1, 2), expand=False))


def _part(table: Table, done: Statistics, depth: int) -> None:
    if done.counts or any(part.counts for part in done.parts):
        table.add_row("  " * depth + done.name, f"{done.nodes_after - done.nodes_before:+d}", _events(done), _ms(done))
        for part in done.parts:
            _part(table, part, depth + 1)


def _events(done: Statistics) -> str:
    return ", ".join(f"{event} {times}" for event, times in done.counts)


def _ms(done: Statistics) -> str:
    return f"{1e3 * done.seconds:.1f}"
