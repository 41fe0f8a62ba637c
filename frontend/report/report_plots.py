"""The report's figures: static SVG whose colours are CSS variables, so that they follow light, dark and print.

Every function takes plain values from report.json and gives one `<svg>` element as text. Text stays text; names are
drawn verbatim (no mathtext) and escaped by the SVG writer.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours nobody would draw with, each replaced by the CSS variable of the page after drawing.
INK, MUTED, LINE, ACCENT, GOOD, WARN, BAD, PAPER = (f"#0101{i:02x}" for i in range(1, 9))
KINDS = tuple(f"#0102{i:02x}" for i in range(1, 9))
_VARIABLES = {
    **dict(
        zip(
            (INK, MUTED, LINE, ACCENT, GOOD, WARN, BAD, PAPER),
            ("ink", "muted", "line", "accent", "good", "warn", "bad", "paper"),
            strict=True,
        )
    ),
    **{colour: f"k{i}" for i, colour in enumerate(KINDS)},
}

STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}
_WIDTH = 8.6  # inches; the page scales it
_LONGEST_NAME = 44
_MOST_BARS = 32


def kind_colours(kinds: Iterable[str]) -> dict[str, str]:
    """A colour for each kind, in order of first appearance; after the eighth they repeat."""
    return {kind: KINDS[i % len(KINDS)] for i, kind in enumerate(dict.fromkeys(kinds))}


def kind_variables(kinds: Iterable[str]) -> dict[str, str]:
    """As `kind_colours`, as CSS values for the page's legends."""
    return {kind: f"var(--{_VARIABLES[colour]})" for kind, colour in kind_colours(kinds).items()}


def sqnr(layers: Sequence[Mapping[str, Any]]) -> str | None:
    """Signal-to-noise of each layer in dB, the weakest three named; None when nothing was measured."""
    measured = [(i, layer) for i, layer in enumerate(layers) if layer["sqnr_db"] is not None]
    if not measured:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(2.9)
        values = [float(layer["sqnr_db"]) for _, layer in measured]
        axes.bar([i for i, _ in measured], values, width=0.8, color=[_noise_colour(value) for value in values])
        axes.set_ylabel("dB (higher is better)")
        axes.set_xlabel("layer, in order of execution")
        axes.set_xlim(-0.8, len(layers) - 0.2)
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
        top = max(max(values), 1.0)
        axes.set_ylim(min(0.0, *values, 0.0), top * 1.36)
        axes.grid(axis="y")
        axes.tick_params(length=0)
        weakest = sorted(sorted(measured, key=lambda pair: float(pair[1]["sqnr_db"]))[:3], key=lambda pair: pair[0])
        named = [(i, layer["sqnr_db"], f"{short(layer['name'])}  {layer['sqnr_db']:.1f} dB") for i, layer in weakest]
        name_columns(axes, named, len(layers), top)
        return to_svg(figure, "sqnr", "Signal to quantisation noise of each layer")


def cycles(operations: Sequence[Mapping[str, Any]]) -> str | None:
    """Cycles of each operation in program order, coloured by kind.

    A short program gets a named bar for each operation with the array's utilisation beside it, a long one a column
    for each and a name for the three longest.
    """
    timed = [op for op in operations if _cycles_of(op) is not None]
    if not timed:
        return None
    colours = kind_colours(op["kind"] for op in operations)
    values = [_cycles_of(op) or 0 for op in timed]
    tints = [colours[op["kind"]] for op in timed]
    with matplotlib.rc_context(STYLE):
        if len(timed) > _MOST_BARS:
            return to_svg(_cycle_columns(timed, values, tints), "cycles", "Cycles of each operation")
        figure, axes = blank(0.75 + 0.21 * len(timed))
        axes.barh(range(len(timed)), values, height=0.72, color=tints)
        axes.set_yticks(range(len(timed)), [short(op["name"]) for op in timed])
        axes.set_ylim(len(timed) - 0.4, -0.6)
        axes.set_xlim(0, max(*values, 1) * 1.12)
        axes.set_xlabel("cycles; next to each bar: the share of them in which the product array is busy")
        axes.xaxis.set_major_formatter(lambda value, _: counted(value))
        axes.grid(axis="x")
        axes.tick_params(length=0)
        for row, (value, op) in enumerate(zip(values, timed, strict=True)):
            note = "" if op["utilisation"] is None else f"{op['utilisation']:.0%}"
            axes.annotate(note, (value, row), (4, 0), textcoords="offset points", va="center", fontsize=8, color=MUTED)
        return to_svg(figure, "cycles", "Cycles of each operation")


