"""What a report says of code for a processor: estimated latency, where the time goes, what the code needs to run.

All latencies are estimates here; nothing was timed when a report is written.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.report import page, processor_plots
from edgewright.frontend.report.formats import about, between, bytes_of, count, kind_title, several, share, threads_of
from edgewright.frontend.report.palette import legend
from edgewright.frontend.report.steps import time_blocks, times
from edgewright.passes.results import CpuArtifact, Latency, Published, Report

UNTIMED = "estimate, nothing was timed"
LIMITS = {
    "products": "multiply-adds of products",
    "rows": "elementwise and row work",
    "L2": "transfers from the L2 cache",
    "L3": "transfers from the L3 cache",
    "memory": "transfers from memory",
    "overhead": "calls and waking threads",
}
_MENTIONED = 0.05  # a smaller share of the time is not named in the headline


def latency_tiles(report: Report) -> tuple[page.Tile, ...]:
    """The estimate for each number of threads, and what holds it back."""
    if not report.latency:
        if report.artifact is None:
            return ()
        because = "the target's processor does not run these kernels, or is not known"
        return (page.Tile("Estimated latency", "not estimated", because, "none"),)
    first, tiles, limits = report.latency[0], [], []
    for estimate in report.latency:
        low, high = estimate.low_ms, estimate.high_ms
        note = UNTIMED
        if estimate is first:
            note += f"; {between(1000 / high, 1000 / low)} per second" if low > 0 else ""
        else:
            gains = sorted((first.low_ms / low, first.high_ms / high)) if low > 0 else [1.0, 1.0]
            note += f"; {between(*gains)} times as fast as {threads_of(first.threads)}"
        tiles.append(page.Tile(f"Estimated latency, {threads_of(estimate.threads)}", f"{between(low, high)} ms", note))
        limits.append(f"{threads_of(estimate.threads)}: {_limits(estimate)}")
    most = max(first.limits, key=lambda name: first.limits[name])
    return (*tiles, page.Tile("Held back by (estimate)", most, "; ".join(limits)))


def artifact_tiles(report: Report) -> tuple[page.Tile, ...]:
    """Memory while it runs, and the kernels."""
    code = report.artifact
    if code is None:
        return ()
    weights, temporaries = code.weights_bytes, code.temporaries_bytes
    note = f"weights {bytes_of(weights)}, temporaries {bytes_of(temporaries)}; library {bytes_of(code.library_bytes)}"
    names = code.features
    listed = ", ".join(names) if len(names) <= 3 else f"{', '.join(names[-2:])} and {len(names) - 2} more"
    return (
        page.tile("Memory while it runs", bytes_of(weights + temporaries), note),
        page.tile("Kernels", code.variant, f"{code.arch}{f', needs {listed}' if names else ''}"),
    )


def latency_sections(report: Report) -> tuple[page.Section, ...]:
    """The estimated range for each number of threads, beside what others published."""
    if not report.latency:
        return ()
    first = report.latency[0]
    rows = []
    for row in report.latency:
        rows.append((threads_of(row.threads), f"{about(row.low_ms)} ms", f"{about(row.high_ms)} ms", _limits(row)))
    estimates = page.Table(("threads", "at best", "at worst", "held back by (share of the time)"), rows, text=(3,), wraps=True)
    ends = page.FactTable((("at best means", first.assumptions_low), ("at worst means", first.assumptions_high)))
    others: tuple[page.Heading | page.Table, ...] = ()
    if report.published:
        columns = ("mark and model", "relative products", "threads", "ms", "with", "what differs, and the source")
        published = [_published(number, row) for number, row in enumerate(report.published, 1)]
        heading = page.Heading("What others measured on such a processor")
        others = (heading, page.Table(columns, published, text=(4, 5), wraps=True))
    caption = page.words("latency.published" if report.published else "latency.caption")
    plot = page.Plot(processor_plots.latency(report.latency, report.published), caption)
    return (page.section("latency", plot, estimates, ends, *others, core=first.core, target=report.target),)


def time_sections(report: Report) -> tuple[page.Section, ...]:
    """Where the time goes by the estimate for one thread; without an estimate, where the products are."""
    operations = report.operations
    if not operations or any(op.cycles.best_known is not None for op in operations):
        return ()
    rows = [(op.name, kind_title(op.kind), count(op.macs), count(op.bytes)) for op in operations]
    columns, fold = ("step", "kind", "products (MACs)", "bytes touched"), f"All {several(len(operations), 'step')}"
    if not report.latency:
        return (page.section("work", *time_blocks(operations), page.Table(columns, rows, text=(1,), fold=fold)),)
    names = limit_names(report.latency)
    plot = processor_plots.limits(report.latency, names)
    waits = page.Plot(plot, page.words("time.limits_caption"), legend(LIMITS.get(name, name) for name in names))
    blocks = time_blocks(operations, page.Heading("What it waits for"), waits, page.Heading("Step by step"))
    cells = [(*row, *times(op), op.limit or "") for row, op in zip(rows, operations, strict=True)]
    table = page.Table((*columns, "time", "GOP/s", "waits for"), cells, text=(1, 6), fold=fold)
    return (page.section("time", *blocks, table, tag="estimate for 1 thread"),)


def artifact_sections(report: Report) -> tuple[page.Section, ...]:
    """What the code is, and what it needs to run."""
    if report.artifact is None:
        return ()
    return (
        page.section("artifact", page.Table(("part", "what", "meaning"), _needs(report.artifact), text=(1, 2), wraps=True)),
    )


def facts(report: Report) -> tuple[tuple[str, str | None], ...]:
    """The processor's clock."""
    if report.artifact is None or report.clock_mhz is None:
        return ()
    return (("processor clock", f"{report.clock_mhz:,g} MHz, which all cores are assumed to keep up"),)


