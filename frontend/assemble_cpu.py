"""What a compilation for a CPU showed, put together as a Report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgewright import __version__
from edgewright.passes import results

if TYPE_CHECKING:
    from edgewright.frontend.driver_cpu import CpuResult


def cpu_report(built: CpuResult) -> results.Report:
    """The report before anything was timed."""
    measured, manifest = built.measured, built.manifest
    notes = (
        f"Kernels: {manifest.variant} ({manifest.arch}); weights {manifest.weights_bytes:,} bytes, "
        f"temporaries {manifest.workspace_bytes:,} bytes.",
    )
    used = built.options.precision == "int8"
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
        accuracy=results.Accuracy(measured.accuracy_float, measured.accuracy_int8, measured.evaluated),
        clock_mhz=built.device.clock_mhz,
        stages=tuple(results.Stage(name, round(seconds, 3)) for name, seconds in built.stages),
        peak_memory_mib=round(built.peak_memory_mib, 1),
        layers=tuple(results.Layer(*row) for row in measured.layers),
        operations=tuple(results.OperationCost(step.name, step.kind, step.macs, step.bytes) for step in manifest.steps),
        notes=notes,
    )
