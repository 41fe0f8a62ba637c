"""How fast an artifact runs on a device, and whether its results are right there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from edgewright import __version__
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.ir import checkpoint
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu import profile_conditions, profile_report
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, ProfilingDevice, Settings, TimedRun

FORMAT = 1
GRAPH, SAMPLES = "checkpoints/passes.npz", "checkpoints/samples.npz"
FLOAT_TOLERANCE = 1e-4
"""Largest difference from the interpreter, as a share of the largest output: exp and erf are polynomials here."""
SMALLEST_FLOAT = float(np.finfo(np.float32).tiny)
EMULATED = "Times under an emulator say nothing about the device; its instruction counts and results do."


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """The results; `data` is the content of profile.json (profile_report.schema.json)."""

    data: dict[str, Any]

    @property
    def exact(self) -> bool | None:
        """Whether the outputs are right: bits of an integer model, floats within a tolerance; None when not checked."""
        found: bool | None = self.data["check"]["right"]
        return found

    @property
    def median_ms(self) -> float | None:
        """Of the fastest number of threads; None under an emulator."""
        best = profile_report.fastest(self.data)
        return None if best is None else float(best["median_ms"])

    def files(self) -> dict[str, bytes]:
        """Return profile.html and profile.json."""
        return {
            "profile.html": profile_report.to_html(self.data).encode(),
            "profile.json": profile_report.to_text(self.data).encode(),
        }

    def lines(self) -> list[tuple[str, str]]:
        """Return the headline for a terminal: (label, text)."""
        return profile_report.lines(self.data)


def profile(
    artifact: Artifact,
    device: ProfilingDevice,
    inputs: Mapping[str, Array] | None = None,
    settings: Settings | None = None,
    *,
    tvm_default_instructions: int | None = None,
) -> ProfileReport:
    """Run one sample with these settings and compare its outputs with the interpreter's.

    inputs: by the model's names, None for the first sample in the artifact. tvm_default_instructions: those of the
    same model with TVM's own schedules, where they were counted. CompileError as `ProfilingDevice.run`, D009 without inputs.
    """
    settings = settings or Settings()
    source = "given" if inputs is not None else "a calibration sample"
    sample = dict(inputs) if inputs is not None else kept_sample(artifact)
    measured = device.run(artifact, sample, settings)
    manifest = artifact.manifest
    runs = [] if device.emulated else [run_data(run, artifact) for run in measured.runs]
    data = {
        "format": FORMAT,
        "edgewright": __version__,
        "model": manifest.model,
        "target": manifest.target,
        "precision": manifest.precision,
        "arch": manifest.arch,
        "variant": manifest.variant,
        "device": {
            "name": device.name,
            "emulated": device.emulated,
            "cpu": measured.cpu or None,
            "machine": _plain(measured.machine),
        },
        "input": source,
        "macs": sum(step.macs for step in manifest.steps),
        "weight_bytes": manifest.weights_bytes,
        "workspace_bytes": manifest.workspace_bytes,
        "settings": {"warmup": settings.warmup, "repeat": settings.repeat, "step_runs": settings.steps},
        "runs": runs,
        "operations": operations(artifact, [] if device.emulated else list(measured.runs)),
        "check": check(artifact, sample, measured),
        "instructions": instructions(artifact, measured, tvm_default_instructions),
        "conditions": {"before": _plain(measured.before), "after": _plain(measured.after)},
        "power": profile_conditions.power(measured.power),
        "warnings": profile_conditions.warnings(measured, runs),
        "notes": [*([EMULATED] if device.emulated else []), *measured.notes],
    }
    return ProfileReport(data)


def kept_sample(artifact: Artifact) -> dict[str, Array]:
    """Return the first sample that compilation stored in the artifact. CompileError D009 when there is none."""
    wanted = {tensor.name: tensor.shape for tensor in artifact.manifest.inputs}
    try:
        with np.load(artifact.directory / SAMPLES, allow_pickle=False) as found:
            return {name: found[name][: shape[0] if shape else None].reshape(shape) for name, shape in wanted.items()}
    except (OSError, KeyError, ValueError) as error:
        fail("D009", "there is no input to run", str(artifact.directory), str(error), "give --input x.npz")


def run_data(run: TimedRun, artifact: Artifact) -> dict[str, Any]:
    """Return statistics of one number of threads, in milliseconds. spread: 5th to 95th percentile over the median."""
    times = np.asarray(run.times_ns, np.float64) * 1e-6
    low, median, high = (float(np.percentile(times, q)) for q in (5, 50, 95))
    macs = sum(step.macs for step in artifact.manifest.steps)
    return {
        "threads": run.threads,
        "count": len(times),
        "median_ms": median,
        "mean_ms": float(times.mean()),
        "p95_ms": high,
        "min_ms": float(times.min()),
        "max_ms": float(times.max()),
        "spread": (high - low) / median,
        "gop_per_s": 2 * macs / median * 1e-6,
        "per_second": 1e3 / median,
        "steps_ms": sum(step.median_ns for step in run.steps) * 1e-6 if run.steps else None,
    }


def operations(artifact: Artifact, runs: list[TimedRun]) -> list[dict[str, Any]]:
    """Return every step with its median time by number of threads; share and speed are of the first number."""
    timed = [run for run in runs if run.steps]
    total = sum(step.median_ns for step in timed[0].steps) if timed else 0
    found = []
    for i, step in enumerate(artifact.manifest.steps):
        first = timed[0].steps[i].median_ns if timed else None
        found.append(
            {
                "name": step.name,
                "kind": step.kind,
                "macs": step.macs,
                "bytes": step.bytes,
                "ms": [{"threads": run.threads, "median": run.steps[i].median_ns * 1e-6} for run in timed],
                "share": None if not total or first is None else first / total,
                "gop_per_s": 2 * step.macs / first if first and step.macs else None,
                "gb_per_s": step.bytes / first if first else None,
            }
        )
    return found


def check(artifact: Artifact, sample: Mapping[str, Array], measured: DeviceMeasurement) -> dict[str, Any]:
    """Compare the device's outputs with the interpreter's on the artifact's graph."""
    integer = artifact.manifest.precision != "fp32"
    nothing = {"against": "interpreter", "equal_bits": integer, "tolerance": None if integer else FLOAT_TOLERANCE}
    if GRAPH not in artifact.manifest.files:
        return {**nothing, "right": None, "largest_error": None, "values": 0, "first_difference": None}
    expected = interpret(checkpoint.load(artifact.directory / GRAPH), dict(sample))
    worst, values, first = 0.0, 0, None
    for tensor in artifact.manifest.outputs:
        got, want = measured.outputs[tensor.name], np.asarray(expected[tensor.name]).reshape(tensor.shape)
        values += got.size
        wrong = got != want if integer else ~(np.abs(got - want) <= FLOAT_TOLERANCE * np.abs(want).max())
        difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
        scale = 1.0 if integer else max(float(np.abs(want).max()), SMALLEST_FLOAT)
        worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max()) / scale)
        if first is None and wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            first = {"output": tensor.name, "index": list(index), "expected": float(want[index]), "found": _finite(got[index])}
    return {
        **nothing,
        "right": first is None,
        "largest_error": _finite(worst),
        "values": values,
        "first_difference": first,
    }


