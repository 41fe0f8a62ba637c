"""What a report says of an engine's memory: what is stored where, and when."""

from __future__ import annotations

from edgewright.frontend.report import hardware_plots, storage_plots
from edgewright.frontend.report.formats import count
from edgewright.frontend.report.page import Block, Cell, Plot, Section, Table, section, words
from edgewright.frontend.report.palette import PLACES, legend
from edgewright.passes.results import Report


def sections(report: Report) -> tuple[Section, ...]:
    """The memory map, over time where that was predicted."""
    entries = report.memory_map
    if not entries:
        return ()
    blocks: list[Block] = []
    drawn = storage_plots.over_time(entries, report.memory_use, report.cycles.predicted or 0)
    if drawn is None:
        legends = legend(entry.region for entry in entries)
        blocks.append(Plot(hardware_plots.memory(entries), words("memory.caption"), legends))
    else:
        places = {storage_plots.place_of(entry) for entry in entries}
        titles = {
            "on chip": words("memory.on_chip"),
            "spilled": words("memory.spilled"),
            "external": words("memory.external"),
            "host": words("memory.host"),
        }
        names = [(titles[place], colour) for place, colour in PLACES.items() if place in places]
        blocks.append(Plot(drawn, words("memory.over_time"), names))
    if report.memory_use:
        rows: list[tuple[Cell, ...]] = [
            (use.name, count(use.bytes), count(use.live_bytes), count(use.capacity_bytes)) for use in report.memory_use
        ]
        blocks.append(Table(("memory", "bytes used", "most in use at once", "capacity"), rows))
    heads, fields = ("name", "holds", "place", "address", "bytes", "first cycle", "last cycle"), range(7)
    shown = fields if drawn else (0, 1, 3, 4)  # what is known without a prediction
    rows_of_values: list[tuple[Cell, ...]] = []
    for e in entries:
        cells = (e.name, e.region, e.place, f"{e.address:#x}", f"{e.bytes:,}", count(e.first_cycle), count(e.last_cycle))
        rows_of_values.append(tuple(cells[field] for field in shown))
    columns = tuple(heads[field] for field in shown)
    blocks.append(Table(columns, rows_of_values, text=(1, 2) if drawn else (1,), fold=f"All {len(entries)} values"))
    return (section("memory", *blocks, tag="predicted" if drawn else ""),)
