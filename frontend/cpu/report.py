"""The report of a compilation for a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edgewright.frontend.options import Options
from edgewright.frontend.target import Prepared
from edgewright.passes import results
from edgewright.targets.cpu.artifact import CpuManifest
from edgewright.targets.cpu.variants import Variant, runnable, variant
from edgewright.targets.device import Cpu, Device
from edgewright.targets.estimate import Estimate, StepWork, estimate


def cpu_report(
    prepared: Prepared, options: Options, manifest: CpuManifest, works: Sequence[StepWork], library_bytes: int
) -> results.Report:
    """Return the report before anything was timed."""
    estimates = estimates_of(prepared.device, manifest, works)
    sizes = (library_bytes, manifest.weights_bytes, manifest.workspace_bytes)
    return prepared.report(
        options,
        precision=manifest.precision,
        macs=sum(step.macs for step in manifest.steps),
        operations=operations_of(manifest, estimates[0] if estimates else None),
        latency=tuple(map(latency_of, estimates)),
        published=published_of(estimates[0]) if estimates else (),
        artifact=results.CpuArtifact(manifest.variant, manifest.arch, manifest.features, *sizes),
    )


def estimates_of(device: Device, manifest: CpuManifest, works: Sequence[StepWork]) -> tuple[Estimate, ...]:
    """Return estimates for one thread and for all cores; none where the board's processor does not run the kernels."""
    cpu = estimated_cpu(device, variant(manifest.variant))
    if cpu is None or not works:
        return ()
    return tuple(estimate(works, device, threads, manifest.variant) for threads in sorted({1, cpu.cores}))


def estimated_cpu(device: Device, kernels: Variant) -> Cpu | None:
    """Return a board's processor; None where it does not run these kernels, or too little is known of it for an estimate."""
    if device.cpu is None or device.clock_mhz is None:
        return None
    processor = variant(device.cpu.variant)
    return device.cpu if kernels in runnable(processor.arch, processor.features) else None


def operations_of(manifest: CpuManifest, single: Estimate | None) -> tuple[results.OperationCost, ...]:
    """Return the steps of the program, each with its share of the estimate for one thread where there is one."""
    costs = tuple(results.OperationCost(step.name, step.kind, step.macs, step.bytes) for step in manifest.steps)
    if single is None:
        return costs
    return tuple(
        replace(cost, kind=step.kind, low_us=round(step.low_us, 3), high_us=round(step.high_us, 3), limit=step.limit)
        for cost, step in zip(costs, single.steps, strict=True)
    )


def latency_of(whole: Estimate) -> results.Latency:
    """Return an estimate without its steps."""
    limits = {name: round(share, 4) for name, share in whole.limits.items()}
    low_ms, high_ms = round(whole.low_ms, 6), round(whole.high_ms, 6)
    assumptions = (whole.assumptions_low, whole.assumptions_high)
    return results.Latency(whole.threads, low_ms, high_ms, whole.core, limits, *assumptions)


def published_of(whole: Estimate) -> tuple[results.Published, ...]:
    """Return what others measured on such a processor."""
    return tuple(replace(row, macs_ratio=round(row.macs_ratio, 4)) for row in whole.published)
