"""Drawing of what the units of an engine do over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgewright.frontend.report.canvas import LETTER, SMALL, WIDTH, Canvas, fits
from edgewright.frontend.report.drawing import Bar, columns, drawn
from edgewright.frontend.report.formats import share, short
from edgewright.frontend.report.palette import CSS, STATES, palette
from edgewright.passes.results import Lane, OperationCost, Timeline
from matplotlib.figure import Figure

LEFT, RIGHT = 122, 52
"""Room for the names of lanes, and for what is said of each at its end."""
LANE, GAP, LEVELS = 22, 6, 22
STRIP = 18
NARROWEST = 0.4
"""Width of the shortest operation that is drawn."""
MAIN = "array"
"""The lane to look at first."""


def timeline(shown: Timeline, operations: Sequence[OperationCost], names: dict[str, str]) -> str | None:
    """Draw a lane for each unit and port: the share of each bin in which it works (from below) and waits (above it, by cause);
    over them the operations that the array works on. ``names``: of the states, in words; None without lanes."""
    if not shown.lanes:
        return None
    units = [lane for lane in shown.lanes if lane.kind == "unit"]
    ports = [lane for lane in shown.lanes if lane.kind != "unit"]
    height = 2 * (STRIP + 4) + len(shown.lanes) * (LANE + GAP) + STRIP * bool(ports) + 44
    canvas = Canvas(height, "What each unit does over time")
    width, last = WIDTH - LEFT - RIGHT, shown.first_cycle + shown.cycles
    canvas.text(WIDTH - RIGHT + 6, STRIP / 2, "works", colour="var(--muted)", size=SMALL)
    _operations(canvas, shown, operations)
    y: float = STRIP + 10
    for title, lanes in (("", units), ("ports to memory", ports)):
        if title and lanes:
            canvas.text(0, y + STRIP / 2 - 2, title, colour="var(--muted)", size=SMALL)
            y += STRIP
        for lane in lanes:
            _lane(canvas, y, width, lane, shown, names)
            y += LANE + GAP
    canvas.axis(LEFT, y, width, shown.first_cycle, last, "cycle")
    canvas.height = y + 38
    return canvas.svg()


def _operations(canvas: Canvas, shown: Timeline, operations: Sequence[OperationCost]) -> None:
    colours = palette(op.kind for op in operations)
    scale = (WIDTH - LEFT - RIGHT) / shown.cycles
    canvas.text(LEFT - 8, STRIP / 2, "operation", "end", "var(--muted)", SMALL)
    for op in operations:
        if op.array is None or not op.array.cycles:
            continue
        first, last = op.array.first - shown.first_cycle, op.array.last + 1 - shown.first_cycle
        first, last = max(0, first), min(shown.cycles, last)
        at, width = LEFT + first * scale, (last - first) * scale
        if width < NARROWEST:
            continue
        tip = f"{op.name} ({op.kind}): cycles {op.array.first:,} to {op.array.last:,}"
        canvas.rectangle(at, 0, width, STRIP, CSS[colours[op.kind]], tip, edge="var(--paper)")
        name = short(op.name, max(14, int(width / (LETTER * SMALL)) - 1))
        if fits(name, width - 6):
            canvas.text(at + width / 2, STRIP / 2, name, "middle", "var(--paper)", SMALL)


def _lane(canvas: Canvas, y: float, width: float, lane: Lane, shown: Timeline, names: dict[str, str]) -> None:
    bins = max(len(counts) for counts in lane.states.values())
    sizes = [min(shown.bin_cycles, shown.cycles - place * shown.bin_cycles) for place in range(bins)]
    shares = {state: sum(counts) / shown.cycles for state, counts in lane.states.items()}
    tip = f"{lane.name}: " + ", ".join(f"{names[state]} {share(part)}" for state, part in shares.items())
    canvas.text(LEFT - 8, y + LANE / 2, "simulated" if lane.kind == "simulated" else lane.name, "end", bold=lane.name == MAIN)
    stack = [0] * bins
    layers = []
    for state in STATES:
        if state in lane.states:
            stack = [below + count for below, count in zip(stack, lane.states[state], strict=True)]
            layers.append((state, [round(LEVELS * count / size) for count, size in zip(stack, sizes, strict=True)]))
    with canvas.tip(tip):
        canvas.rectangle(LEFT, y, width, LANE, "var(--lane)")
        for state, levels in reversed(layers):  # each over those that are higher
            canvas.steps(LEFT, y, width, LANE, levels, LEVELS, STATES[state])
    canvas.text(WIDTH - RIGHT + 6, y + LANE / 2, share(shares.get("busy", 0.0)), size=SMALL)


@drawn("agreement", "Simulated cycles of each operation less those predicted")
def differences(data: Mapping[int, Bar], count: int) -> Figure | None:
    """Draw for each operation how many cycles more a simulation took than was predicted; the three largest named."""
    if not data:
        return None
    named = sorted(data, key=lambda place: (-abs(data[place].value), place))[:3]
    named = [place for place in named if data[place].value]
    return columns(data, count, "operation, in program order", "cycles", named)
