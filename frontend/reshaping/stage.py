"""The compiler's stages before quantisation: read the model, then run the passes that make it smaller, with checkpoints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from edgewright.frontend.bundle import figures
from edgewright.frontend.checkpoints import checkpoint_files, checkpoint_of
from edgewright.frontend.data import Samples, input_shapes, load_samples, random_samples, unbatched_inputs
from edgewright.frontend.labelled import Labelled, Material, load_material, load_measured
from edgewright.frontend.onnx_reading.reader import ModelSource, read_model
from edgewright.frontend.reshaping.reshape import check_data, reshape
from edgewright.frontend.reshaping.resume import ResumableRun, file_digest
from edgewright.frontend.snapshot import Pricing
from edgewright.hw.emit import to_json
from edgewright.passes.diagnostics import CompileError, Exit, fail
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.results import Change
from edgewright.targets.device import Device

if TYPE_CHECKING:
    from edgewright.frontend.driver import Clock, Options

STAGES = ("read", "reshape", "passes", "plan", "emit")
CALIBRATION_IMAGES = 32
"""As in RepQ-ViT; more made no difference on the example models."""
RECORD = "reshape.json"


@dataclass(frozen=True, slots=True)
class Record:
    """Passes of the compilation that made a checkpoint. data: digest of the file that they learned from."""

    options: dict[str, Any] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    data: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The float graph to compile, and the material if passes learned from some of it."""

    graph: Graph
    record: Record = Record()
    material: Material | None = None


def prepared(
    source: ModelSource, options: Options, device: Device, previous: Path | None, clock: Clock, files: dict[str, bytes]
) -> Prepared:
    """Read and reshape the model, or load the checkpoints of an earlier compilation. Only for starts up to "passes".

    CompileError with what reading, the passes or their data refuse; U033 for a checkpoint of other passes."""
    start = STAGES.index(options.start_from)
    data = options.data or (None if options.calibration == "random" else options.calibration)
    check_data(options.reshaping, data is not None)
    record = check_record(options, previous) if start == STAGES.index("passes") else Record()
    with clock.stage("read"):
        graph = read_model(source, options.shapes) if start == 0 else checkpoint_of(previous, "read")
        files |= checkpoint_files("read", graph)
    if record.options:
        with clock.stage("reshape"):
            material = _same_material(data, record, graph)
            graph = checkpoint_of(previous, "reshape")
    elif not options.reshaping.asks:
        return Prepared(graph)
    else:
        with clock.stage("reshape"):
            material = None if data is None else load_material(data, graph, options.reshaping.seed)
            run = None
            if options.checkpoints is not None:
                run = ResumableRun.of(options.checkpoints, graph, options.reshaping.manifest(), data, options.resume)
            pricing = Pricing(device, options.precision, options.variant)
            done = reshape(graph, options.reshaping, material, pricing, clock.progress, run)
            digest = None if data is None else file_digest(Path(data))
            record = Record(options.reshaping.manifest(), done.changes, done.notes, digest)
            graph = done.graph
    files |= checkpoint_files("reshape", graph)
    files[f"checkpoints/{RECORD}"] = to_json(msgspec.to_builtins(record))
    return Prepared(graph, record, material)


def record_of(previous: Path | None) -> Record:
    """Return the record of the passes before the checkpoints; empty without passes."""
    if previous is None or not (previous / "checkpoints" / RECORD).is_file():
        return Record()
    return figures(previous, f"checkpoints/{RECORD}", Record)


def check_record(options: Options, previous: Path | None) -> Record:
    """Return the record for a start at "passes" or after. CompileError U033 when other passes are requested."""
    record = record_of(previous)
    if options.reshaping.asks and options.reshaping.manifest() != record.options:
        was = ", ".join(f"{name} {value}" for name, value in record.options.items()) or "no passes"
        fail(
            "U033",
            "the checkpoint was reshaped in another way",
            f"--from {options.start_from}",
            f"it was made with {was}",
            "start with --from reshape, or omit the options of the passes",
            exit=Exit.USAGE,
        )
    return record


def _same_material(data: str | None, record: Record, graph: Graph) -> Material | None:
    """Return the material if the file is the one that the passes learned from."""
    if data is None or record.data is None or not Path(data).is_file() or file_digest(Path(data)) != record.data:
        return None
    return load_material(data, graph, int(record.options.get("seed", 0)))


def calibration_samples(options: Options, prepared: Prepared) -> tuple[Samples, Labelled | None]:
    """Return (samples to calibrate on, data to measure accuracy on); never those that passes learned from."""
    graph = prepared.graph
    shapes, ranges = input_shapes(graph), input_ranges(graph)
    if options.calibration == "random":
        return random_samples(shapes, CALIBRATION_IMAGES, ranges=ranges), None
    path = options.calibration or options.data
    if path is None:
        fail(
            "D010",
            "there are no calibration images",
            "--calibration",
            "the ranges of activations come from images like those the model will see",
            "give --calibration data.npz (arrays named after the inputs, or `images`), or --calibration random to see cycles "
            "and resources only",
            exit=Exit.USAGE,
        )
    if prepared.material is not None and (options.calibration is None or options.data in (None, options.calibration)):
        learn = prepared.material.learn
        return Samples(learn.inputs, None, learn.source).first(CALIBRATION_IMAGES), prepared.material.measure
    evaluation = load_measured(path, graph)
    try:
        calibration = load_samples(path, shapes, True, ranges, unbatched_inputs(graph))
    except CompileError:
        if evaluation is not None:
            raise
        learn = load_material(path, graph).learn  # only `train_` arrays
        calibration = Samples(learn.inputs, None, learn.source)
    return calibration.first(CALIBRATION_IMAGES), evaluation
