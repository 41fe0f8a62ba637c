"""The report of a compilation for a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.frontend.options import Options
from edgewright.frontend.target import Prepared
from edgewright.passes import results
from edgewright.targets.cpu.artifact import CpuManifest
from edgewright.targets.cpu.variants import runnable, variant
from edgewright.targets.device import Device
from edgewright.targets.estimate import Estimate, StepWork, estimate


def cpu_report(
    prepared: Prepared, options: Options, manifest: CpuManifest, works: Sequence[StepWork], library_bytes: int
) -> results.Report:
    """Return the report before anything was timed."""
    estimates = estimates_of(prepared.device, manifest, works)
    return prepared.report(
        options,
        precision=manifest.precision,
        macs=sum(step.macs for step in manifest.steps),
        operations=operations_of(manifest, estimates[0] if estimates else None),
        latency=tuple(latency_of(found) for found in estimates),
        published=published_of(estimates[0]) if estimates else (),
        artifact=results.CpuArtifact(
            manifest.variant,
            manifest.arch,
            manifest.features,
            library_bytes,
            manifest.weights_bytes,
            manifest.workspace_bytes,
        ),
    )


def estimates_of(device: Device, manifest: CpuManifest, works: Sequence[StepWork]) -> tuple[Estimate, ...]:
    """Return estimates for one thread and for all cores; none where the board's processor does not run the kernels."""
    kernels = variant(manifest.variant)
    if device.cpu is None or device.clock_mhz is None or not works:
        return ()
    own = variant(device.cpu.variant)
    if kernels not in runnable(own.arch, own.features):
        return ()
    return tuple(estimate(works, device, threads, kernels.name) for threads in sorted({1, device.cpu.cores}))


def operations_of(manifest: CpuManifest, single: Estimate | None) -> tuple[results.OperationCost, ...]:
    """Return the steps of the program, each with its share of the estimate for one thread where there is one."""
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
    """Return an estimate without its steps."""
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
    """Return what others measured on such a processor."""
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
