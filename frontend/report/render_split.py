"""A split in the terminal."""

from __future__ import annotations

from pathlib import Path

from edgewright.frontend.report import split as pages
from edgewright.frontend.report.render import STYLES, last
from edgewright.frontend.report.split_results import SplitReport
from edgewright.passes.names import plain
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLUMNS = ("device", "file", "classes", "shape", "parameters", "MACs", "latency", "accuracy")


def split(console: Console, report: SplitReport, directory: Path) -> None:
    """Print the headline of a split and one line for each device."""
    for tile in pages.tiles(report):
        line = Text.assemble((f"{tile.label}: ", "dim"), (tile.value, STYLES[tile.mood]), f"  {tile.note}")
        console.print(line, soft_wrap=True)
    devices = pages.devices(report)
    table = Table(box=None, pad_edge=False)
    places = [devices.columns.index(name) for name in _COLUMNS]
    for place in places:
        table.add_column(devices.columns[place], justify="left" if place in (0, *devices.text) else "right")
    for row in devices.rows:
        table.add_row(*(Text(plain(row[place])) for place in places))
    console.print(table)
    for reason in report.reasons:
        console.print(Text(f"note: {plain(reason)}"), soft_wrap=True)
    last(console, directory / "report.html", f"edgewright run {directory} --input DATA.npz")
