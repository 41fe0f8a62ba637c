"""What a compilation for a CPU showed, put together as a Report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright import __version__
from edgewright.passes import results
from edgewright.targets.cpu.artifact import LIBRARY, Manifest
from edgewright.targets.cpu.variants import runnable, variant
from edgewright.targets.estimate import Estimate, estimate

if TYPE_CHECKING:
    from edgewright.frontend.driver_cpu import CpuResult


def cpu_report(built: CpuResult) -> results.Report:
    """The report before anything was timed."""
    measured, manifest = built.measured, built.manifest
    used = built.options.precision == "int8"
    estimates = estimates_of(built)
    return results.Report(
        model=built.model,
        target=built.device.name,
        edgewright=__version__,
        part=built.device.part,
        precision=manifest.precision,
        calibration=results.CalibrationUsed(
            measured.calibration_kind if used else None,
            measured.calibration_images if used else None,
            built.options.method if used else None,
        ),
        macs=sum(step.macs for step in manifest.steps),
        parameters=measured.parameters,
        accuracy=results.Accuracy.of(measured.accuracy),
        clock_mhz=built.device.clock_mhz,
        stages=tuple(results.StageTime(name, round(seconds, 3)) for name, seconds in built.stages),
        peak_memory_mib=round(built.peak_memory_mib, 1),
        layers=tuple(results.LayerNoise(*row) for row in measured.layers),
        operations=operations_of(manifest, estimates[0] if estimates else None),
        latency=tuple(latency_of(one) for one in estimates),
        published=published_of(estimates[0]) if estimates else (),
        artifact=results.CpuArtifact(
            manifest.variant,
            manifest.arch,
            tuple(manifest.features),
            len(built.files[LIBRARY]),
            manifest.weights_bytes,
            manifest.workspace_bytes,
        ),
        changes=built.record.changes,
        notes=(*built.graph.notes, *built.record.notes),
    )


def estimates_of(built: CpuResult) -> tuple[Estimate, ...]:
    """For one thread and for all cores of the board; none where its processor does not run the kernels."""
    device, kernels = built.device, variant(built.manifest.variant)
    if device.cpu is None or device.clock_mhz is None or not built.works:
        return ()
    own = variant(device.cpu.variant)
    if kernels not in runnable(own.arch, own.features):
        return ()
    return tuple(estimate(built.works, device, threads, kernels.name) for threads in sorted({1, device.cpu.cores}))


def operations_of(manifest: Manifest, single: Estimate | None) -> tuple[results.OperationCost, ...]:
    """The steps of the program, each with its share of the estimate for one thread where there is one."""
    if single is None:
        return tuple(results.OperationCost(step.name, step.kind, step.macs, step.bytes) for step in manifest.steps)
    return tuple(
        results.OperationCost(
            step.name,
            found.kind,
            step.macs,
            step.bytes,
            low_us=round(found.low_us, 3),
            high_us=round(found.high_us, 3),
            limit=found.limit,
        )
        for step, found in zip(manifest.steps, single.steps, strict=True)
    )


def latency_of(found: Estimate) -> results.Latency:
    """An estimate without its steps."""
    return results.Latency(
        threads=found.threads,
        low_ms=round(found.low_ms, 6),
        high_ms=round(found.high_ms, 6),
        core=found.core,
        limits={name: round(share, 4) for name, share in found.limits.items()},
        assumptions_low=found.assumptions_low,
        assumptions_high=found.assumptions_high,
    )


def published_of(found: Estimate) -> tuple[results.Published, ...]:
    """What others measured near it."""
    return tuple(
        results.Published(
            row.model,
            row.ms,
            row.threads,
            row.precision,
            row.runtime,
            row.macs,
            round(row.macs_ratio, 4),
            row.differs,
            row.source,
        )
        for row in found.published
    )
