"""What a report says of an engine's units over time: what they do, what the array waits for, and why."""

from __future__ import annotations

from collections.abc import Mapping

from edgewright.frontend.report import timeline_plots
from edgewright.frontend.report.drawing import Bar
from edgewright.frontend.report.formats import share
from edgewright.frontend.report.page import Block, Cell, Heading, Marked, Plot, Section, Table, section, words
from edgewright.frontend.report.palette import STATES
from edgewright.passes.results import Profile, Report

IDLE = "idle"
_MOST = 0.8
"""Share of its time in work from which on an array's waits matter less than its work."""


def sections(report: Report) -> tuple[Section, ...]:
    """Timelines of the units, the array's cycles by cause, and where its waits come from."""
    found = report.profile
    if found is None:
        return ()
    names = {state: words(f"states.{state}") for state in (*STATES, IDLE)}
    blocks: list[Block] = []
    for place, shown in enumerate(found.timelines):
        svg = timeline_plots.timeline(shown, report.operations, names)
        used = [state for state in STATES if any(state in lane.states for lane in shown.lanes)]
        if place:
            first, last = f"{shown.first_cycle:,}", f"{shown.first_cycle + shown.cycles:,}"
            caption = words("units.closer_caption", first=first, last=last, bin=f"{shown.bin_cycles:,}")
            blocks += [Heading(words("units.closer")), Plot(svg, caption)]
        else:
            legend = [(names[state], STATES[state]) for state in used]
            blocks.append(Plot(svg, words("units.caption", bin=f"{shown.bin_cycles:,}"), legend))
    return (section("units", *blocks, *_array(report, found, names), *_reasons(report, found), tag="predicted"),)


def _array(report: Report, found: Profile, names: Mapping[str, str]) -> tuple[Block, ...]:
    """The cycles of the array by state (rows) and by kind of operation (columns)."""
    timed = [(op.kind, op.array.cycles) for op in report.operations if op.array is not None and op.array.cycles]
    kinds = list(dict.fromkeys(kind for kind, _ in timed))
    rows: list[tuple[Cell, ...]] = []
    for state in (*STATES, IDLE):
        by_kind = [sum(cycles.get(state, 0) for other, cycles in timed if other == kind) for kind in kinds]
        if any(by_kind):
            name = Marked(names[state], swatch=STATES.get(state, "var(--lane)"))
            rows.append((name, *(_part(count, found.cycles) for count in (*by_kind, sum(by_kind)))))
    whole = [sum(sum(cycles.values()) for other, cycles in timed if other == kind) for kind in kinds]
    total = ("all", *(_part(count, found.cycles) for count in (*whole, sum(whole))))
    table = Table(("the array …", *kinds, "all operations"), rows, total=total, wraps=True)
    text = words("units.array_text", cycles=f"{found.cycles:,}")
    return (Heading(words("units.array")), text, table, *_padding(report))


def _reasons(report: Report, found: Profile) -> tuple[Block, ...]:
    """Where the array's waits come from, and what would help against the largest."""
    if not found.reasons:
        return ()
    totals: dict[str, int] = {}
    for row in found.reasons:
        totals[row.reason] = totals.get(row.reason, 0) + row.cycles
    order = sorted(totals, key=lambda reason: (-totals[reason], reason))
    rows: list[tuple[Cell, ...]] = []
    for reason in order:
        causes = [row for row in found.reasons if row.reason == reason]
        waits = ", ".join(f"{row.cause} {row.cycles:,}" for row in causes)
        what = Marked(words(f"reasons.{reason}"), below=words(f"advice.{reason}").replace("`", ""))
        rows.append((what, waits, _part(totals[reason], found.cycles)))
    all_waits = ("all waits", "", _part(sum(totals.values()), found.cycles))
    table = Table(("what held it up", "the array waited for", "cycles"), rows, text=(1,), total=all_waits, wraps=True)
    first = order[0]
    works = sum(op.array.cycles.get("busy", 0) for op in report.operations if op.array is not None) / found.cycles
    opening = words("units.working" if works > _MOST else "units.waiting", share=share(works))
    largest = words(
        "units.largest",
        share=f"{100 * totals[first] / found.cycles:.1f} %",
        what=words(f"reasons.{first}"),
        advice=words(f"advice.{first}"),
    )
    return (Heading(words("units.reasons")), words("units.reasons_text"), f"{opening} {largest}", table)


def _part(count: int, whole: int) -> Cell:
    return Marked(f"{count:,}", below=f"{100 * count / whole:.1f} %") if count else "0"


def _padding(report: Report) -> tuple[str, ...]:
    """How much of the array's work is none of the model's."""
    width = report.roofline.macs_per_cycle
    busy = sum(op.array.cycles.get("busy", 0) for op in report.operations if op.array is not None)
    if not width or not busy or report.macs is None or report.profile is None:
        return ()
    idle = busy - report.macs / width
    return (words("units.padding", share=f"{100 * idle / report.profile.cycles:.1f} %", width=f"{width:,.0f}"),)


def agreement_sections(report: Report) -> tuple[Section, ...]:
    """What was simulated, against what had been predicted."""
    predicted, simulated = report.cycles.predicted, report.cycles.simulated
    if predicted is None or simulated is None:
        return ()
    differences = {
        place: Bar(op.name, later, f"{later:+,}")
        for place, op in enumerate(report.operations)
        if (later := _difference(op.cycles.predicted, op.cycles.simulated)) is not None
    }
    text = words(
        "agreement.cycles",
        predicted=f"{predicted:,}",
        simulated=f"{simulated:,}",
        percent=f"{100 * (predicted / simulated - 1):+.2f} %",
    )
    svg = timeline_plots.differences(differences, len(report.operations))
    return (section("agreement", text, Plot(svg, words("agreement.caption"))),)


def _difference(predicted: int | None, simulated: int | None) -> int | None:
    return None if predicted is None or simulated is None else simulated - predicted
