"""What a kind of target is: one folder with one object that meets `Target`, named in `KINDS` or by `register`."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from edgewright import __version__
from edgewright.frontend.options import Options
from edgewright.passes import results
from edgewright.passes.ir import Graph
from edgewright.passes.transform import Progress
from edgewright.targets import device as devices
from edgewright.targets.device import Device

if TYPE_CHECKING:
    from edgewright.frontend.bundle import Bundle
    from edgewright.frontend.stages import Record

KINDS = {"fpga": "edgewright.frontend.fpga.target", "cpu": "edgewright.frontend.cpu.target"}
"""The module of each kind of target; its `TARGET` is the kind's `Target`."""


class Clock:
    """Times stages and tells the caller which one runs."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress: Progress = progress or (lambda stage, done, total: None)
        self.stages: list[tuple[str, float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under ``name``."""
        self.progress(name, 0, 0)
        started = time.perf_counter()
        yield
        self.stages.append((name, time.perf_counter() - started))

    def figures(self) -> dict[str, Any]:
        """Return the fields of a report that say what compiling took."""
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        stages = tuple(results.StageTime(name, round(seconds, 3)) for name, seconds in self.stages)
        return {"stages": stages, "peak_memory_mib": round(peak_mib, 1)}


@dataclass(frozen=True, slots=True)
class Measured:
    """What the software models said while compiling; None where there was nothing to measure. calibration_how: which samples
    calibrated, in words; notes: what the user must know about the data."""

    accuracy: tuple[results.OutputAccuracy, ...] = ()
    layers: tuple[tuple[str, str, float | None], ...] = ()
    calibration_kind: str = "data"
    calibration_images: int = 0
    parameters: int | None = None
    macs: int | None = None
    calibration_how: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model that is ready for a target. ``graph``: float or integer, as the precision says; ``files``: those of the bundle
    so far; ``previous``: the bundle that a stage after "passes" starts from."""

    model: str
    device: Device
    graph: Graph
    record: Record
    measured: Measured
    clock: Clock
    files: dict[str, bytes]
    previous: Path | None = None

    def report(self, options: Options, **figures: Any) -> results.Report:
        """Return the report before anything ran: what the reports of all kinds share, and a kind's own ``figures``."""
        measured, calibration = self.measured, results.CalibrationUsed()
        if options.precision == "int8":
            calibration = results.CalibrationUsed(
                measured.calibration_kind, measured.calibration_images, options.method, measured.calibration_how
            )
        shared: dict[str, Any] = {
            "part": self.device.part,
            "precision": options.precision,
            "calibration": calibration,
            "macs_given": measured.macs,
            "parameters": measured.parameters,
            "accuracy": results.Accuracy.of(measured.accuracy),
            "clock_mhz": self.device.clock_mhz,
            "layers": tuple(results.LayerNoise(*row) for row in measured.layers),
            "changes": self.record.changes,
            "notes": (*self.graph.notes, *self.record.notes, *measured.notes),
        }
        return results.Report(self.model, self.device.name, __version__, **(shared | self.clock.figures() | figures))


class Target(Protocol):
    """A kind of target: checks options, says which graphs it runs and what they cost, builds and opens bundles."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it computes in, the default first."""

    @property
    def bundle(self) -> type[Bundle[Any]]:
        """The kind of bundle that it builds."""

    def check(self, options: Options, device: Device) -> None:
        """CompileError (exit 2) for options that the device does not allow."""

    def has_rms_norm(self, options: Options) -> bool:
        """Return whether it computes an RMSNormalization, so that the passes need not keep the mean of a LayerNormalization."""

    def build(self, prepared: Prepared, options: Options) -> Bundle[Any]:
        """Return the bundle of a model, not yet in a folder. CompileError with every reason of the stage that failed."""

    def check_graph(self, graph: Graph, device: Device, precision: str) -> None:
        """CompileError with the reasons why a float graph cannot be compiled so; nothing is written."""

    def price(self, graph: Graph, device: Device, precision: str, variant: str | None) -> results.Snapshot:
        """Return what an optimised float graph costs there: the fields of a snapshot that it can predict.

        `Unpriced` with what is known when some cannot be predicted, CompileError for a graph that it does not run."""


class Unpriced(Exception):
    """Why a figure of a snapshot is missing, and the snapshot without it."""

    def __init__(self, reason: str, known: results.Snapshot) -> None:
        super().__init__(reason)
        self.known = known


def target_of(kind: str) -> Target:
    """Return the target of a kind of board."""
    return cast(Target, import_module(KINDS[kind]).TARGET)


def register(kind: str, module: str) -> None:
    """Add a kind of target: the module that has its `TARGET`, with board files beside it in a folder `boards`."""
    KINDS[kind] = module
    if kind not in devices.KINDS:
        devices.KINDS.append(kind)
    folder = Path(str(import_module(module).__file__)).with_name("boards")
    if folder not in devices.BOARD_FOLDERS:
        devices.BOARD_FOLDERS.append(folder)
