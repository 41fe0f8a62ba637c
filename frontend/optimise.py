"""`optimise`: run passes on an ONNX file without compiling it, and report their cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewright import __version__
from edgewright.frontend.build import source_name
from edgewright.frontend.files.publish import check_file, replace_files
from edgewright.frontend.onnx_reading.modules import AnyModel, as_source
from edgewright.frontend.onnx_reading.reader import ModelSource, read_model
from edgewright.frontend.pricing import Pricing
from edgewright.frontend.report import optimised as optimised_page
from edgewright.frontend.report.page import json_text
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.frontend.reshaping.reshape import Reshaped, check_data, reshape
from edgewright.frontend.reshaping.resume import ResumableRun
from edgewright.frontend.samples.labelled import load_material
from edgewright.frontend.samples.preprocess import Preprocess
from edgewright.frontend.samples.readings import reading_of
from edgewright.frontend.samples.stores import DataSource
from edgewright.frontend.target import Clock
from edgewright.passes import results
from edgewright.passes.ir import Graph
from edgewright.passes.pipeline import optimise as exact_passes
from edgewright.passes.structure.sub_model_shape import footprint
from edgewright.passes.transform import Progress
from edgewright.targets.device import load


@dataclass(frozen=True, slots=True, repr=False)
class Optimised:
    """The ONNX file that was written, and its report."""

    path: Path
    graph: Graph
    report: results.Report

    @property
    def page(self) -> Path:
        """The path of the HTML report."""
        return beside(self.path, ".report.html")

    def __repr__(self) -> str:
        return f"<Optimised {self.path}: {len(self.report.changes)} passes changed it; report {self.page}>"

    def html(self) -> str:
        """Return the report as a page."""
        return optimised_page.to_html(self.report, self.path.name)


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file beside the model: small.report.html for small.onnx."""
    return path.with_name((path.stem if path.suffix == ".onnx" else path.name) + ending)


def optimise(
    source: AnyModel,
    output: str | Path,
    *,
    data: DataSource | None = None,
    preprocess: str | Path | Preprocess | None = None,
    reshaping: Reshaping | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    target: str = "host",
    precision: str | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Optimised:
    """Run the passes that ``reshaping`` names, then the exact ones, and write ``output`` (ONNX) with its report.

    ``data``: samples to learn from and to measure on, pictures made inputs by ``preprocess``. ``target``, ``precision``: what
    latency and memory are estimated for; nothing is compiled. ``checkpoints``: a folder from which ``resume`` continues an
    interrupted run. Raises ``CompileError`` with every reason; nothing is then written.
    """
    from edgewright.frontend.onnx_writing.writer import with_own_names, write_float

    source = as_source(source, shapes, data)
    path, options = Path(output), reshaping or Reshaping()
    check_files(path, source, data)
    device = load(target)
    check_data(options, data is not None)
    clock = Clock(progress)
    with clock.stage("read"):
        graph = read_model(source, shapes or {})
        reading = reading_of(graph, preprocess)
        material = None if data is None else load_material(data, graph, options.seed, reading=reading)
    run = ResumableRun.of(checkpoints, graph, options.manifest(), data, resume, reading.preprocess)
    pricing = Pricing(device, precision or ("int8" if device.kind == "fpga" else "fp32"))
    with clock.stage("reshape"):
        done = reshape(graph, options, material, pricing, clock.progress, run) if options.asks else Reshaped(graph, ())
    with clock.stage("passes"):
        final, statistics = exact_passes(done.graph)
        content = with_own_names(write_float(final), final).SerializeToString(deterministic=True)
    nodes = f"exact passes: {statistics[0].nodes_before} nodes before, {statistics[-1].nodes_after} after"
    size = footprint(final)
    report = results.Report(
        model=source_name(source),
        target=device.name,
        edgewright=__version__,
        part=device.part,
        precision=pricing.precision,
        macs=size.macs,
        parameters=size.parameters,
        **clock.figures(),
        changes=done.changes,
        notes=(*done.notes, *((f"No approximate pass was requested; {nodes}.",) if not done.changes else ())),
    )
    made = Optimised(path, final, report)
    page, figures = made.html(), json_text(report)
    replace_files({path: content, made.page: page.encode(), beside(path, ".report.json"): figures.encode()})
    return made


def check_files(path: Path, source: ModelSource, data: DataSource | None = None) -> None:
    """Refuse early what could not be written later: a folder, an unwritable place, the model itself or its data."""
    named = {"model": source, "data": data}
    read = {Path(file): role for role, file in named.items() if isinstance(file, str | os.PathLike)}
    for written in (path, beside(path, ".report.html"), beside(path, ".report.json")):
        check_file(written, read)
