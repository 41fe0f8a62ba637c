"""What a build or a simulation shows, as data: made by hw, sim and targets, shown by frontend.

`to_data(Report(...))` is report.json (frontend/report.schema.json): nested fields by name. None: nobody measured it.
A build for a CPU has an `artifact` and no cycles, resources, memory map or roofline; for an FPGA it is the other way.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

Real: TypeAlias = float  # a field is called `float`
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class CalibrationUsed:
    """kind: "data" or "random"; method: "minmax", "percentile" or "mse"."""

    kind: str | None = None
    images: int | None = None
    method: str | None = None


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Top-1 as a fraction of the labelled images evaluated in software."""

    float: Real | None = None
    int8: Real | None = None
    images: int | None = None


@dataclass(frozen=True, slots=True)
class Cycles:
    """Clock cycles for one image."""

    predicted: int | None = None
    simulated: int | None = None


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first stored value that differs between hardware and interpreter."""

    operation: str
    tensor: str
    index: tuple[int, ...]
    expected: int
    found: int


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of resource; source: the tool behind `used` and what kind of estimate it is."""

    used: int | None = None
    available: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Resources:
    dsp: Resource = Resource()
    lut: Resource = Resource()
    ff: Resource = Resource()
    bram36: Resource = Resource()
    uram: Resource = Resource()


@dataclass(frozen=True, slots=True)
class Simulation:
    """How fast the simulator ran; build_seconds is 0 when the build came from the cache."""

    kcycles_per_s: float | None = None
    seconds: float | None = None
    build_seconds: float | None = None
    simulator: str | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """Wall-clock time of one stage of the compiler."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Layer:
    """Signal to quantisation noise of one layer against the float graph."""

    name: str
    op: str
    sqnr_db: float | None


@dataclass(frozen=True, slots=True)
class OperationCost:
    """One fused operation of the program. utilisation: macs / (cycles * products per cycle of the array). low_us, high_us:
    estimated with one thread of a CPU, limit: what takes longest there (a key of `Latency.limits`)."""

    name: str
    kind: str
    macs: int
    bytes: int | None = None
    cycles: Cycles = Cycles()
    utilisation: float | None = None
    low_us: float | None = None
    high_us: float | None = None
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class MemoryRange:
    name: str
    region: str
    address: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Roofline:
    """Products per cycle of the array; bytes per cycle of all ports to external memory."""

    macs_per_cycle: float | None = None
    bytes_per_cycle: float | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """One inference on so many threads of a CPU, between low_ms and high_ms. limits: share of the middle of the range that
    operations with that limit take, by name; assumptions: what each end takes for granted, in words."""

    threads: int
    low_ms: float
    high_ms: float
    core: str
    limits: dict[str, float]
    assumptions_low: str
    assumptions_high: str
    label: str = "estimate"


@dataclass(frozen=True, slots=True)
class Published:
    """A latency that others measured on such a processor. macs_ratio: their model's multiply-adds per one of this one's;
    threads: None where the source does not say; differs: what is not as in this build."""

    model: str
    ms: float
    threads: int | None
    precision: str
    runtime: str
    macs: int
    macs_ratio: float
    differs: str
    source: str


@dataclass(frozen=True, slots=True)
class CpuArtifact:
    """What was compiled for a CPU. features: what the processor must have, as in /proc/cpuinfo; sizes in bytes."""

    variant: str
    arch: str
    features: tuple[str, ...]
    library_bytes: int
    weights_bytes: int
    temporaries_bytes: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one build or simulation showed, in the order of report.json."""

    model: str
    target: str
    edgewright: str
    schema_version: int = SCHEMA_VERSION
    part: str | None = None
    precision: str = "int8"
    calibration: CalibrationUsed = CalibrationUsed()
    macs: int | None = None
    parameters: int | None = None
    accuracy: Accuracy = Accuracy()
    bit_exact: bool | None = None
    images: int = 0
    tensors_compared: int | None = None
    mismatch: Mismatch | None = None
    cycles: Cycles = Cycles()
    clock_mhz: float | None = None
    latency_ms: float | None = None
    resources: Resources = Resources()
    products_per_dsp_per_cycle: float | None = None
    simulation: Simulation = Simulation()
    stages: tuple[Stage, ...] = ()
    peak_memory_mib: float | None = None
    layers: tuple[Layer, ...] = ()
    operations: tuple[OperationCost, ...] = ()
    memory_map: tuple[MemoryRange, ...] = ()
    roofline: Roofline = Roofline()
    latency: tuple[Latency, ...] = ()
    published: tuple[Published, ...] = ()
    artifact: CpuArtifact | None = None
    notes: tuple[str, ...] = ()


def to_data(report: Report) -> dict[str, Any]:
    """The report as JSON's own types."""
    data = _plain(dataclasses.asdict(report))
    assert isinstance(data, dict)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
