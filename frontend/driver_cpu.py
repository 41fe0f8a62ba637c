"""The straight line for CPUs: read, passes, then lower and build in one stage. Its checkpoints are the FPGA path's."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright import __version__
from edgewright.frontend.bundle import kept_files
from edgewright.frontend.checkpoints import checkpoint_files, checkpoint_of
from edgewright.frontend.data import input_shapes, random_samples
from edgewright.frontend.driver import (
    KEPT_SAMPLES,
    SAMPLES_FILE,
    Clock,
    Measured,
    Options,
    affordable,
    measured_from,
    measured_json,
    measured_scores,
    parameters_of,
    quantise_measured,
    source_name,
)
from edgewright.frontend.npz import npz
from edgewright.frontend.onnx_reading.reader import ModelSource
from edgewright.frontend.reshaping.stage import STAGES, Prepared, Record, calibration_samples, check_record, prepared
from edgewright.hw.emit import to_json
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import optimise
from edgewright.passes.results import OutputAccuracy
from edgewright.passes.transform import Progress
from edgewright.targets.device import Device

if TYPE_CHECKING:
    from edgewright.targets.cpu.artifact import Manifest
    from edgewright.targets.cpu.variants import Variant
    from edgewright.targets.estimate import StepWork


@dataclass(slots=True)
class CpuResult:
    """Everything a compilation for a CPU made."""

    model: str
    device: Device
    options: Options
    graph: Graph
    manifest: Manifest
    measured: Measured
    stages: list[tuple[str, float]]
    files: dict[str, bytes]
    peak_memory_mib: float
    works: list[StepWork]
    record: Record = field(default_factory=Record)


def compile_cpu(
    source: ModelSource, options: Options, device: Device, previous: Path | None, progress: Progress | None
) -> CpuResult:
    """Compile a model for a CPU. Raises ``CompileError`` with every reason of the stage that failed."""
    variant = variant_of(device, options.variant)
    arch = cuda_arch(device) if options.gpu else None
    clock = Clock(progress)
    files: dict[str, bytes] = {}
    start = STAGES.index(options.start_from)
    if start <= STAGES.index("passes"):
        ready = prepared(source, options, device, previous, clock, files)
        record = ready.record
        if options.precision == "int8":
            final, measured = quantise_measured(ready, options, device, clock, files)
        else:
            final, measured = optimised_measured(ready, options, clock, files)
        files["checkpoints/measured.json"] = to_json(measured_json(measured))
    else:
        record = check_record(options, previous)
        final, measured = checkpoint_of(previous, "passes"), measured_from(previous)
        assert previous is not None
        files |= kept_files(previous, "checkpoints") | kept_files(previous, "model")
    if arch is not None:
        with clock.stage("CUDA"):
            from edgewright.targets.gpu.build import cuda_program

            cuda = cuda_program(final, arch)
            files |= {f"cuda/{name}": content for name, content in cuda.files().items()}
            files["cuda/manifest.json"] = to_json(cuda.manifest)
    with clock.stage("lower and build"):
        from edgewright.targets.cpu.package import package

        bundle, manifest, works = package(
            final,
            variant,
            model=source_name(source),
            target=device.name,
            version=__version__,
            options=options.manifest(record.options),
            files=files,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name = source_name(source)
    return CpuResult(name, device, options, final, manifest, measured, clock.stages, bundle, peak, works, record)


def variant_of(device: Device, wanted: str | None) -> Variant:
    """The kernels for a board: its own, the fastest this machine runs for `host`, or the one asked for."""
    from edgewright.targets.cpu.variants import VARIANTS, best, host_arch, host_features, variant

    if wanted is not None:
        if wanted not in {one.name for one in VARIANTS}:
            fail(
                "T023",
                f"there are no kernels called '{wanted}'",
                "--variant",
                f"there are {', '.join(one.name for one in VARIANTS)}",
                "omit --variant to use the target's own",
                exit=Exit.USAGE,
            )
        return variant(wanted)
    if device.name != "host":
        assert device.cpu is not None
        return variant(device.cpu.variant)
    try:
        return best(host_arch(), host_features())
    except KeyError as error:
        raise CompileError(
            [
                Diagnostic(
                    "T024",
                    f"there are no kernels for this machine's architecture, {host_arch()}",
                    "--target host",
                    "x86_64 and aarch64 have kernels",
                    "name a board: `edgewright targets` lists them",
                )
            ],
            Exit.USAGE,
        ) from error


def cuda_arch(device: Device) -> str:
    """The compute capability of a board's GPU, like sm_87. CompileError T025 where there is none."""
    arch = device.tvm_target.get("arch")
    if device.gpu is None or arch is None:
        fail(
            "T025",
            f"'{device.name}' has no GPU that code is made for",
            "--gpu",
            "CUDA code is made for the Jetsons' GPUs",
            "omit --gpu, or name a Jetson as the target",
            exit=Exit.USAGE,
        )
    return str(arch)


def optimised_measured(ready: Prepared, options: Options, clock: Clock, files: dict[str, bytes]) -> tuple[Graph, Measured]:
    """The float passes, and accuracy where there are labels; a few samples stay with the artifact."""
    from edgewright.frontend.onnx_writing.writer import write_float

    graph = ready.graph
    with clock.stage("passes"):
        optimised, _ = optimise(graph, rms_norm=not options.gpu)
        files |= checkpoint_files("passes", optimised)
        files["model/optimised.onnx"] = write_float(optimised).SerializeToString(deterministic=True)
    parameters = parameters_of(graph)
    if (options.calibration or options.data) in (None, "random"):
        kept = random_samples(input_shapes(graph), KEPT_SAMPLES, ranges=input_ranges(graph))
        files[SAMPLES_FILE] = npz(kept.inputs)
        return optimised, Measured(parameters=parameters, calibration_kind="random")
    calibration, evaluation = calibration_samples(options, ready)
    evaluation = affordable(graph, evaluation)
    files[SAMPLES_FILE] = npz(calibration.first(KEPT_SAMPLES).inputs)
    rows: tuple[OutputAccuracy, ...] = ()
    with clock.stage("measure accuracy"):
        if evaluation is not None:
            found = measured_scores(optimised, evaluation, clock)
            rows = tuple(OutputAccuracy(one.output, one.metric, one.value, None, one.images) for one in found)
    return optimised, Measured(rows, calibration_images=calibration.count, parameters=parameters)
