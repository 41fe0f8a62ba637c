"""profile.html and profile.json of a measurement on a device.

The JSON is the profile (targets/cpu/profile_report.schema.json describes it); page and terminal show nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from edgewright.frontend.report import page, steps_plots
from edgewright.frontend.report.formats import UNKNOWN, bytes_of, duration, kind_title, percent, several, share, si
from edgewright.frontend.report.steps import by_kind, time_blocks
from edgewright.passes.results import OperationCost
from edgewright.targets.cpu.devices.measured import Conditions
from edgewright.targets.cpu.profile_results import InstructionCount, ProfileReport


def files(report: ProfileReport) -> dict[str, bytes]:
    """Return profile.html and profile.json by name. ValueError for numbers that are not finite."""
    return page.files_of("profile", to_html(report), report)


def to_html(report: ProfileReport) -> str:
    """Return the page of a profile."""
    device = report.device
    where = device.cpu or (device.machine.name if device.machine else "") or device.name
    sections = [
        *_run_sections(report),
        _step_section(report),
        *_instruction_sections(report),
        *_power_sections(report),
        _conditions(report),
        page.section("next", page.Steps(_next_steps(report))),
        page.section("limits", page.Bullets(_limits(report))),
    ]
    footer = f"Edgewright {report.edgewright} · the same figures for programs: `profile.json`"
    caption = f"compiled for {report.target}, profiled on {where}"
    return page.html(page.Page(report.model, caption, _subtitle(report), _banners(report), _tiles(report), sections, footer))


def lines(report: ProfileReport) -> list[tuple[str, str]]:
    """Return the headline for a terminal: (label, text)."""
    rows = []
    for run in report.runs:
        text = f"{duration(run.median_ms)} median, {duration(run.p95_ms)} p95, {run.gop_per_s:,.0f} GOP/s, {run.count:,} runs"
        rows.append((several(run.threads, "thread"), text))
    slowest = [row for row in by_kind(_costs(report))[:3] if row.share is not None]
    if report.runs and slowest:
        rows.append(("most time", ", ".join(f"{kind_title(row.kind)} {share(row.share or 0.0)}" for row in slowest)))
    if report.instructions:
        rows.append(("instructions", f"{si(report.instructions.per_inference)} per inference{_relative(report.instructions)}"))
    rows.append(("outputs", _verdict(report)[0]))
    if report.power:
        rows += [(rail.name, f"{rail.mj_per_inference:.3g} mJ per inference") for rail in report.power.rails]
    return rows + [("note", text) for text in (*report.notes, *report.warnings)]


def _banners(report: ProfileReport) -> list[page.Banner]:
    banners = []
    if wrong := report.check.first_difference:
        text = f"First at {wrong.output}{list(wrong.index)}: expected {wrong.expected:g}, found {wrong.found}."
        banners.append(page.Banner("The device's outputs differ from the model's.", text, "bad"))
    banners += [page.Banner("Note.", note) for note in report.notes]
    if report.warnings:
        banners.append(page.Banner("Careful with the times.", " ".join(report.warnings)))
    return banners


def _subtitle(report: ProfileReport) -> str:
    return (
        f"{report.precision} on the '{report.variant}' kernels, {si(report.macs)} products (MACs) and "
        f"{bytes_of(report.weight_bytes)} of weights for one inference"
    )


def _tiles(report: ProfileReport) -> list[page.Tile]:
    best = report.fastest
    tiles = [page.Tile("Time of one inference", "not measured", "an emulator's time means nothing", "none")]
    if best is not None:
        threads, first = several(best.threads, "thread"), report.runs[0]
        alone = "" if first is best else f"; with {first.threads}: {duration(first.median_ms)}"
        note = f"median of {several(best.count, 'run')}, {threads}{alone}"
        tiles = [
            page.Tile("Time of one inference", duration(best.median_ms), note),
            page.Tile("Speed", f"{best.gop_per_s:,.1f} GOP/s", f"{best.per_second:,.0f} inferences per second, {threads}"),
        ]
    if counted := report.instructions:
        relative = _relative(counted).removeprefix(", ")
        tiles.append(page.Tile("Instructions of one inference", si(counted.per_inference), relative))
    verdict, how = _verdict(report)
    mood: page.Mood = "none" if report.check.right is None else "good" if report.check.right else "bad"
    tiles.append(page.Tile("Outputs", verdict, how, mood))
    power = report.power
    feeding = [rail for rail in power.rails if rail.name == power.input_rail] if power else []
    if feeding:
        note = f"{feeding[0].busy_mw / 1e3:.2f} W on {feeding[0].name} while it runs"
        tiles.append(page.Tile("Energy of one inference", f"{feeding[0].mj_per_inference:.3g} mJ", note))
    return tiles


def _run_sections(report: ProfileReport) -> list[page.Section]:
    if not report.runs:
        return []
    times = ("median", "mean", "95th percentile", "minimum", "maximum")
    rows = []
    for run in report.runs:
        measured = (run.median_ms, run.mean_ms, run.p95_ms, run.min_ms, run.max_ms)
        speed = (f"{run.count:,}", f"{run.per_second:,.1f}", f"{run.gop_per_s:,.1f}")
        rows.append((str(run.threads), *map(duration, measured), f"{100 * run.spread:.1f} %", *speed))
    table = page.Table(("threads", *times, "spread", "runs", "per second", "GOP/s"), rows)
    return [page.section("runs", page.Plot(steps_plots.threads(report.runs), page.words("runs.caption")), table)]


def _costs(report: ProfileReport) -> list[OperationCost]:
    """The steps as operations whose time with the first number of threads is known."""
    costs = []
    for step in report.operations:
        us = 1e3 * step.ms[0].median if step.ms else None
        costs.append(OperationCost(step.name, step.kind, step.macs, step.bytes, low_us=us, high_us=us))
    return costs


def _step_section(report: ProfileReport) -> page.Section:
    costs, threads = _costs(report), [time.threads for time in report.operations[0].ms] if report.operations else []
    rows = []
    for step in report.operations:
        times = [duration(time.median) for time in step.ms]
        speeds = [percent(step.share), _figure(step.gop_per_s), _figure(step.gb_per_s)] if times else []
        rows.append((step.name, kind_title(step.kind), f"{step.macs:,}", f"{step.bytes:,}", *times, *speeds))
    measured = (*(several(number, "thread") for number in threads), *(("share", "GOP/s", "GB/s") if threads else ()))
    columns = ("step", "kind", "products (MACs)", "bytes touched", *measured)
    blocks = (*time_blocks(costs), page.Table(columns, rows, text=(1,), fold=f"All {several(len(rows), 'step')}"))
    if not threads:
        return page.section("program", *blocks)
    return page.section("time", *blocks, tag=f"measured, {several(threads[0], 'thread')}")


def _instruction_sections(report: ProfileReport) -> list[page.Section]:
    counted = report.instructions
    if counted is None:
        return []
    tvm = "not counted"
    if counted.tvm_default is not None and counted.of_tvm_default is not None:
        tvm = f"{counted.tvm_default:,}; ours is {100 * counted.of_tvm_default:.1f} % of it"
    facts = (
        ("one inference", f"{counted.per_inference:,}"),
        ("for each product", UNKNOWN if counted.per_mac is None else f"{counted.per_mac:.4f}"),
        ("TVM's default pipeline", tvm),
    )
    return [page.section("instructions", page.FactTable(facts))]


def _power_sections(report: ProfileReport) -> list[page.Section]:
    power = report.power
    if power is None:
        return []
    feeds = f" {power.input_rail} feeds the whole module." if power.input_rail else ""
    rows = []
    for rail in power.rails:
        powers = (_figure(milliwatts, "{:,.0f} mW") for milliwatts in (rail.idle_mw, rail.busy_mw))
        energies = (_figure(millijoules, "{:,.3g} mJ") for millijoules in (rail.mj_per_inference, rail.mj_above_idle))
        rows.append((rail.name, *powers, *energies))
    table = page.Table(("rail", "idle", "running", "energy of one inference", "of that above idle"), rows)
    readings, runs = several(power.samples, "reading"), several(power.runs, "inference")
    return [page.section("power", table, feeds=feeds, readings=readings, runs=runs, threads=several(power.threads, "thread"))]


def _conditions(report: ProfileReport) -> page.Section:
    facts = page.FactTable([(label, value) for label, value in _facts(report) if value is not None])
    rows = _condition_rows(report.conditions.before, report.conditions.after)
    table = [page.Table(("condition", "before", "after"), rows)] if rows else []
    return page.section("conditions", facts, *table)


def _facts(report: ProfileReport) -> list[tuple[str, str | None]]:
    machine, runs, device = report.device.machine, report.settings, report.device
    return [
        ("device", device.name),
        ("emulated processor" if device.emulated else "machine", device.cpu or (machine.name if machine else None)),
        ("processors", str(machine.processors) if machine and machine.processors else None),
        ("memory", bytes_of(machine.memory_bytes) if machine and machine.memory_bytes else None),
        ("kernel, C library", f"{machine.kernel}, glibc {machine.libc}" if machine and machine.kernel else None),
        ("compiled for", f"{report.target} ({report.arch}, {report.variant})"),
        ("input", report.input),
        ("runs", f"{runs.warmup} to warm up, then {runs.repeat}; {runs.step_runs} step by step" if report.runs else None),
        ("compiler", f"Edgewright {report.edgewright}"),
    ]


def _condition_rows(before: Conditions | None, after: Conditions | None) -> list[tuple[str, str, str]]:
    if before is None or after is None:
        return []
    rows = [
        ("clock governor", ", ".join(before.governors), ", ".join(after.governors)),
        ("clock", _megahertz(before.clock_khz), _megahertz(after.clock_khz)),
        ("highest clock", _megahertz(before.clock_max_khz), _megahertz(after.clock_max_khz)),
        ("throttled since boot", _known(before.throttle_count, "{}"), _known(after.throttle_count, "{}")),
        ("firmware flags", _known(before.throttled_flags, "{:#x}"), _known(after.throttled_flags, "{:#x}")),
        ("load", _known(before.load, "{:.2f}"), _known(after.load, "{:.2f}")),
    ]
    begins, ends = ([f"{zone.millicelsius / 1e3:.1f} °C" for zone in state.thermal] for state in (before, after))
    names = [zone.name or "temperature" for zone in before.thermal]
    rows += zip_longest(names, begins, ends[: len(names)], fillvalue="")
    return [row for row in rows if row[1] or row[2]]


def _next_steps(report: ProfileReport) -> list[tuple[str, str]]:
    if report.check.right is False:
        return [("edgewright run DIR --check", "compares on this machine; if that differs too, please report it as a bug")]
    if report.device.emulated:
        return [("edgewright profile DIR --device ssh://user@board", "measures times on a board")]
    repeat = "repeats it; set the clock governor to `performance` and stop other programs first, for times that repeat"
    return [
        (f"edgewright profile DIR --device {report.device.name}", repeat),
        ("edgewright profile DIR --estimate", "shows the estimate for the target beside these times"),
    ]


def _limits(report: ProfileReport) -> tuple[str, ...]:
    device = report.device
    named = {"profiled": bool(report.runs), "rpc": device.name.startswith("rpc:"), "emulated": device.emulated}
    return page.sentences(*(name for name, applies in named.items() if applies), "single")


def _verdict(report: ProfileReport) -> tuple[str, str]:
    """Return whether the outputs are right, and how that was checked."""
    check = report.check
    if check.right is None:
        return "not checked", "the artifact holds no graph to compare with"
    how = f"{several(check.values, 'value')} against the interpreter"
    if check.equal_bits:
        return "identical bits" if check.right else "other bits", how
    error = "not finite" if check.largest_error is None else f"{check.largest_error:.1e}"
    return "within tolerance" if check.right else "wrong", f"{how}, largest error {error} of the largest output"


def _relative(counted: InstructionCount) -> str:
    each = "" if counted.per_mac is None else f", {counted.per_mac:.3f} per product"
    return each + ("" if counted.of_tvm_default is None else f", {counted.of_tvm_default:.0%} of TVM's default pipeline")


def _figure(value: float | None, spelling: str = "") -> str:
    if value is None:
        return UNKNOWN
    return spelling.format(value) if spelling else f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _known(value: float | None, spelling: str) -> str:
    return "" if value is None else spelling.format(value)


def _megahertz(khz: Sequence[float]) -> str:
    if not khz:
        return ""
    low, high = min(khz) / 1e3, max(khz) / 1e3
    return f"{high:,.0f} MHz" if high - low < 1 else f"{low:,.0f} to {high:,.0f} MHz"
