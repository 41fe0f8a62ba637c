"""The one straight line from a model file to a bundle: read, passes, plan, emit. Each stage leaves a checkpoint."""

from __future__ import annotations

import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.frontend.data import Samples, input_shapes, load_samples, random_samples
from edgewright.frontend.onnx_reader import ModelSource, read_model
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import Cycles, predict_cycles
from edgewright.hw.emit import emit, to_json
from edgewright.hw.plan import Plan, plan
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.input_ranges import Range, input_ranges
from edgewright.passes.ir import checkpoint
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.text import to_text
from edgewright.passes.ir.types import Array
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.passes.sqnr import sqnr_rows
from edgewright.passes.transform import Progress
from edgewright.targets.device import Device, load_supported

STAGES = ("read", "passes", "plan", "emit")
CALIBRATION_IMAGES = 32
"""RepQ-ViT calibrates on as many; more made no difference on the example models."""
EVALUATION_MACS = 4e10
"""Products spent on each accuracy figure: thousands of small images, a few dozen of 224 x 224."""
NOISE_IMAGES = 8
SAMPLES_FILE = "checkpoints/samples.npz"
KEPT_SAMPLES = 4
"""Calibration images that stay with the bundle, so that `simulate` needs no data."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for."""

    target: str
    calibration: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    precision: str = "int8"
    method: str = "mse"
    start_from: str = "read"
    variant: str | None = None
    gpu: bool = False

    def manifest(self) -> dict[str, Any]:
        """The options that decide the bundle's content; no paths, so that the same data elsewhere gives the same bytes."""
        return {"target": self.target, "precision": self.precision, "method": self.method}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the software models said while compiling; None where there was nothing to measure."""

    accuracy_float: float | None = None
    accuracy_int8: float | None = None
    evaluated: int | None = None
    layers: tuple[tuple[str, str, float | None], ...] = ()
    calibration_kind: str = "data"
    calibration_images: int = 0
    parameters: int | None = None


@dataclass(slots=True)
class Result:
    """Everything a compilation made: the plan, the bundle's files, and figures for the report."""

    model: str
    device: Device
    options: Options
    plan: Plan
    cycles: Cycles
    measured: Measured
    stages: list[tuple[str, float]]
    files: dict[str, bytes]
    peak_memory_mib: float


class Clock:
    """Times stages and tells the caller which one runs."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress: Progress = progress or (lambda stage, done, total: None)
        self.stages: list[tuple[str, float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under ``name``."""
        self.progress(name, 0, 0)
        started = time.perf_counter()
        yield
        self.stages.append((name, time.perf_counter() - started))


def compile_model(
    source: ModelSource, options: Options, previous: Path | None = None, progress: Progress | None = None
) -> Result:
    """Compile a model. ``previous`` is the bundle whose checkpoints serve ``start_from``.

    Raises ``CompileError`` with every reason of the stage that failed.
    """
    device = load_supported(options.target)
    if options.precision != "int8":
        raise CompileError(
            [
                Diagnostic(
                    "T003", f"the engine of '{device.name}' computes in int8 only", "--precision",
                    f"{options.precision} was asked for", "use --precision int8, or a CPU target",
                )
            ],
            Exit.USAGE,
        )  # fmt: skip
    config = EngineConfig.from_table(dict(device.engine))
    clock = Clock(progress)
    files: dict[str, bytes] = {}
    name = source_name(source)
    start = STAGES.index(options.start_from)
    if start < 2:
        with clock.stage("read"):
            graph = read_model(source, options.shapes) if start == 0 else checkpoint_of(previous, "read")
            files |= checkpoint_files("read", graph)
        integer, measured = quantise_measured(graph, options, device, clock, files)
        files["checkpoints/measured.json"] = to_json(measured_json(measured))
    else:
        integer = checkpoint_of(previous, "passes")
        measured = measured_from(previous)
        assert previous is not None
        for path in sorted((previous / "checkpoints").iterdir()):
            files[f"checkpoints/{path.name}"] = path.read_bytes()
        files["model/quantised.onnx"] = (previous / "model" / "quantised.onnx").read_bytes()
    with clock.stage("plan"):
        planned = plan(integer, config)
        check_fit(planned, device)
        cycles = predict_cycles(planned)
    with clock.stage("emit"):
        assert device.clock_mhz is not None
        bundle = emit(planned, cycles, device.part, device.clock_mhz, options.manifest(), files)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(name, device, options, planned, cycles, measured, clock.stages, bundle, peak)


def source_name(source: ModelSource) -> str:
    """What the report calls the model."""
    return Path(source).stem if isinstance(source, str | os.PathLike) else str(source.graph.name or "model")


