"""What a report says of an engine: whether it is exact, its cycles, whether it fits, what limits it, its memory map."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report import hardware_plots
from edgewright.frontend.report.formats import UNKNOWN, count, several, share
from edgewright.frontend.report.page import Plot, Section, Table, Tile, section, sentences, tile, words
from edgewright.frontend.report.palette import legend
from edgewright.frontend.report.steps import by_kind
from edgewright.passes.results import OperationCost, Report

FITS = "Fits the board?"
_PRODUCTS_PER_DSP = 2  # of a DSP48E2 in int8 (Xilinx WP486)


def exactness_tiles(report: Report) -> tuple[Tile, ...]:
    """Whether the hardware stored the interpreter's bits."""
    label = "Hardware = integer model?"
    if report.bit_exact is None:
        return (tile(label, None, "run `edgewright simulate` to find out"),) if _counts(report) else ()
    compared = "" if report.tensors_compared is None else f", {report.tensors_compared:,} stored tensors"
    over = f"over {several(report.images, 'simulated image')}{compared}"
    return (tile(label, "bit-exact", over, "good") if report.bit_exact else tile(label, "differs", over, "bad"),)


def speed_tiles(report: Report) -> tuple[Tile, ...]:
    """Cycles and time of one image, and how well the DSPs are used."""
    if not _counts(report):
        return ()
    predicted, simulated = report.cycles.predicted, report.cycles.simulated
    note = "predicted, not simulated" if simulated is None else "simulated"
    if simulated and predicted:
        note = f"simulated; predicted {predicted:,} ({100 * (predicted / simulated - 1):+.1f} %)"
    time = tile("Time for one image", None)
    if report.latency_ms and report.clock_mhz:
        rate = f"{1000 / report.latency_ms:,.0f} images/s if the board reaches its {report.clock_mhz:g} MHz target"
        time = tile("Time for one image", f"{report.latency_ms:,.3g} ms", rate)
    products = report.products_per_dsp_per_cycle
    used, limit = None if products is None else f"{products:.2f}", f"{_PRODUCTS_PER_DSP:.2f} is the limit at int8"
    cycles = tile("Cycles for one image", f"{report.cycles.best_known:,}", note)
    return (cycles, *_memory_tiles(report), time, tile("Products per DSP and cycle", used, limit))


def _memory_tiles(report: Report) -> tuple[Tile, ...]:
    """What the cycles rest on: the memory behind the engine, and the cycles without its limits."""
    if report.memory is None:
        return ()
    names = {"board": f"that of the {report.target}", "ideal": "ideal: no board has it"}
    ideal = "" if report.memory.ideal_cycles is None else f"; {report.memory.ideal_cycles:,} predicted with an ideal memory"
    name = names.get(report.memory.name, report.memory.name)
    return (tile("External memory", name, report.memory.text + ideal),)


def fit_tiles(report: Report) -> tuple[Tile, ...]:
    """Whether the engine fits the board, and what is fullest."""
    resources = report.resources.by_name()
    shares = {name: entry.share for name, entry in resources.items() if entry.share is not None}
    if not shares:
        return (tile(FITS, None),) if _has_resources(report) else ()
    fullest = max(shares, key=lambda name: shares[name])
    note = f"fullest: {fullest}, {100 * shares[fullest]:.0f} % (estimate)"
    if unknown := [name for name in resources if name not in shares]:
        note += f"; not measured: {', '.join(unknown)}"
    return (tile(FITS, "yes", note, "good") if shares[fullest] <= 1 else tile(FITS, "no", note, "bad"),)


def cycles_sections(report: Report) -> tuple[Section, ...]:
    """Cycles of each operation and of each kind of operation."""
    operations = report.operations
    if all(op.cycles.best_known is None for op in operations):
        return ()
    whole, busy = count(report.cycles.best_known), _busy(report.macs, report.cycles.best_known, report)
    rows = []
    for row in by_kind(operations):
        counts = (count(row.macs), count(row.cycles))
        rows.append((row.kind, str(row.count), *counts, share(row.share or 0.0), _busy(row.macs, row.cycles, report)))
    kinds = Table(
        ("kind", "operations", "products (MACs)", "cycles", "share", "array busy"),
        rows,
        total=("whole image", str(len(operations)), count(report.macs), whole, "", busy),
    )
    columns = ("operation", "kind", "products (MACs)", "external bytes", "cycles predicted", "cycles simulated", "array busy")
    every = Table(columns, [_operation(op) for op in operations], text=(1,), fold=f"All {len(operations)} operations")
    plot = Plot(hardware_plots.cycles(operations), words("cycles.caption"), legend(op.kind for op in operations))
    return (section("cycles", plot, kinds, every, tag=_source(report)),)


