"""Measure how fast an artifact is on a device, and whether it computes the right outputs there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from edgewright import __version__
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.ir import Array, Graph, checkpoint
from edgewright.passes.ir.interp import interpret
from edgewright.targets.cpu import profile_conditions
from edgewright.targets.cpu import profile_results as results
from edgewright.targets.cpu.artifact import Artifact
from edgewright.targets.cpu.devices.measured import DeviceMeasurement, ProfilingDevice, Settings, TimedRun
from edgewright.targets.cpu.profile_results import OutputCheck, ProfiledStep, ProfileReport, RunTimes

FORMAT = 1
GRAPH, SAMPLES = "checkpoints/passes.npz", "checkpoints/samples.npz"
FLOAT_TOLERANCE = 1e-4
"""Largest difference from the interpreter, as a share of the largest output: exp and erf are polynomials here."""
SMALLEST_FLOAT = float(np.finfo(np.float32).tiny)
EMULATED = "Times under an emulator say nothing about the device; its instruction counts and results do."


def profile(
    artifact: Artifact,
    device: ProfilingDevice,
    inputs: Mapping[str, Array] | None = None,
    settings: Settings | None = None,
    *,
    graph: Graph | None = None,
    tvm_default_instructions: int | None = None,
) -> ProfileReport:
    """Run one sample with these settings and compare its outputs with the interpreter's.

    inputs: by the model's names, None for the first sample in the artifact. graph: the artifact's own, if it has been read
    already. tvm_default_instructions: those of the same model with TVM's own schedules, where they were counted.
    CompileError as `ProfilingDevice.run`, D009 without inputs.
    """
    settings = settings or Settings()
    source = "given" if inputs is not None else "a calibration sample"
    sample = dict(inputs) if inputs is not None else kept_sample(artifact)
    measured = device.run(artifact, sample, settings)
    manifest = artifact.manifest
    timed = () if device.emulated else measured.runs
    macs = sum(step.macs for step in manifest.steps)
    runs = tuple(run_times(run, macs) for run in timed)
    return ProfileReport(
        format=FORMAT,
        edgewright=__version__,
        model=manifest.model,
        target=manifest.target,
        precision=manifest.precision,
        arch=manifest.arch,
        variant=manifest.variant,
        device=results.ProfiledDevice(device.name, device.emulated, measured.cpu or None, measured.machine),
        input=source,
        macs=macs,
        weight_bytes=manifest.weights_bytes,
        workspace_bytes=manifest.workspace_bytes,
        settings=results.RunCounts(settings.warmup, settings.repeat, settings.steps),
        runs=runs,
        operations=steps(artifact, timed),
        check=check(artifact, sample, measured, graph),
        instructions=instructions(measured.instructions, macs, tvm_default_instructions),
        conditions=results.ConditionsAround(measured.before, measured.after),
        power=profile_conditions.power(measured.power),
        warnings=tuple(profile_conditions.warnings(measured, runs)),
        notes=((EMULATED,) if device.emulated else ()) + measured.notes,
    )


def kept_sample(artifact: Artifact) -> dict[str, Array]:
    """Return the first sample that compilation left in the artifact. CompileError D009 when there is none."""
    shapes = {port.name: port.shape for port in artifact.manifest.inputs}
    try:
        with np.load(artifact.directory / SAMPLES, allow_pickle=False) as samples:
            return {name: samples[name][: shape[0] if shape else None].reshape(shape) for name, shape in shapes.items()}
    except (OSError, KeyError, ValueError) as error:
        fail("D009", "there is no input to run", str(artifact.directory), str(error), "give --input x.npz")


def run_times(run: TimedRun, macs: int) -> RunTimes:
    """Return the statistics of one number of threads."""
    times = np.asarray(run.times_ns, np.float64) * 1e-6
    low, median, high = (float(np.percentile(times, q)) for q in (5, 50, 95))
    return RunTimes(
        threads=run.threads,
        count=len(times),
        median_ms=median,
        mean_ms=float(times.mean()),
        p95_ms=high,
        min_ms=float(times.min()),
        max_ms=float(times.max()),
        spread=(high - low) / median,
        gop_per_s=2 * macs / median * 1e-6,
        per_second=1e3 / median,
        steps_ms=sum(step.median_ns for step in run.steps) * 1e-6 if run.steps else None,
    )


def steps(artifact: Artifact, runs: Sequence[TimedRun]) -> tuple[ProfiledStep, ...]:
    """Return every step with its median time by number of threads."""
    timed = [run for run in runs if run.steps]
    total = sum(step.median_ns for step in timed[0].steps) if timed else 0
    profiled = []
    for i, step in enumerate(artifact.manifest.steps):
        times = tuple(results.MedianTime(run.threads, run.steps[i].median_ns * 1e-6) for run in timed)
        first = timed[0].steps[i].median_ns if timed else None
        share = None if not total or first is None else first / total
        speed = 2 * step.macs / first if first and step.macs else None
        bandwidth = step.bytes / first if first else None
        profiled.append(ProfiledStep(step.name, step.kind, step.macs, step.bytes, times, share, speed, bandwidth))
    return tuple(profiled)


def check(
    artifact: Artifact, sample: Mapping[str, Array], measured: DeviceMeasurement, graph: Graph | None = None
) -> OutputCheck:
    """Compare the device's outputs with the interpreter's on the artifact's graph."""
    integer = artifact.manifest.precision != "fp32"
    unchecked = OutputCheck("interpreter", integer, None if integer else FLOAT_TOLERANCE, None, None, 0, None)
    if GRAPH not in artifact.manifest.files:
        return unchecked
    expected = interpret(graph or checkpoint.load(artifact.directory / GRAPH), dict(sample))
    worst, values, first = 0.0, 0, None
    for port in artifact.manifest.outputs:
        got, want = measured.outputs[port.name], np.asarray(expected[port.name]).reshape(port.shape)
        values += got.size
        wrong = got != want if integer else ~(np.abs(got - want) <= FLOAT_TOLERANCE * np.abs(want).max())
        difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
        scale = 1.0 if integer else max(float(np.abs(want).max()), SMALLEST_FLOAT)
        worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max()) / scale)
        if first is None and wrong.any():
            index = tuple(int(i) for i in np.argwhere(wrong)[0])
            first = results.FirstDifference(port.name, index, float(want[index]), _finite(got[index]))
    error, tolerance = _finite(worst), unchecked.tolerance
    return OutputCheck(unchecked.against, integer, tolerance, first is None, error, values, first)


def instructions(count: int | None, macs: int, tvm_default: int | None) -> results.InstructionCount | None:
    """Return the counted instructions of one inference, beside those of TVM's default pipeline; None if not counted."""
    if count is None:
        return None
    per_mac, of_tvm = count / macs if macs else None, count / tvm_default if tvm_default else None
    return results.InstructionCount(count, per_mac, tvm_default, of_tvm)


def _finite(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def mismatch(report: ProfileReport) -> CompileError | None:
    """Return the error of a run whose outputs are wrong (exit code 3), None when they are right or were not checked."""
    wrong = report.check.first_difference
    if wrong is None:
        return None
    message, at = "the device's outputs differ from the model's", f"{wrong.output}{list(wrong.index)}"
    because = f"expected {wrong.expected:g}, found {wrong.found}"
    help_text = "please report this: it is a bug of the compiler, or the device's memory is faulty"
    return CompileError([Diagnostic("T055", message, at, because, help_text)], Exit.MISMATCH)
