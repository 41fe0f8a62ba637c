"""The line from a model to a bundle, in this order: read, reshape, passes, quantise, measure, the target's stages, publish.

Each stage leaves a checkpoint in the bundle, from which `--from` starts.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from edgewright.frontend.bundle import KEPT_SAMPLES, SAMPLES_FILE, Bundle
from edgewright.frontend.files.checkpoints import checkpoint_files, checkpoint_of
from edgewright.frontend.files.npz import npz
from edgewright.frontend.files.ownership import hashes_of
from edgewright.frontend.files.publish import check_place
from edgewright.frontend.onnx_reading.modules import AnyModel, as_source
from edgewright.frontend.onnx_reading.reader import ModelSource, read_with_facts
from edgewright.frontend.option_table import check_targets, with_options
from edgewright.frontend.options import STAGES, Options, check_lonely
from edgewright.frontend.samples.calibrating import CALIBRATED, ChosenSamples, calibrated_file
from edgewright.frontend.samples.data import check_ranges, input_shapes, random_samples
from edgewright.frontend.samples.labelled import Labelled
from edgewright.frontend.samples.normalisation import guessing, unlike_normalised
from edgewright.frontend.samples.readings import kept_files, kept_reading, reading_of
from edgewright.frontend.samples.scores import TOP1, classes_of, measured_scores, output_of, targets_of
from edgewright.frontend.stages import FloatModel, calibration_samples, earlier_record, reshaped
from edgewright.frontend.target import Clock, Measured, Prepared, Target, target_of
from edgewright.passes.documents import to_json
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir import Graph
from edgewright.passes.manifest import read_figures, read_files
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.passes.quantisation.sqnr import sqnr_rows
from edgewright.passes.results import OutputAccuracy
from edgewright.passes.structure.sub_model_shape import footprint
from edgewright.targets.device import load_supported

EVALUATION_MACS = 4e10
"""Products spent on each accuracy figure: thousands of small images, a few dozen of 224 x 224."""
NOISE_IMAGES = 8
MEASURED = "checkpoints/measured.json"
LATER_STAGES = STAGES[STAGES.index("plan") :]
"""Stages of the target, whose checkpoints it makes again or reads itself."""
OWN_NUMERICS = (
    "Quantised for CPUs alone (--numerics target), with RMSNorm in place of LayerNorm: the integers are not those of other "
    "targets."
)


@with_options(Options)
def compile(source: AnyModel, options: Options) -> Bundle[Any]:
    """Compile an ONNX file, an ``onnx.ModelProto`` or a ``torch.nn.Module`` for a board, and return the bundle in its folder.

    Raises ``CompileError`` with every reason; nothing is then written."""
    return compile_with(as_source(source, options.shapes, options.calibration_data), options)


def compile_with(source: ModelSource, options: Options) -> Bundle[Any]:
    """Compile as `compile` does, with the options as one value."""
    directory = Path("build") / folder_name(source_name(source)) if options.output is None else Path(options.output)
    check_place(directory)
    return build(source, options, directory).publish(directory)


def build(source: ModelSource, options: Options, previous: Path | None = None) -> Bundle[Any]:
    """Return the bundle of a model, not yet in a folder. ``previous``: the bundle whose checkpoints serve `start_from`.

    Raises ``CompileError`` with every reason of the stage that failed."""
    device = load_supported(options.target)
    target = target_of(device.kind)
    check_targets(options, device.kind, device.name)
    check_lonely(options)
    target.check(options, device)
    clock = Clock(options.progress)
    record = earlier_record(options, previous)
    files: dict[str, bytes] = {}
    if options.starts_by("passes"):
        with clock.stage("read"):
            if options.start_from == "read":
                graph, facts = read_with_facts(source, options.shapes)
                files |= checkpoint_files("read", graph, facts.passes)
            else:
                graph = checkpoint_of(previous, "read")
                assert previous is not None
                checkpoints = read_files(previous, hashes_of(previous) or {}, "checkpoints")
                files |= {name: content for name, content in checkpoints.items() if Path(name).stem == "read"}
        reading = reading_of(graph, options.preprocess, options.labels)
        if previous is not None and options.start_from != "read":
            reading = reading.completed(kept_reading(previous, hashes_of(previous) or {}))
        model = reshaped(graph, options, device, record, previous, clock, files, reading)
        record = model.record
        final = _integer_graph if options.precision == "int8" else _float_graph
        graph, measured = final(model, options, target, clock, files)
        files[MEASURED] = to_json(msgspec.to_builtins(measured))
    else:
        graph = checkpoint_of(previous, "passes")
        assert previous is not None
        measured = read_figures(previous, MEASURED, Measured)
        hashes = hashes_of(previous) or {}
        earlier = read_files(previous, hashes, "checkpoints") | read_files(previous, hashes, "model")
        files |= {name: content for name, content in earlier.items() if Path(name).stem not in LATER_STAGES}
        reading = reading_of(graph, options.preprocess, options.labels).completed(kept_reading(previous, hashes))
        files |= kept_files(reading, reading.classes)
    return target.build(Prepared(source_name(source), device, graph, record, measured, clock, files, previous), options)


def source_name(source: ModelSource) -> str:
    """Return what the report calls the model."""
    return Path(source).stem if isinstance(source, str | os.PathLike) else str(source.graph.name or "model")


def folder_name(name: str) -> str:
    """Return the folder for a model of this name: plain characters only."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip(".-_") or "model"