def quantise_measured(
    graph: Graph, options: Options, device: Device, clock: Clock, files: dict[str, bytes]
) -> tuple[Graph, Measured]:
    """Passes, calibration and quantisation; then accuracy and noise where there is data to measure them on."""
    from edgewright.frontend.onnx_writer import write_integer

    calibration, evaluation = calibration_samples(options, input_shapes(graph), input_ranges(graph))
    with clock.stage("passes"):
        optimised, _ = optimise(graph)
    with clock.stage("calibrate and quantise"):
        split = device.kind != "fpga"  # joins of channels that the engine has no operation for
        done = quantise(optimised, calibration.inputs, QuantiseOptions(method=options.method, split_outliers=split))
        files |= checkpoint_files("passes", done.graph)
        files["model/quantised.onnx"] = write_integer(done.graph).SerializeToString(deterministic=True)
    with clock.stage("measure accuracy"):
        macs = max(1, sum(node.work.macs for node in graph.nodes()))
        few = calibration.first(NOISE_IMAGES)
        files[SAMPLES_FILE] = npz(calibration.first(KEPT_SAMPLES).inputs)
        layers = tuple(sqnr_rows(done.float_graph, done.graph, few.inputs))
        float_accuracy = int8_accuracy = None
        count = None
        if evaluation is not None and evaluation.labels is not None:
            evaluation = evaluation.first(max(1, int(EVALUATION_MACS / macs)))
            count = evaluation.count
            float_accuracy = top1(graph, evaluation, clock)
            int8_accuracy = top1(done.graph, evaluation, clock)
    parameters = sum(node.type.size for node in graph.nodes() if node.op.kind == "Constant" and node.type.is_float)
    kind = "random" if calibration.is_random else "data"
    return done.graph, Measured(float_accuracy, int8_accuracy, count, layers, kind, calibration.count, parameters)


def calibration_samples(
    options: Options, shapes: Mapping[str, tuple[int, ...]], ranges: Mapping[str, Range]
) -> tuple[Samples, Samples | None]:
    """(samples to calibrate on, labelled samples to measure accuracy on)."""
    if options.calibration is None:
        raise CompileError(
            [
                Diagnostic(
                    "D010", "there are no calibration images", "--calibration",
                    "the ranges of activations come from images like those the model will see",
                    "give --calibration data.npz (arrays named after the inputs, or `images`), "
                    "or --calibration random to see cycles and resources only",
                )
            ],
            Exit.USAGE,
        )  # fmt: skip
    if options.calibration == "random":
        return random_samples(shapes, CALIBRATION_IMAGES, ranges=ranges), None
    calibration = load_samples(options.calibration, shapes, True, ranges).first(CALIBRATION_IMAGES)
    with np.load(options.calibration, allow_pickle=False) as archive:
        labelled = "images" in archive.files or "x" in archive.files or set(shapes) <= set(archive.files)
    return calibration, load_samples(options.calibration, shapes, False, ranges) if labelled else None


def npz(inputs: Mapping[str, Array]) -> bytes:
    """Samples by input name as the bytes of an npz file."""
    kept = io.BytesIO()
    np.savez_compressed(kept, allow_pickle=False, **inputs)
    return kept.getvalue()


def top1(graph: Graph, samples: Samples, clock: Clock, batch: int = 32) -> float:
    """Share of samples whose largest output is at the label."""
    assert samples.labels is not None
    right = 0
    for begin in range(0, samples.count, batch):
        part = {name: array[begin : begin + batch] for name, array in samples.inputs.items()}
        logits = next(iter(interpret(graph, part).values()))
        labels = samples.labels[begin : begin + batch]
        right += int((logits.reshape(len(labels), -1).argmax(axis=1) == labels).sum())
        clock.progress("measure accuracy", min(begin + batch, samples.count), samples.count)
    return right / samples.count


def check_fit(planned: Plan, device: Device) -> None:
    """Memory is the one resource that a model, not the engine, decides."""
    assert device.memory is not None
    available = device.memory.dram_mib << 20
    if planned.memory_bytes > available:
        raise CompileError(
            [
                Diagnostic(
                    "P003", f"the model does not fit {device.name}", "external memory",
                    f"it needs {planned.memory_bytes >> 20} MiB, the board has {device.memory.dram_mib} MiB",
                    "use a smaller model or another board",
                )
            ]
        )  # fmt: skip


def checkpoint_files(stage: str, graph: Graph) -> dict[str, bytes]:
    """A graph as the files of a stage's checkpoint: exact, and readable."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "graph.npz"
        checkpoint.save(graph, path)
        content = path.read_bytes()
    return {f"checkpoints/{stage}.npz": content, f"checkpoints/{stage}.txt": (to_text(graph) + "\n").encode()}


def checkpoint_of(previous: Path | None, stage: str) -> Graph:
    """The graph that an earlier compilation left; a usage error when there is none."""
    path = None if previous is None else previous / "checkpoints" / f"{stage}.npz"
    if path is None or not path.is_file():
        raise CompileError(
            [
                Diagnostic(
                    "U021", "there is nothing to start from", "--from", f"the output folder has no {stage} checkpoint",
                    "compile the model once without --from into this folder",
                )
            ],
            Exit.USAGE,
        )  # fmt: skip
    return checkpoint.load(path)


def measured_json(measured: Measured) -> dict[str, Any]:
    """What ``measured_from`` reads again."""
    return {name: getattr(measured, name) for name in Measured.__dataclass_fields__}


def measured_from(previous: Path | None) -> Measured:
    """The figures of the compilation whose checkpoints are used."""
    assert previous is not None
    found = json.loads((previous / "checkpoints" / "measured.json").read_text())
    found["layers"] = tuple(tuple(row) for row in found["layers"])
    return Measured(**found)
