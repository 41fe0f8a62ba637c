"""What passes cost and saved, for the terminal: the figures of the page's section on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edgewright.frontend.report import report_changes
from edgewright.frontend.report.render import drawable
from edgewright.passes.names import plain
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edgewright.frontend.reshaping.optimised import Optimised

_STYLES = {"good": "green", "bad": "red", "": ""}


def changes(console: Console, data: Mapping[str, Any]) -> None:
    """For each pass: what it did, its figures before and after, and how far both models agree."""
    if data["changes"] and data["changes"][0]["how"]:
        console.print(Text(f"  every pass {plain(data['changes'][0]['how'])}\n", "dim"))
    for one in data["changes"]:
        shown = report_changes.change_view(one)
        console.print(Text.assemble((f"  {plain(shown['title'])}", "bold"), (f"  {one['name']}, {shown['kind']}", "dim")))
        _rows(console, shown["rows"])
        words = [shown["compared"], *shown["counts"], *(f"table '{t['name']}' in the report" for t in one["tables"])]
        for text in words:
            console.print(Padding(Text(plain(drawable(console, text)), "dim"), (0, 4), expand=False))
        console.print()
    if len(data["changes"]) > 1:
        console.print(Text("  All passes together", "bold"))
        _rows(console, report_changes.rows(data["changes"][0]["before"], data["changes"][-1]["after"]))
        console.print()


def _rows(console: Console, rows: list[dict[str, str]]) -> None:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    for _ in range(3):
        grid.add_column(no_wrap=True, justify="right")
    grid.add_row("", Text("before", "dim"), Text("after", "dim"), Text("change", "dim"))
    for row in rows:
        cells = [plain(drawable(console, row[key])) for key in ("label", "before", "after")]
        grid.add_row(*map(Text, cells), Text(row["change"], _STYLES[row["mood"]]))
    console.print(Padding(grid, (0, 4), expand=False))


def optimised(console: Console, data: Mapping[str, Any], made: Optimised, next_step: str) -> None:
    """What `optimise` wrote and what it cost."""
    from edgewright.frontend.reshaping.optimised import subtitle

    for note in data["notes"]:
        console.print(Text.assemble(("Note. ", "bold yellow"), plain(note)), soft_wrap=True)
    console.print(Text.assemble((plain(data["model"]), "bold"), f": {plain(subtitle(data))}"))
    console.print()
    changes(console, data)
    if data["changes"]:
        where = "this machine" if data["target"] == "host" else plain(data["target"])
        console.print(Text(f"  memory and latency: estimates for {where} in {data['precision']}; nothing was timed\n", "dim"))
    console.print(Text.assemble(("  model    ", "cyan"), plain(made.path)), soft_wrap=True)
    console.print(Text.assemble(("  report   ", "cyan"), plain(made.page)), soft_wrap=True)
    console.print(Text.assemble(("  next     ", "cyan"), plain(next_step)), soft_wrap=True)