def _cycle_columns(timed: Sequence[Mapping[str, Any]], values: Sequence[int], tints: Sequence[str]) -> Figure:
    figure, axes = blank(3.2)
    top = max(*values, 1)
    axes.bar(range(len(timed)), values, width=0.84, color=tints)
    axes.set_xlim(-0.8, len(timed) - 0.2)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(8, integer=True))
    axes.set_ylim(0, top * 1.36)
    axes.set_xlabel("operation, in program order")
    axes.set_ylabel("cycles")
    axes.yaxis.set_major_formatter(lambda value, _: counted(value))
    axes.grid(axis="y")
    axes.tick_params(length=0)
    longest = sorted(range(len(timed)), key=lambda i: (-values[i], i))[:3]
    name_columns(axes, [(i, values[i], f"{short(timed[i]['name'])}  {values[i]:,}") for i in sorted(longest)], len(timed), top)
    return figure


def name_columns(axes: Axes, columns: Sequence[tuple[int, float, str]], count: int, top: float) -> None:
    """Text above some columns of a plot, each joined to its column by a line, at different heights."""
    lefts = sum(index < count / 2 for index, _, _ in columns)
    for place, (index, value, text) in enumerate(columns):
        left = index < count / 2
        height = top * (1.12 + 0.09 * (place if left else lefts + len(columns) - 1 - place))
        axes.plot([index, index], [value, height], color=MUTED, lw=0.7, zorder=3 - 0.1 * place)
        axes.annotate(
            text,
            (index, height),
            (3 if left else -3, 0),
            textcoords="offset points",
            fontsize=8,
            ha="left" if left else "right",
            va="center",
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
        )


def resources(used: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> str | None:
    """Each resource as a share of the board's; beyond 100 % in the warning colour."""
    rows = [
        (names[key], int(entry["used"]), int(entry["available"]))
        for key, entry in used.items()
        if entry["used"] is not None and entry["available"] is not None
    ]
    if not rows:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.55 + 0.36 * len(rows))
        shares = [100 * part / whole if whole else (0 if part == 0 else 200) for _, part, whole in rows]
        limit = max(100.0, *shares)
        axes.barh(range(len(rows)), [100] * len(rows), height=0.62, color=LINE)
        axes.barh(range(len(rows)), shares, height=0.62, color=[BAD if s > 100 else ACCENT for s in shares])
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
        axes.invert_yaxis()
        axes.set_xlim(0, limit * 1.42)
        axes.set_xticks([0, 25, 50, 75, 100], ["0", "25 %", "50 %", "75 %", "100 %"])
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        for row, ((_, part, whole), share) in enumerate(zip(rows, shares, strict=True)):
            text = f"{part:,} of {whole:,} ({share:.0f} %)" if whole else f"{part:,} of none"
            axes.annotate(text, (max(share, 100), row), (6, 0), textcoords="offset points", va="center", fontsize=9, color=INK)
        return to_svg(figure, "resources", "Resources used, as a share of the board's")


def memory(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """What lies where: one strip for each memory, coloured by region."""
    if not entries:
        return None
    colours = kind_colours(entry["region"] for entry in entries)
    strips = _address_spaces(entries)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 0.45 + 0.9 * len(strips)), layout="constrained")
        for row, inside in enumerate(strips):
            axes = figure.add_subplot(len(strips), 1, row + 1)
            start = min(int(e["address"]) for e in inside)
            span = max(int(e["address"]) + int(e["bytes"]) for e in inside) - start
            for entry in inside:
                low, size = int(entry["address"]) - start, int(entry["bytes"])
                edge = 0.8 if size > span * 0.01 else 0.0
                tint = colours[entry["region"]]
                axes.broken_barh([(low, size)], (0, 1), facecolors=tint, edgecolors=PAPER, linewidth=edge)
                text = short(entry["name"])
                if size > span * 0.013 * len(text) and _alone(entry, inside):
                    axes.text(low + size / 2, 0.5, text, ha="center", va="center", fontsize=8, color=PAPER)
            axes.set_xlim(0, max(span, 1))
            axes.set_ylim(0, 1)
            axes.set_yticks([])
            title = f"{short(inside[0]['region'])}: " if len({e["region"] for e in inside}) == 1 else ""
            axes.set_title(f"{title}{_bytes(span)} from {start:#x}", fontsize=9, loc="left", color=INK)
            axes.xaxis.set_major_formatter(lambda value, _: _bytes(value))
            axes.set_xticks(_byte_ticks(span))
            axes.spines["left"].set_visible(False)
            axes.tick_params(length=2)
        return to_svg(figure, "memory", "Memory map")