def _integer_graph(
    model: FloatModel, options: Options, target: Target, clock: Clock, files: dict[str, bytes]
) -> tuple[Graph, Measured]:
    """Quantise a model, and measure accuracy and noise where there is data. The integers are the same for every target,
    unless the numerics of this one were asked for."""
    from edgewright.frontend.onnx_writing.writer import write_integer

    chosen = calibration_samples(options, model, affordable(model.graph))
    calibration, evaluation = chosen.samples, labelled(model.graph, chosen.measure)
    check_ranges(calibration)
    with clock.stage("passes"):
        target_numerics = options.numerics == "target" and target.has_rms_norm(options)
        optimised, statistics = optimise(model.graph, rms_norm=target_numerics)
        if target_numerics:
            optimised = replace(optimised, notes=(*optimised.notes, OWN_NUMERICS))
    with clock.stage("calibrate and quantise"):
        done = quantise(optimised, calibration.inputs, QuantiseOptions(method=options.method))
        files |= checkpoint_files("passes", done.graph, (*statistics, *done.statistics))
        files["model/quantised.onnx"] = write_integer(done.graph).SerializeToString(deterministic=True)
    with clock.stage("measure accuracy"):
        layers = tuple(sqnr_rows(done.float_graph, done.graph, calibration.first(NOISE_IMAGES).inputs))
        accuracy: tuple[OutputAccuracy, ...] = ()
        if evaluation is not None:
            real, integer = (measured_scores(graph, evaluation, clock.progress) for graph in (model.graph, done.graph))
            pairs = zip(real, integer, strict=True)
            accuracy = tuple(OutputAccuracy(a.output, a.metric, a.value, b.value, a.images) for a, b in pairs)
    return done.graph, _measured(model, chosen, files, accuracy, layers)


def _float_graph(
    model: FloatModel, options: Options, target: Target, clock: Clock, files: dict[str, bytes]
) -> tuple[Graph, Measured]:
    """Run the float passes, and measure accuracy where there are labels."""
    from edgewright.frontend.onnx_writing.writer import write_float

    graph = model.graph
    with clock.stage("passes"):
        optimised, statistics = optimise(graph, rms_norm=target.has_rms_norm(options))
        files |= checkpoint_files("passes", optimised, statistics)
        files["model/optimised.onnx"] = write_float(optimised).SerializeToString(deterministic=True)
    if options.is_random or (options.calibration is None and options.data is None):
        samples = random_samples(input_shapes(graph), KEPT_SAMPLES, ranges=input_ranges(graph))
        return optimised, replace(_measured(model, ChosenSamples(samples, None), files), calibration_images=0)
    chosen = calibration_samples(options, model, affordable(graph))
    evaluation = labelled(graph, chosen.measure)
    accuracy: tuple[OutputAccuracy, ...] = ()
    with clock.stage("measure accuracy"):
        if evaluation is not None:
            scores = measured_scores(optimised, evaluation, clock.progress)
            accuracy = tuple(OutputAccuracy(score.output, score.metric, score.value, None, score.images) for score in scores)
    return optimised, _measured(model, chosen, files, accuracy)


def _measured(
    model: FloatModel,
    chosen: ChosenSamples,
    files: dict[str, bytes],
    accuracy: tuple[OutputAccuracy, ...] = (),
    layers: tuple[tuple[str, str, float | None], ...] = (),
) -> Measured:
    """Return the figures, and keep with the bundle a few of the samples, how data is read, and the classes' names."""
    calibration, size = chosen.samples, footprint(model.graph)
    files[SAMPLES_FILE] = npz(calibration.first(KEPT_SAMPLES).inputs)
    if not calibration.is_random and layers:
        files[CALIBRATED] = calibrated_file(calibration.inputs)
    files |= kept_files(model.reading, model.reading.classes or calibration.classes)
    kind = "random" if calibration.is_random else "data"
    notes = (*calibration.notes, *unlike_normalised(model.graph, calibration, model.reading.preprocess))
    for row in accuracy:
        classes = classes_of(output_of(model.graph, row.output).shape)
        if row.metric == TOP1 and row.float is not None and classes is not None:
            warned = guessing(row.float, classes, row.images)
            notes = notes if warned is None else (*notes, warned)
    return Measured(accuracy, layers, kind, calibration.count, size.parameters, size.macs, chosen.how, notes)


def labelled(graph: Graph, evaluation: Labelled | None) -> Labelled | None:
    """Return the samples to measure on; None without targets that fit an output."""
    return None if evaluation is None or not targets_of(graph, evaluation) else evaluation


def affordable(graph: Graph) -> int:
    """Return how many samples may be spent on one figure of accuracy."""
    return max(1, int(EVALUATION_MACS / max(1, footprint(graph).macs)))
