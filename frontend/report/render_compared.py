"""A comparison in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright.frontend.report.formats import percent, points, several
from edgewright.passes.names import plain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edgewright.frontend.report.compared_results import Compared, ComparedOutput, Share
    from rich.console import Console


def compared(console: Console, result: Compared) -> None:
    """Print both models side by side, and for each output how far they agree and how accurate they are."""
    for note in result.notes:
        console.print(Text(plain(note), "dim"), soft_wrap=True)
    grid = Table.grid(padding=(0, 2))
    grid.add_row("", Text(result.first.name, "bold"), Text(result.second.name, "bold"))
    grid.add_row("computed by", result.first.by, result.second.by)
    for name in dict.fromkeys((*result.first.cost, *result.second.cost)):
        grid.add_row(name, *(_figure(side.cost.get(name)) for side in (result.first, result.second)))
    console.print(Padding(grid, (0, 0, 1, 0), expand=False))
    for output in result.outputs:
        console.print(
            Text.assemble((output.output, "bold"), f", {several(output.samples, 'sample')} of {plain(result.source)}")
        )
        lines = Table.grid(padding=(0, 2))
        for label, text in _lines(output):
            lines.add_row(label, text)
        console.print(Padding(lines, (0, 2), expand=False))


def _lines(output: ComparedOutput) -> list[tuple[str, str]]:
    rows = []
    if output.agree is not None:
        rows.append(("same class", _share(output.agree)))
    if output.first is not None and output.second is not None and output.difference is not None:
        rows.append((f"top-1 of A, {several(output.labelled, 'sample')}", _share(output.first)))
        rows.append((f"top-1 of B, {several(output.labelled, 'sample')}", _share(output.second)))
        change = output.difference
        between = f"(95 %: {points(change.low)} to {points(change.high)})".replace(" points to", " to")
        verdict = "no difference that these samples show" if change.low <= 0 <= change.high else "a difference beyond chance"
        chance = "" if output.p_value is None else f", p = {output.p_value:.2g} (McNemar)"
        rows.append(("B less A", f"{points(change.value)} {between}: {verdict}{chance}"))
    noise = "equal values" if output.sqnr_db is None and not output.largest_difference else ""
    rows.append(("largest difference", noise or f"{output.largest_difference:.4g}"))
    if output.sqnr_db is not None:
        rows.append(("signal to noise of B", f"{output.sqnr_db:.1f} dB"))
    return rows


def _share(share: Share) -> str:
    return f"{percent(share.value)} (95 %: {100 * share.low:.1f} to {100 * share.high:.1f} %)"


def _figure(value: float | int | str | None) -> str:
    return (
        ""
        if value is None
        else f"{value:,}"
        if isinstance(value, int)
        else f"{value:.4g}"
        if isinstance(value, float)
        else plain(value)
    )
