"""Edgewright's aarch64 code beside TVM's default CPU pipeline: instructions of one inference, counted under QEMU.

    python -m benchmarks.tvm_default [MODEL.onnx ...] [--cores cortex-a72,cortex-a76,i8mm] [--pipelines default,fused]
                                           [--calibration DATA.npz] [--timeout 480] [--json FILE]

Without a model it is the trained Fashion ViT of this repository. A count says how much work a processor is given, not how
long it takes. Per core: our artifact in fp32 and int8, run by its own runner (the difference of one and several runs), and
the same ONNX file through TVM's importer, `tvm.compile` and TVM's runtime, fp32, in two ways: `default`, what `tvm.compile`
does when nothing is said, and `fused`, the pipeline that `relax.get_default_pipeline` has for CPUs (marks around a second
run). Before anything is counted as a result its outputs are compared: fp32 with onnxruntime's, int8 with the interpreter's
bits. One thread. The ratio is TVM's lesser count over ours: more is better, and 2 is what the project asks for.

TVM's runtime for aarch64 comes from PyPI and, unless they are installed, gcc's libraries from Debian, once, into the
cache. This is no part of any test run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from edgewright.frontend.build import build as build_bundle
from edgewright.frontend.files.publish import publish
from edgewright.frontend.options import Options
from edgewright.frontend.samples.data import input_shapes, load_samples, random_samples
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.interp import interpret
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices.measured import Settings
from edgewright.targets.cpu.devices.qemu import QemuDevice

from benchmarks import pages
from benchmarks.cpu_models import EXAMPLES, CannotMake
from benchmarks.tvm_default_runtime import Array, build, count, default_target, runtime

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "tvm_default.json"
MODEL = EXAMPLES / "models" / "vit_fashion.dynamo18.onnx"
TOLERANCE = 1e-3
REQUIRED = 2.0
OURS = ("fp32", "int8")
PIPELINES = ("default", "fused")


@dataclass(frozen=True, slots=True)
class Core:
    """emulated: QEMU's name. board and variant: as `edgewright compile` takes them. mcpu, mattr: for TVM's target."""

    emulated: str
    board: str
    variant: str | None
    mcpu: str
    mattr: tuple[str, ...]


CORES = {
    "cortex-a72": Core("cortex-a72", "rpi4", None, "cortex-a72", ("+neon",)),
    "cortex-a76": Core("cortex-a76", "rpi5", None, "cortex-a76", ("+neon", "+dotprod", "+fullfp16")),
    # What Debian's QEMU emulates with I8MM is no core but everything it knows; the code is for an A76 with I8MM.
    "i8mm": Core("max", "rpi5", "i8mm", "cortex-a76", ("+neon", "+dotprod", "+fullfp16", "+i8mm")),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One model on one core: instructions of an inference, and the largest difference from the reference, by engine."""

    model: str
    core: str
    instructions: dict[str, int]
    difference: dict[str, float]

    def ratio(self, engine: str) -> float | None:
        """TVM's lesser count over the engine's; None when either is missing."""
        theirs = [self.instructions[f"tvm-{name}"] for name in PIPELINES if f"tvm-{name}" in self.instructions]
        return min(theirs) / self.instructions[engine] if theirs and engine in self.instructions else None