def resource_sections(report: Report) -> tuple[Section, ...]:
    """The engine's resources beside the board's."""
    if not _has_resources(report):
        return ()
    resources = report.resources.by_name()
    rows = [(name, count(entry.used), count(entry.available), entry.source or UNKNOWN) for name, entry in resources.items()]
    table = Table(("resource", "used", "on the board", "where “used” comes from"), rows, text=(3,))
    caption = words("resources.caption", target=report.target)
    return (section("resources", Plot(hardware_plots.resources(resources), caption), table),)


def clock_sections(report: Report) -> tuple[Section, ...]:
    """The slowest chain of each process beside the target clock's period."""
    if not report.chains or not report.clock_mhz:
        return ()
    period = 1000 / report.clock_mhz
    rows = [(chain.process, f"{chain.ns:.2f}", f"{period - chain.ns:.2f}", chain.where, chain.path) for chain in report.chains]
    columns = ("process", "ns", "ns to spare", "source line", "from register to register")
    table = Table(columns, rows, text=(3, 4), fold=f"All {len(rows)} processes", wraps=True)
    slowest = report.chains[0]
    text = words("clock.slowest", process=slowest.process, ns=f"{slowest.ns:.2f}", period=f"{period:.2f}")
    return (section("clock", text, table),)


def roofline_sections(report: Report) -> tuple[Section, ...]:
    """Which operations wait for the array and which for external memory."""
    svg = hardware_plots.roofline(report.operations, report.roofline)
    if svg is None:
        return ()
    return (section("roofline", Plot(svg, words("roofline.caption")), tag=_source(report)),)


def facts(report: Report) -> tuple[tuple[str, str | None], ...]:
    """The clock, and how the simulation ran."""
    if not _counts(report):
        return ()
    run, clock = report.simulation, report.clock_mhz
    facts = [("target clock", None if clock is None else f"{clock:g} MHz, a target: nothing has been placed and routed")]
    if run.simulator is None:
        return (*facts, ("simulation", "not simulated yet"))
    build = "from the cache" if not run.build_seconds else f"{run.build_seconds:,.1f} s"
    seconds = None if run.seconds is None else f"{run.seconds:,.1f} s for {several(report.images, 'image')}"
    speed = None if run.kcycles_per_s is None else f"{run.kcycles_per_s:,.0f} thousand cycles per second"
    simulator = (("simulator", run.simulator), ("simulator build", build))
    return (*facts, *simulator, ("simulation", seconds), ("simulation speed", speed))


def limits(report: Report) -> tuple[str, ...]:
    """What a reader could wrongly conclude from the figures."""
    if not _counts(report):
        return ()
    shown = "Nothing has been simulated yet: cycles are predictions. `edgewright simulate` counts them."
    if report.bit_exact is not None:
        shown = f"Bit-exactness was shown for {several(report.images, 'image')}, not proved for every input."
    return (shown, *sentences("engine"))


def next_steps(report: Report) -> tuple[tuple[str, str], ...]:
    """Simulate, or go on to the vendor's tools."""
    if not _counts(report):
        return ()
    simulate = "edgewright simulate DIR --images DATA.npz --samples 16"
    if any((entry.share or 0) > 1 for entry in report.resources.by_name().values()):
        return (("edgewright targets", "lists the boards: this design does not fit its own"),)
    if report.bit_exact is None:
        return ((simulate, "counts cycles and compares every stored tensor with the integer model, bit for bit"),)
    if not report.bit_exact:
        return (("edgewright simulate DIR --wave OUT.fst", "records waveforms of the difference; please report it as a bug"),)
    return (
        (simulate, "simulates more images, and with `--hls` the C++ too"),
        ("DIR/rtl, DIR/hls", "hold the design for Vivado and for Vitis HLS"),
    )


def _counts(report: Report) -> bool:
    return report.cycles.best_known is not None


def _has_resources(report: Report) -> bool:
    return any(entry.used is not None or entry.available is not None for entry in report.resources.by_name().values())


def _source(report: Report) -> str:
    return "predicted" if report.cycles.simulated is None else "counted in simulation"


def _operation(op: OperationCost) -> tuple[str | None, ...]:
    busy = UNKNOWN if op.utilisation is None else f"{100 * op.utilisation:.1f} %"
    counts: Sequence[int | None] = (op.macs, op.bytes, op.cycles.predicted, op.cycles.simulated)
    return (op.name, op.kind, *map(count, counts), busy)


def _busy(macs: int | None, cycles: int | None, report: Report) -> str:
    peak = report.roofline.macs_per_cycle
    return "n/a" if not cycles or not peak or macs is None else f"{100 * macs / cycles / peak:.1f} %"
