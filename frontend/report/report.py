"""report.html and report.json of a compilation or simulation.

The JSON is the report (report.schema.json describes it); the page and the terminal show nothing else. What they say comes from
the parts of the report: each function below returns nothing where the report lacks its part, so a new kind of target needs no
change here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from edgewright.frontend.report import changes, hardware, page, plots, processor, quality, storage, timeline
from edgewright.frontend.report.formats import several, si
from edgewright.passes.results import Report

T = TypeVar("T")
RANDOM_CALIBRATION = "Calibrated with random inputs."
TILES = (
    hardware.exactness_tiles,
    processor.latency_tiles,
    quality.accuracy_tiles,
    hardware.speed_tiles,
    hardware.fit_tiles,
    processor.artifact_tiles,
)
SECTIONS = (
    processor.latency_sections,
    processor.time_sections,
    quality.accuracy_sections,
    changes.sections,
    quality.noise_sections,
    hardware.cycles_sections,
    timeline.sections,
    timeline.agreement_sections,
    hardware.resource_sections,
    hardware.clock_sections,
    hardware.roofline_sections,
    storage.sections,
    processor.artifact_sections,
)
FACTS = (hardware.facts, processor.facts)
NEXT = (quality.next_steps, hardware.next_steps, processor.next_steps)
LIMITS = (hardware.limits, processor.limits)


def files(report: Report) -> dict[str, bytes]:
    """Return both files by name."""
    return page.files_of("report", to_html(report), report)


def to_html(report: Report) -> str:
    """Return the page of a compilation or simulation."""
    where = report.target + (f" ({report.part})" if report.part else "")
    footer = (
        f"Edgewright {report.edgewright} · the same figures for programs: `report.json`, schema version {report.schema_version}"
    )
    last = (
        made(report, facts(report)),
        page.section("next", page.Steps(_all(NEXT, report))),
        page.section("limits", page.Bullets(_all(LIMITS, report))),
    )
    sections = (*_all(SECTIONS, report), *last)
    return page.html(page.Page(report.model, f"on {where}", subtitle(report), banners(report), tiles(report), sections, footer))


def made(report: Report, rows: tuple[tuple[str, str | None], ...]) -> page.Section:
    """Return the section on how the figures were made: the compiler's stages, and facts."""
    return page.section("made", page.Plot(plots.stages(report.stages), page.words("made.caption")), page.FactTable(rows))


def banners(report: Report) -> tuple[page.Banner, ...]:
    """Return what to read before anything else: random calibration first, then a mismatch, then notes."""
    urgent = []
    if report.calibration.kind == "random":
        text = "Accuracy and noise figures say nothing about real data; cost and speed are unaffected."
        urgent.append(page.Banner(RANDOM_CALIBRATION, text))
    if wrong := report.mismatch:
        index = list(wrong.index)
        text = (
            f"First at operation {wrong.operation}, tensor {wrong.tensor}{index}: expected {wrong.expected}, the hardware "
            f"stored {wrong.found}."
        )
        urgent.append(page.Banner("The hardware differs from the integer model.", text, "bad"))
    return (*urgent, *(page.Banner("Note.", note) for note in report.notes))


def subtitle(report: Report) -> str:
    """Return one line about the model."""
    parts = [f"{report.precision} model"]
    if report.parameters is not None:
        parts.append(f"{si(report.parameters)} parameters")
    if report.macs is not None:
        given = "" if report.macs_given in (None, report.macs) else f", {si(report.macs_given)} in the model as given"
        parts.append(f"{si(report.macs)} products (MACs) for one inference{given}")
    return ", ".join([*parts, several(len(report.operations), "fused operation")])


def tiles(report: Report) -> tuple[page.Tile, ...]:
    """Return the figures of the headline."""
    return _all(TILES, report)


def facts(report: Report) -> tuple[tuple[str, str | None], ...]:
    """Return how the figures were made, as terms and values."""
    calibration, memory = report.calibration, report.peak_memory_mib
    where = {"random": "random inputs", "data": "your data"}.get(calibration.kind or "")
    images = "" if calibration.images is None else f", {several(calibration.images, 'image')}"
    how = f"; {calibration.how}" if calibration.how else ""
    method = "" if calibration.method is None else f", {calibration.method}"
    calibrated = (("calibration", where and f"{where}{images}{method}{how}"),) if report.precision != "fp32" else ()
    return (
        *calibrated,
        *_all(FACTS, report),
        ("peak memory of the compiler", None if memory is None else f"{memory:,.0f} MiB"),
    )


def _all(parts: tuple[Callable[[Report], tuple[T, ...]], ...], report: Report) -> tuple[T, ...]:
    return tuple(item for part in parts for item in part(report))
