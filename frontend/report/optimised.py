"""The page of `optimise`: what the passes cost and saved."""

from __future__ import annotations

from edgewright.frontend.report import changes
from edgewright.frontend.report import report as report_files
from edgewright.frontend.report.page import Banner, Bullets, Page, Steps, html, section, sentences
from edgewright.passes import results


def to_html(report: results.Report, file: str) -> str:
    """Return the page of small.report.html; ``file``: the name of the ONNX file."""
    rows = (
        ("estimates for", f"{report.target}, {report.precision}"),
        ("peak memory", f"{report.peak_memory_mib or 0:,.0f} MiB"),
    )
    sections = (
        *changes.sections(report),
        report_files.made(report, rows),
        section("next", Steps(next_steps(file))),
        section("limits", Bullets(sentences("optimised"))),
    )
    banners = [Banner("Note.", note) for note in report.notes]
    footer = (
        f"Edgewright {report.edgewright} · the same figures for programs: the `.report.json` beside this page, schema version "
        f"{report.schema_version}"
    )
    return html(Page(report.model, "optimised", subtitle(report), banners, changes.tiles(report), sections, footer))


def subtitle(report: results.Report) -> str:
    """Return one line on the passes that ran."""
    names = [change.name for change in report.changes]
    return f"{', then '.join(names)}, then the exact passes" if names else "the exact passes alone: the same values"


def next_steps(file: str) -> list[tuple[str, str]]:
    """Return commands and what they are for."""
    return [
        (f"edgewright inspect {file}", "shows what is left, and which boards run it"),
        (f"edgewright compile {file} --target rpi5 --calibration DATA.npz", "compiles it for a CPU board, in int8"),
        (
            f"edgewright compile {file} --target zcu104 --calibration DATA.npz",
            "builds an FPGA engine, if inspect says that it fits",
        ),
    ]
