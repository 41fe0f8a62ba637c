"""Parts of a report in the terminal: inputs and outputs, resources, where the time goes, what others published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edgewright.frontend.report.formats import about, several, share, threads_of, time_range
from edgewright.frontend.report.render import drawable
from edgewright.frontend.report.steps import by_kind
from edgewright.passes.names import plain
from edgewright.passes.results import Report
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_BAR = 24
_KINDS = 6  # kinds of steps that are named


class ModelPort(Protocol):
    """An input or output of a compiled model."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


def interface(console: Console, ports: Sequence[tuple[str, ModelPort]]) -> None:
    """Print inputs and outputs, each given with the word for it."""
    grid = Table.grid(padding=(0, 2))
    for word, port in ports:
        shape = "x".join(map(str, port.shape))
        grid.add_row(word, Text.assemble((plain(port.name), "bold"), f"  {plain(port.dtype)} {shape}"))
    if ports:
        console.print(Padding(grid, (0, 2, 1, 2), expand=False))


def resources(console: Console, report: Report) -> None:
    """Print the engine's resources as bars, with where the figures come from."""
    entries = report.resources.by_name()
    if all(entry.used is None and entry.available is None for entry in entries.values()):
        return
    grid = _grid("left", "right", "right")
    for name, entry in entries.items():
        part = entry.share
        if part is None:
            board = "" if entry.available is None else f"board has {entry.available:,}"
            grid.add_row(name, Text("not measured", "dim"), board, "")
            continue
        colour = "red" if part > 1 else "yellow" if part > 0.95 else "green"
        grid.add_row(name, _bar(console, part, colour), f"{entry.used:,} of {entry.available:,}", f"{100 * part:.0f} %")
    console.print(Padding(grid, (0, 2), expand=False))
    for source in dict.fromkeys(entry.source for entry in entries.values() if entry.source and entry.used is not None):
        console.print(Padding(Text(plain(source), style="dim"), (0, 2), expand=False))
    console.print()


def kinds(console: Console, report: Report) -> None:
    """Print the kinds of steps that take most of the time, by the estimate for one thread."""
    rows = [row for row in by_kind(report.operations) if row.share is not None and row.low_us is not None]
    if not rows:
        return
    grid = _grid("left", "right", "right", "right")
    for row in rows[:_KINDS]:
        part, time = row.share or 0.0, drawable(console, time_range(row.low_us, row.high_us))
        macs = f"{row.macs:,} MACs" if row.macs else ""
        grid.add_row(plain(row.title), _bar(console, part, "cyan"), share(part), time, Text(macs, "dim"))
    console.print(Padding(grid, (0, 2), expand=False))
    rest = rows[_KINDS:]
    also = f"; {several(len(rest), 'other kind')} {share(sum(row.share or 0.0 for row in rest))}" if rest else ""
    console.print(Padding(Text(f"estimate for 1 thread{also}", "dim"), (0, 2, 1, 2), expand=False))


def published(console: Console, report: Report) -> None:
    """Print the published measurement of the model nearest in size; the page has the others."""
    for row in report.published[:1]:
        text = (
            f"published, not ours: {row.model} ({about(row.macs_ratio)} times the products) {row.ms:,g} ms with "
            f"{row.runtime}, {row.precision}, {threads_of(row.threads)}; {row.differs}"
        )
        console.print(Padding(Text(plain(text), "dim"), (0, 2, 1, 2), expand=False))


def _grid(*justified: str) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(overflow="fold")
    for justify in justified:
        grid.add_column(no_wrap=True, justify="right" if justify == "right" else "left")
    return grid


def _bar(console: Console, part: float, colour: str) -> Text:
    full, empty = ("█", "░") if console.encoding.lower().startswith("utf") else ("#", "-")
    filled = round(_BAR * min(part, 1.0))
    return Text.assemble((full * filled, colour), (empty * (_BAR - filled), "dim"))
