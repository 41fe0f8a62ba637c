"""`optimise`: passes without a target, from an ONNX file to a smaller one, with what they cost beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgewright import __version__
from edgewright.frontend.build import parameters_of, source_name
from edgewright.frontend.files.publish import check_file, replace_files
from edgewright.frontend.onnx_reading.reader import ModelSource, read_model
from edgewright.frontend.pricing import Pricing
from edgewright.frontend.report import report as report_files
from edgewright.frontend.report.report_changes import tiles
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.frontend.reshaping.reshape import Reshaped, check_data, reshape
from edgewright.frontend.reshaping.resume import Run, key_of
from edgewright.frontend.samples.labelled import load_material
from edgewright.frontend.target import Clock
from edgewright.passes import results
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import optimise as exact_passes
from edgewright.passes.transform import Progress, Statistics
from edgewright.targets.device import Device, load


@dataclass(frozen=True, slots=True)
class Optimised:
    """What was written: the ONNX file and its report."""

    path: Path
    graph: Graph
    report: results.Report

    @property
    def page(self) -> Path:
        """The HTML report."""
        return beside(self.path, ".report.html")

    def html(self) -> str:
        """The report as a page."""
        return to_html(results.to_data(self.report), self.path.name)


def beside(path: Path, ending: str) -> Path:
    """small.onnx -> small.report.html and the like."""
    return path.with_name((path.stem if path.suffix == ".onnx" else path.name) + ending)


def optimise(
    source: ModelSource,
    output: str | Path,
    *,
    data: str | Path | None = None,
    reshaping: Reshaping | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    target: str = "host",
    precision: str | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Optimised:
    """Runs the passes that ``reshaping`` asks for, then the exact ones, and writes ``output`` (ONNX) with its report.

    ``data``: an npz file to learn from and to measure on. ``target``, ``precision``: what latency and memory are estimated
    for; nothing is compiled. ``checkpoints``: a folder from which a run continues with ``resume``. Raises
    ``CompileError`` with every reason; nothing is then written.
    """
    from edgewright.frontend.onnx_writing.writer import with_own_names, write_float

    path, options = Path(output), reshaping or Reshaping()
    check_files(path, source, data)
    device = load(target)
    check_data(options, data is not None)
    clock = Clock(progress)
    with clock.stage("read"):
        graph = read_model(source, shapes or {})
        material = None if data is None else load_material(data, graph, options.seed)
    run = None
    if checkpoints is not None:
        key = key_of(graph, options.manifest(), None if data is None else Path(data))
        run = Run.begin(Path(checkpoints), key, resume)
    pricing = Pricing(device, precision or ("int8" if device.kind == "fpga" else "fp32"))
    with clock.stage("reshape"):
        done = reshape(graph, options, material, pricing, clock.progress, run) if options.asks else Reshaped(graph, ())
    with clock.stage("passes"):
        final, statistics = exact_passes(done.graph)
        content = with_own_names(write_float(final), final).SerializeToString(deterministic=True)
    report = _report(source_name(source), device, pricing, graph, final, done, clock, statistics)
    made = Optimised(path, final, report)
    page, figures = made.html(), report_files.to_text(results.to_data(report))
    replace_files({path: content, made.page: page.encode(), beside(path, ".report.json"): figures.encode()})
    return made


def check_files(path: Path, source: ModelSource, data: str | Path | None = None) -> None:
    """Refuse early what could not be written later: a folder, an unwritable place, the model itself or its data."""
    given = {"model": source, "data": data}
    read = {Path(one): what for what, one in given.items() if isinstance(one, str | os.PathLike)}
    for one in (path, beside(path, ".report.html"), beside(path, ".report.json")):
        check_file(one, read)


def _report(
    name: str,
    device: Device,
    pricing: Pricing,
    graph: Graph,
    final: Graph,
    done: Reshaped,
    clock: Clock,
    statistics: tuple[Statistics, ...],
) -> results.Report:
    nodes = f"exact passes: {statistics[0].nodes_before} nodes before, {statistics[-1].nodes_after} after"
    return results.Report(
        model=name,
        target=device.name,
        edgewright=__version__,
        part=device.part,
        precision=pricing.precision,
        macs=sum(node.work.macs for node in final.nodes()),
        parameters=parameters_of(final),
        **clock.figures(),
        changes=done.changes,
        notes=(*done.notes, *((f"Nothing approximate was asked for; {nodes}.",) if not done.changes else ())),
    )


def to_html(data: Mapping[str, Any], file: str) -> str:
    """The page of small.report.html."""
    from edgewright.frontend.report import report_plots

    view = {
        "banners": [{"mood": "warn", "title": "Note.", "text": note} for note in data["notes"]],
        "subtitle": subtitle(data),
        "tiles": tiles(data),
        **report_files.changed(data),
        "facts": [
            ("estimates for", f"{data['target']}, {data['precision']}"),
            ("peak memory", f"{data['peak_memory_mib']:,.0f} MiB"),
        ],
        "steps": next_steps(file),
        "limits": [
            "No board was run: latencies and cycles come from models of the target, memory from laying the program out.",
            "Accuracy and agreement hold for the samples they were measured on; other data can differ.",
        ],
    }
    figures = {"stages": report_plots.stages(data["stages"]), **report_files.drawn_changes(data)}
    return report_files.rendered("report_optimised.html.j2", data, view, figures)


def subtitle(data: Mapping[str, Any]) -> str:
    """One sentence about what is left."""
    names = [one["name"] for one in data["changes"]]
    return f"{', then '.join(names)}, then the exact passes" if names else "the exact passes alone: the same values"


def next_steps(file: str) -> list[tuple[str, str]]:
    """Commands and what they tell."""
    return [
        (f"edgewright inspect {file}", "what is left, and which boards run it"),
        (f"edgewright compile {file} --target rpi5 --calibration DATA.npz", "code for a CPU board, in int8"),
        (f"edgewright compile {file} --target zcu104 --calibration DATA.npz", "an FPGA engine, if inspect says that one fits"),
    ]