def instructions(artifact: Artifact, measured: DeviceMeasurement, tvm_default: int | None) -> dict[str, Any] | None:
    """Return the instructions of one inference, and those of TVM's default pipeline; None when they were not counted."""
    if measured.instructions is None:
        return None
    macs = sum(step.macs for step in artifact.manifest.steps)
    return {
        "per_inference": measured.instructions,
        "per_mac": measured.instructions / macs if macs else None,
        "tvm_default": tvm_default,
        "of_tvm_default": measured.instructions / tvm_default if tvm_default else None,
    }


def schema() -> dict[str, Any]:
    """Return the JSON schema of profile.json."""
    text = Path(__file__).with_name("profile_report.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _plain(record: Any) -> Any:
    return json.loads(msgspec.json.encode(record))


def mismatch(report: ProfileReport) -> CompileError | None:
    """Return the error of a run with wrong outputs (exit code 3), None when they are right or were not checked."""
    wrong = report.data["check"]["first_difference"]
    if wrong is None:
        return None
    at, because = f"{wrong['output']}{wrong['index']}", f"expected {wrong['expected']:g}, found {wrong['found']}"
    hint = "please report this: it is a bug of the compiler, or the device's memory is faulty"
    found = Diagnostic("T055", "the device computes something else than the model", at, because, hint)
    return CompileError([found], Exit.MISMATCH)