def table(lines: Sequence[Line]) -> str:
    """Markdown: millions of instructions, and how many times fewer ours are than TVM's lesser count."""
    rows = [
        "| model | core | ours fp32 | ours int8 | TVM `default` | TVM `fused` | TVM / ours fp32 | TVM / ours int8 |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for line in lines:
        counts = (line.instructions.get(name) for name in (*OURS, *(f"tvm-{name}" for name in PIPELINES)))
        ratios = (line.ratio(name) for name in OURS)
        cells = [f"{n / 1e6:,.1f} M" if n else "-" for n in counts] + [f"{n:.1f}" if n else "-" for n in ratios]
        rows.append("| " + " | ".join((line.model, line.core, *cells)) + " |")
    return "\n".join(rows)


def failing(lines: Sequence[Line]) -> list[str]:
    """Where ours is more than half of TVM's default, or a count is missing."""
    lacking = []
    for line in lines:
        for name in OURS:
            ratio = line.ratio(name)
            if ratio is None or ratio < REQUIRED:
                lacking.append(f"{line.model}, {line.core}, {name}: {'nothing counted' if ratio is None else f'{ratio:.2f}'}")
    return lacking


class Reference:
    """A model file of one input and one output, one sample for it, and onnxruntime's answer."""

    def __init__(self, path: Path) -> None:
        import onnx
        import onnxruntime as ort  # type: ignore[import-untyped,unused-ignore]

        self.path, self.model = path, onnx.load(path)
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        if len(session.get_inputs()) != 1 or len(session.get_outputs()) != 1:
            raise CannotMake(f"{path.name} has not one input and one output")
        entry = session.get_inputs()[0]
        shape = tuple(entry.shape)
        if entry.type != "tensor(float)" or not all(isinstance(n, int) for n in shape):
            raise CannotMake(f"the input of {path.name} is {entry.type} {shape}, not float of a fixed shape")
        self.name = entry.name
        self.value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        self.answer: Array = session.run(None, {self.name: self.value})[0]

    def difference(self, output: Array) -> float:
        """The largest difference from onnxruntime's answer. CannotMake when it is too large or not a number."""
        largest = float(np.abs(output.astype(np.float64) - self.answer).max())
        if not largest <= TOLERANCE * max(1.0, float(np.abs(self.answer).max())):
            raise CannotMake(f"outputs differ from onnxruntime's by {largest:.3g}")
        return largest


def count_ours(
    reference: Reference, core: Core, precision: str, calibration: str, timeout_s: float, scratch: Path
) -> tuple[int, float]:
    """Instructions of an inference of our artifact, and the difference of its output: in int8 of bits, none allowed."""
    options = Options(core.board, calibration, precision=precision, variant=core.variant)
    built = build_bundle(reference.path, options)
    folder = scratch / f"{core.emulated}-{precision}"
    publish(built.files, folder)
    artifact = Artifact.open(folder)
    inputs = _sample(built.graph, reference, calibration, precision)
    done = QemuDevice(core.emulated).run(artifact, inputs, Settings(timeout_s=timeout_s))
    (output,) = done.outputs.values()
    if done.instructions is None:
        raise CannotMake("the emulator counted nothing")
    if precision == "fp32":
        return done.instructions, reference.difference(output.reshape(reference.answer.shape))
    (wanted,) = interpret(built.graph, inputs).values()
    if not np.array_equal(output, wanted):
        raise CannotMake("outputs differ from the interpreter's bits")
    return done.instructions, 0.0


def _sample(graph: Any, reference: Reference, calibration: str, precision: str) -> dict[str, Array]:
    if precision == "fp32":
        return {reference.name: reference.value}
    shapes = input_shapes(graph)
    samples = random_samples(shapes, 1) if calibration == "random" else load_samples(calibration, shapes, calibration=True)
    return {name: array[:1] for name, array in samples.inputs.items()}


def count_tvm(reference: Reference, core: Core, pipeline: str, timeout_s: float, scratch: Path) -> tuple[int, float]:
    """Instructions of an inference of TVM's code, and the largest difference of its output."""
    library = scratch / f"{core.emulated}-{pipeline}.so"
    build(reference.model, default_target(core.mcpu, core.mattr), pipeline == "fused", library)
    done = count(runtime(), library, reference.value, reference.answer.shape, core.emulated, timeout_s)
    return done.instructions, reference.difference(done.output)


def measure(path: Path, name: str, pipelines: Sequence[str], calibration: str, timeout_s: float) -> tuple[Line, dict[str, str]]:
    """One model on one core, and the reasons of what could not be counted."""
    reference, core = Reference(path), CORES[name]
    instructions: dict[str, int] = {}
    difference: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for engine in (*OURS, *(f"tvm-{pipeline}" for pipeline in pipelines)):
        with tempfile.TemporaryDirectory(prefix="edgewright-bench-") as scratch:
            try:
                if engine in OURS:
                    counted = count_ours(reference, core, engine, calibration, timeout_s, Path(scratch))
                else:
                    counted = count_tvm(reference, core, engine.removeprefix("tvm-"), timeout_s, Path(scratch))
            except (CannotMake, CompileError) as error:
                reasons[f"{path.name}, {name}, {engine}"] = str(error)
                continue
        instructions[engine], difference[engine] = counted
        print(f"  {path.name}, {name}, {engine}: {counted[0] / 1e6:,.1f} M", file=sys.stderr, flush=True)
    return Line(path.name, name, instructions, difference), reasons


def document(lines: Sequence[Line], reasons: Mapping[str, str]) -> dict[str, Any]:
    """The figures for other programs."""
    return {
        "unit": "instructions of one inference",
        "required_ratio": REQUIRED,
        "lines": [{**asdict(line), "ratios": {name: line.ratio(name) for name in OURS}} for line in lines],
        "failures": dict(reasons),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, default=[MODEL])
    parser.add_argument("--cores", type=lambda text: text.split(","), default=list(CORES))
    parser.add_argument("--pipelines", type=lambda text: text.split(","), default=list(PIPELINES))
    parser.add_argument("--calibration", default="random")
    parser.add_argument("--timeout", type=float, default=480.0, help="seconds for each emulated run")
    parser.add_argument("--json", type=Path, default=OUTPUT)
    parser.add_argument("--docs", action="store_true", help="renew the table of docs/measured/cpus.md")
    options = parser.parse_args(arguments)
    if unknown := (set(options.cores) - set(CORES)) | (set(options.pipelines) - set(PIPELINES)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    lines: list[Line] = []
    reasons: dict[str, str] = {}
    for path in options.models:
        for core in options.cores:
            line, missing = measure(path, core, options.pipelines, options.calibration, options.timeout)
            lines.append(line)
            reasons |= missing
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(document(lines, reasons), indent=1) + "\n", encoding="utf-8")
    print(table(lines))
    if options.docs and not reasons:
        pages.put("instructions", table(lines))
    for place, why in reasons.items():
        print(f"{place}: {why}", file=sys.stderr)
    for place in failing(lines):
        print(f"not half of TVM's default: {place}", file=sys.stderr)
    return int(bool(reasons or failing(lines)))


if __name__ == "__main__":
    sys.exit(main())
