"""The straight line for CPUs: read, passes, then lower and build in one stage. Its checkpoints are the FPGA path's."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright import __version__
from edgewright.frontend.data import input_shapes, random_samples
from edgewright.frontend.driver import (
    EVALUATION_MACS,
    KEPT_SAMPLES,
    SAMPLES_FILE,
    STAGES,
    Clock,
    Measured,
    Options,
    Progress,
    calibration_samples,
    checkpoint_files,
    checkpoint_of,
    measured_from,
    measured_json,
    npz,
    quantise_measured,
    source_name,
    top1,
)
from edgewright.frontend.onnx_reader import ModelSource, read_model
from edgewright.hw.emit import to_json
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.graph import Graph
from edgewright.passes.pipeline import optimise
from edgewright.targets.device import Device

if TYPE_CHECKING:
    from edgewright.targets.cpu.artifact import Manifest
    from edgewright.targets.cpu.variants import Variant
    from edgewright.targets.estimate import Work


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
    works: list[Work]


def compile_cpu(
    source: ModelSource, options: Options, device: Device, previous: Path | None, progress: Progress | None
) -> CpuResult:
    """Compile a model for a CPU. Raises ``CompileError`` with every reason of the stage that failed."""
    variant = variant_of(device, options.variant)
    arch = cuda_arch(device) if options.gpu else None
    clock = Clock(progress)
    files: dict[str, bytes] = {}
    start = STAGES.index(options.start_from)
    if start < 2:
        with clock.stage("read"):
            graph = read_model(source, options.shapes) if start == 0 else checkpoint_of(previous, "read")
            files |= checkpoint_files("read", graph)
        if options.precision == "int8":
            final, measured = quantise_measured(graph, options, device, clock, files)
        else:
            final, measured = optimised_measured(graph, options, clock, files)
        files["checkpoints/measured.json"] = to_json(measured_json(measured))
    else:
        final, measured = checkpoint_of(previous, "passes"), measured_from(previous)
        assert previous is not None
        for path in sorted((previous / "checkpoints").iterdir()):
            files[f"checkpoints/{path.name}"] = path.read_bytes()
        for path in sorted((previous / "model").iterdir()):
            files[f"model/{path.name}"] = path.read_bytes()
    if arch is not None:
        with clock.stage("CUDA"):
            from edgewright.targets.cpu.cuda_build import cuda_program

            cuda = cuda_program(final, arch)
            files |= {f"cuda/{name}": content for name, content in cuda.files().items()}
            files["cuda/manifest.json"] = to_json(cuda.manifest)
    with clock.stage("lower and build"):
        from edgewright.targets.cpu.package import package

        bundle, manifest, works = package(
            final, variant, model=source_name(source), target=device.name, version=__version__,
            options=options.manifest(), files=files,
        )  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name = source_name(source)
    return CpuResult(name, device, options, final, manifest, measured, clock.stages, bundle, peak, works)


def variant_of(device: Device, wanted: str | None) -> Variant:
    """The kernels for a board: its own, the fastest this machine runs for `host`, or the one asked for."""
    from edgewright.targets.cpu.variants import VARIANTS, best, host_arch, host_features, variant

    if wanted is not None:
        if wanted not in {one.name for one in VARIANTS}:
            raise CompileError(
                [
                    Diagnostic(
                        "T023", f"there are no kernels called '{wanted}'", "--variant",
                        f"there are {', '.join(one.name for one in VARIANTS)}",
                        "leave --variant away to take the target's own",
                    )
                ],
                Exit.USAGE,
            )  # fmt: skip
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
                    "T024", f"there are no kernels for this machine's architecture, {host_arch()}", "--target host",
                    "x86_64 and aarch64 have kernels", "name a board: `edgewright targets` lists them",
                )
            ],
            Exit.USAGE,
        ) from error  # fmt: skip


def cuda_arch(device: Device) -> str:
    """The compute capability of a board's GPU, like sm_87. CompileError T025 where there is none."""
    arch = device.tvm_target.get("arch")
    if device.gpu is None or arch is None:
        raise CompileError(
            [
                Diagnostic(
                    "T025", f"'{device.name}' has no GPU that code is made for", "--gpu",
                    "CUDA code is made for the Jetsons' GPUs", "leave --gpu away, or name a Jetson as the target",
                )
            ],
            Exit.USAGE,
        )  # fmt: skip
    return str(arch)


def optimised_measured(graph: Graph, options: Options, clock: Clock, files: dict[str, bytes]) -> tuple[Graph, Measured]:
    """The float passes, and accuracy where there are labels; a few samples stay with the artifact."""
    from edgewright.frontend.onnx_writer import write_float

    with clock.stage("passes"):
        optimised, _ = optimise(graph)
        files |= checkpoint_files("passes", optimised)
        files["model/optimised.onnx"] = write_float(optimised).SerializeToString(deterministic=True)
    parameters = sum(node.type.size for node in graph.nodes() if node.op.kind == "Constant" and node.type.is_float)
    shapes, ranges = input_shapes(graph), input_ranges(graph)
    if options.calibration in (None, "random"):
        kept = random_samples(shapes, KEPT_SAMPLES, ranges=ranges)
        files[SAMPLES_FILE] = npz(kept.inputs)
        return optimised, Measured(parameters=parameters, calibration_kind="random")
    calibration, evaluation = calibration_samples(options, shapes, ranges)
    files[SAMPLES_FILE] = npz(calibration.first(KEPT_SAMPLES).inputs)
    accuracy, count = None, None
    with clock.stage("measure accuracy"):
        if evaluation is not None and evaluation.labels is not None:
            macs = max(1, sum(node.work.macs for node in graph.nodes()))
            evaluation = evaluation.first(max(1, int(EVALUATION_MACS / macs)))
            count = evaluation.count
            accuracy = top1(optimised, evaluation, clock)
    return optimised, Measured(
        accuracy_float=accuracy, evaluated=count, calibration_images=calibration.count, parameters=parameters
    )