def _address_spaces(entries: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The entries of each memory: a hole larger than all entries together separates two."""
    hole = sum(int(entry["bytes"]) for entry in entries)
    spaces: list[list[Mapping[str, Any]]] = []
    end = 0
    for entry in sorted(entries, key=lambda e: (int(e["address"]), int(e["bytes"]))):
        if not spaces or int(entry["address"]) - end > hole:
            spaces.append([])
        spaces[-1].append(entry)
        end = max(end, int(entry["address"]) + int(entry["bytes"]))
    return spaces


def _alone(entry: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no other entry ever uses these addresses."""
    low, high = int(entry["address"]), int(entry["address"]) + int(entry["bytes"])
    return sum(int(o["address"]) < high and low < int(o["address"]) + int(o["bytes"]) for o in others) == 1


def roofline(
    operations: Sequence[Mapping[str, Any]], macs_per_cycle: float | None, bytes_per_cycle: float | None
) -> str | None:
    """Products per cycle reached by each operation over its products per byte of external memory."""
    points = [
        (op["macs"] / op["bytes"], op["macs"] / (_cycles_of(op) or 1), op["kind"])
        for op in operations
        if op["macs"] and op["bytes"] and _cycles_of(op)
    ]
    if not points or macs_per_cycle is None or bytes_per_cycle is None:
        return None
    colours = kind_colours(op["kind"] for op in operations)
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(3.4)
        ridge = macs_per_cycle / bytes_per_cycle
        low = min(ridge / 8, *(x for x, _, _ in points)) / 1.6
        high = max(ridge * 8, *(x for x, _, _ in points)) * 1.6
        axes.plot([low, ridge, high], [low * bytes_per_cycle, macs_per_cycle, macs_per_cycle], color=INK, lw=1.4)
        for kind, colour in colours.items():
            own = [(x, y) for x, y, k in points if k == kind]
            if own:
                xs, ys = [x for x, _ in own], [y for _, y in own]
                axes.scatter(xs, ys, 34, color=colour, edgecolors=PAPER, linewidths=0.7, label=short(kind), zorder=3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(low, high)
        axes.set_ylim(min(low * bytes_per_cycle, *(y for _, y, _ in points), macs_per_cycle / 30) / 1.5, macs_per_cycle * 2.4)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
        axes.set_xlabel("products per byte of external memory")
        axes.set_ylabel("products per cycle")
        axes.annotate(
            f"array: {macs_per_cycle:,.0f} products per cycle",
            (high, macs_per_cycle),
            (-4, 4),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
        middle = (low * ridge) ** 0.5
        axes.annotate(
            f"memory: {bytes_per_cycle:g} bytes per cycle",
            (middle, middle * bytes_per_cycle),
            (-6, 6),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=8,
            color=MUTED,
        )
        axes.grid(which="major")
        axes.tick_params(which="both", length=0)
        axes.legend(frameon=False, fontsize=8, loc="lower right", handletextpad=0.2)
        return to_svg(figure, "roofline", "Roofline")


def stages(times: Sequence[Mapping[str, Any]]) -> str | None:
    """Seconds of each stage of the compiler, as horizontal bars."""
    if not times:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = blank(0.4 + 0.25 * len(times))
        values = [float(stage["seconds"]) for stage in times]
        axes.barh(range(len(times)), values, height=0.66, color=ACCENT)
        axes.set_yticks(range(len(times)), [short(stage["name"]) for stage in times])
        axes.invert_yaxis()
        axes.set_xlim(0, max(*values, 1e-6) * 1.15)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(length=0)
        for row, value in enumerate(values):
            axes.annotate(f"{value:.2f} s", (value, row), (5, 0), textcoords="offset points", va="center", fontsize=8.5)
        return to_svg(figure, "stages", "Time of each stage")


def blank(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure, name: str, title: str) -> str:
    """The drawing as one element: no XML prologue, deterministic, ids that nothing refers to removed."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'href="#([^"]+)"', text))
    text = re.sub(r' id="([^"]*)"', lambda m: m.group() if m.group(1) in used else "", text)
    text = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1).strip()


def _cycles_of(operation: Mapping[str, Any]) -> int | None:
    counts = operation["cycles"]
    value = counts["simulated"] if counts["simulated"] is not None else counts["predicted"]
    return None if value is None else int(value)


def _noise_colour(decibels: float) -> str:
    return BAD if decibels < 15 else WARN if decibels < 25 else ACCENT


def short(name: str) -> str:
    """A name that fits beside a plot and holds no character that XML or a line of text cannot."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return clean if len(clean) <= _LONGEST_NAME else f"{clean[:20]}…{clean[-22:]}"


def _byte_ticks(span: int) -> list[int]:
    """Multiples of a power of two, four to eight of them."""
    step = 1 << max(span.bit_length() - 3, 0)
    return list(range(0, span + 1, step))


def counted(value: float) -> str:
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _bytes(value: float) -> str:
    for size, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"
