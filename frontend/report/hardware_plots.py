"""Plots of an engine: cycles, resources, memory map and roofline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgewright.frontend.report import drawing
from edgewright.frontend.report.drawing import Bar, bars, blank, columns, drawn
from edgewright.frontend.report.formats import bytes_of, short
from edgewright.frontend.report.palette import ACCENT, BAD, INK, LINE, MUTED, PAPER, palette
from edgewright.passes.results import MemoryRange, OperationCost, Resource, Roofline
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

_MOST_BARS = 32


@drawn("cycles", "Cycles of each operation")
def cycles(operations: Sequence[OperationCost]) -> Figure | None:
    """Cycles of each operation in program order, coloured by kind.

    A short program gets a named bar for each operation with the array's utilisation beside it, a long one a column for
    each and names for the three longest.
    """
    colours = palette(op.kind for op in operations)
    timed = [(op, count) for op in operations if (count := op.cycles.best_known) is not None]
    if not timed:
        return None
    if len(timed) > _MOST_BARS:
        many = {place: Bar(op.name, count, f"{count:,}", colours[op.kind]) for place, (op, count) in enumerate(timed)}
        return columns(many, len(many), "operation, in program order", "cycles", drawing.largest(many))
    busy = ["" if op.utilisation is None else f"{op.utilisation:.0%}" for op, _ in timed]
    few = [Bar(op.name, count, text, colours[op.kind]) for (op, count), text in zip(timed, busy, strict=True)]
    return bars(few, "cycles; beside each bar: the share of them in which the product array is busy")


@drawn("resources", "Resources used, as a share of the board's")
def resources(used: Mapping[str, Resource]) -> Figure | None:
    """Each resource as a share of the board's; beyond 100 % in the warning colour."""
    known = [(name, entry, 100 * min(entry.share, 2.0)) for name, entry in used.items() if entry.share is not None]
    if not known:
        return None
    figure, axes = blank(0.7 + 0.36 * len(known))
    axes.barh(range(len(known)), [100] * len(known), height=0.62, color=LINE)
    for place, (_, entry, percent) in enumerate(known):
        axes.barh(place, percent, height=0.62, color=BAD if percent > 100 else ACCENT)
        text = f"{entry.used:,} of {entry.available:,} ({100 * (entry.share or 0):.0f} %)"
        drawing.label(axes, max(percent, 100), place, text)
    drawing.rows_of(axes, [name for name, _, _ in known], "share of the board's")
    axes.grid(visible=False)
    axes.set_xlim(0, 1.42 * max(100.0, *(percent for _, _, percent in known)))
    drawing.percent_ticks(axes)
    axes.spines["left"].set_visible(False)
    return figure


@drawn("memory", "Memory map")
def memory(entries: Sequence[MemoryRange]) -> Figure | None:
    """What is stored where: one strip for each memory, coloured by region."""
    colours = palette(entry.region for entry in entries)
    strips = _address_spaces(entries)
    figure = Figure(figsize=(drawing.WIDTH, 0.6 + 0.9 * len(strips)), layout="constrained")
    for row, inside in enumerate(strips):
        axes = figure.add_subplot(len(strips), 1, row + 1)
        start = min(entry.address for entry in inside)
        span = max(entry.address + entry.bytes for entry in inside) - start
        for entry in inside:
            low, size = entry.address - start, entry.bytes
            edge = 0.8 if size > span * 0.01 else 0.0
            axes.broken_barh([(low, size)], (0, 1), facecolors=colours[entry.region], edgecolors=PAPER, linewidth=edge)
            text = short(entry.name)
            if size > span * 0.013 * len(text) and _alone(entry, inside):
                axes.text(low + size / 2, 0.5, text, ha="center", va="center", fontsize=8, color=PAPER)
        axes.set_xlim(0, max(span, 1))
        axes.set_ylim(0, 1)
        axes.set_yticks([])
        title = f"{short(inside[0].region)}: " if len({entry.region for entry in inside}) == 1 else ""
        axes.set_title(f"{title}{bytes_of(span)} from {start:#x}", fontsize=9, loc="left", color=INK)
        axes.xaxis.set_major_formatter(lambda value, _: bytes_of(value))
        axes.set_xticks(list(range(0, span + 1, 1 << max(span.bit_length() - 3, 0))))  # four to eight
        axes.spines["left"].set_visible(False)
        axes.tick_params(length=2)
        if row == len(strips) - 1:
            axes.set_xlabel("distance from the strip's first address")
    return figure


def _address_spaces(entries: Sequence[MemoryRange]) -> list[list[MemoryRange]]:
    """The entries of each memory: a hole larger than all entries together separates two."""
    hole = sum(entry.bytes for entry in entries)
    spaces: list[list[MemoryRange]] = []
    end = 0
    for entry in sorted(entries, key=lambda entry: (entry.address, entry.bytes)):
        if not spaces or entry.address - end > hole:
            spaces.append([])
        spaces[-1].append(entry)
        end = max(end, entry.address + entry.bytes)
    return spaces


def _alone(entry: MemoryRange, others: Sequence[MemoryRange]) -> bool:
    """Whether no other entry ever uses these addresses."""
    low, high = entry.address, entry.address + entry.bytes
    return sum(other.address < high and low < other.address + other.bytes for other in others) == 1


@drawn("roofline", "Products per cycle over products per byte")
def roofline(operations: Sequence[OperationCost], roof: Roofline) -> Figure | None:
    """Products per cycle of each operation over its products per byte of external memory."""
    known = [(op, op.bytes, op.cycles.best_known) for op in operations]
    points = [(op.macs / moved, op.macs / count, op.kind) for op, moved, count in known if op.macs and moved and count]
    flat, slope = roof.macs_per_cycle, roof.bytes_per_cycle
    if not points or flat is None or slope is None:
        return None
    figure, axes = blank(3.4)
    ridge = flat / slope
    low = min(ridge / 8, *(x for x, _, _ in points)) / 1.6
    high = max(ridge * 8, *(x for x, _, _ in points)) * 1.6
    axes.plot([low, ridge, high], [low * slope, flat, flat], color=INK, lw=1.4)
    for kind, colour in palette(op.kind for op in operations).items():
        same = [(x, y) for x, y, other in points if other == kind]
        if same:
            xs, ys = zip(*same, strict=True)
            axes.scatter(xs, ys, 34, color=colour, edgecolors=PAPER, linewidths=0.7, label=short(kind), zorder=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(low * slope, *(y for _, y, _ in points), flat / 30) / 1.5, flat * 2.4)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("products per byte of external memory")
    axes.set_ylabel("products per cycle")
    middle = (low * ridge) ** 0.5
    for text, point, offset in (
        (f"array: {flat:,.0f} products per cycle", (high, flat), (-4, 4)),
        (f"memory: {slope:g} bytes per cycle", (middle, middle * slope), (-6, 6)),
    ):
        axes.annotate(text, point, offset, textcoords="offset points", ha="right", va="bottom", fontsize=8, color=MUTED)
    axes.grid(which="major")
    axes.legend(frameon=False, fontsize=8, loc="lower right", handletextpad=0.2)
    return figure
