"""The one straight line from a model file to a bundle: read, passes, plan, emit. Each stage leaves a checkpoint."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from edgewright.frontend.bundle import figures, kept_files
from edgewright.frontend.checkpoints import checkpoint_files, checkpoint_of
from edgewright.frontend.data import check_ranges
from edgewright.frontend.labelled import Labelled
from edgewright.frontend.npz import npz
from edgewright.frontend.onnx_reading.reader import ModelSource
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.frontend.reshaping.stage import STAGES, Prepared, Record, calibration_samples, check_record, prepared
from edgewright.frontend.scores import outputs_of, scores, targets_of
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import Cycles, predict_cycles
from edgewright.hw.emit import emit, to_json
from edgewright.hw.plan import Plan, plan
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import QuantiseOptions, optimise, quantise
from edgewright.passes.quantisation.sqnr import sqnr_rows
from edgewright.passes.results import OutputAccuracy, Score
from edgewright.passes.transform import Progress
from edgewright.targets.device import Device, load_supported

EVALUATION_MACS = 4e10
"""Products spent on each accuracy figure: thousands of small images, a few dozen of 224 x 224."""
NOISE_IMAGES = 8
SAMPLES_FILE = "checkpoints/samples.npz"
OWN_NUMERICS = (
    "Quantised for CPUs alone (--numerics target), with RMSNorm in place of LayerNorm: the integers are not those of other "
    "targets."
)
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
    numerics: str = "shared"
    start_from: str = "read"
    variant: str | None = None
    gpu: bool = False
    reshaping: Reshaping = field(default_factory=Reshaping)
    data: str | None = None
    checkpoints: Path | None = None
    resume: bool = False

    def manifest(self, passes: Mapping[str, Any]) -> dict[str, Any]:
        """The options that decide the bundle's content, with those of the passes that ran; no paths, so that the same data
        elsewhere gives the same bytes."""
        shared = {
            "target": self.target,
            "precision": self.precision,
            "method": self.method,
            "numerics": self.numerics,
        }
        return shared | ({"passes": dict(passes)} if passes else {})


@dataclass(frozen=True, slots=True)
class Measured:
    """What the software models said while compiling; None where there was nothing to measure."""

    accuracy: tuple[OutputAccuracy, ...] = ()
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
    record: Record = field(default_factory=Record)


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
        fail(
            "T003",
            f"the engine of '{device.name}' computes in int8 only",
            "--precision",
            f"{options.precision} was asked for",
            "use --precision int8, or a CPU target",
            exit=Exit.USAGE,
        )
    config = EngineConfig.from_table(dict(device.engine))
    clock = Clock(progress)
    files: dict[str, bytes] = {}
    name = source_name(source)
    start = STAGES.index(options.start_from)
    if start <= STAGES.index("passes"):
        ready = prepared(source, options, device, previous, clock, files)
        record = ready.record
        integer, measured = quantise_measured(ready, options, device, clock, files)
        files["checkpoints/measured.json"] = to_json(measured_json(measured))
    else:
        record = check_record(options, previous)
        integer = checkpoint_of(previous, "passes")
        measured = measured_from(previous)
        assert previous is not None
        files |= kept_files(previous, "checkpoints") | kept_files(previous, "model")
    with clock.stage("plan"):
        planned = plan(integer, config)
        check_fit(planned, device)
        cycles = predict_cycles(planned)
    with clock.stage("emit"):
        assert device.clock_mhz is not None
        bundle = emit(planned, cycles, device.part, device.clock_mhz, options.manifest(record.options), files)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Result(name, device, options, planned, cycles, measured, clock.stages, bundle, peak, record)


def source_name(source: ModelSource) -> str:
    """What the report calls the model."""
    return Path(source).stem if isinstance(source, str | os.PathLike) else str(source.graph.name or "model")


def quantise_measured(
    ready: Prepared, options: Options, device: Device, clock: Clock, files: dict[str, bytes]
) -> tuple[Graph, Measured]:
    """Passes, calibration and quantisation; then accuracy and noise where there is data to measure them on.

    The integer graph is the same for every target, unless the numerics of this target were asked for.
    """
    from edgewright.frontend.onnx_writing.writer import write_integer

    graph = ready.graph
    calibration, evaluation = calibration_samples(options, ready)
    check_ranges(calibration)
    evaluation = affordable(graph, evaluation)
    with clock.stage("passes"):
        own = options.numerics == "target" and device.kind == "cpu" and not options.gpu
        optimised, statistics = optimise(graph, rms_norm=own)
        if own:
            optimised = replace(optimised, notes=(*optimised.notes, OWN_NUMERICS))
    with clock.stage("calibrate and quantise"):
        done = quantise(optimised, calibration.inputs, QuantiseOptions(method=options.method))
        files |= checkpoint_files("passes", done.graph, (*statistics, *done.statistics))
        files["model/quantised.onnx"] = write_integer(done.graph).SerializeToString(deterministic=True)
    with clock.stage("measure accuracy"):
        few = calibration.first(NOISE_IMAGES)
        files[SAMPLES_FILE] = npz(calibration.first(KEPT_SAMPLES).inputs)
        layers = tuple(sqnr_rows(done.float_graph, done.graph, few.inputs))
        rows: tuple[OutputAccuracy, ...] = ()
        if evaluation is not None:
            exact, integer = (measured_scores(one, evaluation, clock) for one in (graph, done.graph))
            rows = tuple(
                OutputAccuracy(a.output, a.metric, a.value, b.value, a.images) for a, b in zip(exact, integer, strict=True)
            )
    kind = "random" if calibration.is_random else "data"
    return done.graph, Measured(rows, layers, kind, calibration.count, parameters_of(graph))


def parameters_of(graph: Graph) -> int:
    """Values of all float constants."""
    return sum(node.type.size for node in graph.nodes() if node.op.kind == "Constant" and node.type.is_float)


def measured_scores(graph: Graph, data: Labelled, clock: Clock) -> tuple[Score, ...]:
    """How right each output with targets is."""
    return scores(graph, outputs_of(graph, data.inputs, "measure accuracy", clock.progress), data)


def affordable(graph: Graph, evaluation: Labelled | None) -> Labelled | None:
    """So many labelled samples as may be spent on one figure; None without targets."""
    if evaluation is None or not targets_of(graph, evaluation):
        return None
    macs = max(1, sum(node.work.macs for node in graph.nodes()))
    return evaluation.first(max(1, int(EVALUATION_MACS / macs)))


def check_fit(planned: Plan, device: Device) -> None:
    """Memory is the one resource that a model, not the engine, decides."""
    assert device.memory is not None
    available = device.memory.dram_mib << 20
    if planned.memory_bytes > available:
        fail(
            "P003",
            f"the model does not fit {device.name}",
            "external memory",
            f"it needs {planned.memory_bytes >> 20} MiB, the board has {device.memory.dram_mib} MiB",
            "use a smaller model or another board",
        )


def measured_json(measured: Measured) -> dict[str, Any]:
    """What ``measured_from`` reads again."""
    found: dict[str, Any] = msgspec.to_builtins(measured)
    return found


def measured_from(previous: Path | None) -> Measured:
    """The figures of the compilation whose checkpoints are used."""
    assert previous is not None
    return figures(previous, "checkpoints/measured.json", Measured)