def limits(report: Report) -> tuple[str, ...]:
    """What a reader could wrongly conclude from the figures."""
    if report.artifact is None:
        return ()
    names = ["estimated" if report.latency else "untimed", *(["published"] if report.published else [])]
    return page.sentences(*names, "float" if report.precision == "fp32" else "integer")


def next_steps(report: Report) -> tuple[tuple[str, str], ...]:
    """Run, check and profile the code."""
    if report.artifact is None:
        return ()
    measured = "times it for several thread counts and step by step, and writes profile.html"
    if report.target == "host":
        exact = "same values" if report.precision == "fp32" else "same bits"
        return (
            ("edgewright run DIR --check", f"runs the samples in it and compares with the interpreter: {exact}"),
            ("edgewright profile DIR --device local", measured),
        )
    return (
        ("edgewright profile DIR --device ssh://user@board", f"copies it to the board, {measured}"),
        ("edgewright profile DIR --device qemu", "without a board: checks its outputs and counts instructions in emulation"),
    )


def limit_names(estimates: Sequence[Latency]) -> list[str]:
    """Return the limits that take a share of some estimate, in the order of LIMITS; others after them."""
    taken = [name for estimate in estimates for name, part in estimate.limits.items() if part > 0]
    return list(dict.fromkeys([*(name for name in LIMITS if name in taken), *taken]))


def _limits(estimate: Latency) -> str:
    ranked = sorted(estimate.limits.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{name} {share(part)}" for name, part in ranked if part >= _MENTIONED)


def _needs(code: CpuArtifact) -> list[tuple[str, str, str]]:
    features = ", ".join(code.features) or "nothing beyond the architecture"
    return [
        ("kernels", f"{code.variant} ({code.arch})", f"needs {features}; checked before it runs"),
        ("library", bytes_of(code.library_bytes), "machine code, model.so"),
        ("weights", bytes_of(code.weights_bytes), "packed for these kernels, weights.bin"),
        ("temporaries", bytes_of(code.temporaries_bytes), "values between the steps, which share addresses once they are dead"),
        ("while it runs", bytes_of(code.weights_bytes + code.temporaries_bytes), "weights and temporaries"),
    ]


def _published(number: int, row: Published) -> tuple[page.Marked | str, ...]:
    return (
        page.Marked(row.model, mark=str(number)),
        about(row.macs_ratio),
        "not stated" if row.threads is None else str(row.threads),
        f"{row.ms:,.3g}" if row.ms < 1000 else f"{row.ms:,.0f}",
        f"{row.precision}, {row.runtime}",
        page.Marked(row.differs, below=row.source),
    )
