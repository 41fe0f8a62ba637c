"""What a build or a simulation shows, as data: made by hw, sim and targets, shown by frontend.

`to_data(Report(...))` is report.json (frontend/report/report.schema.json): nested fields by name. None: nobody measured it.
A build for a CPU has an `artifact` and no cycles, resources, memory map or roofline; for an FPGA it is the other way.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Real: TypeAlias = float  # a field is called `float`
Cell: TypeAlias = str | int | float | bool | None
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class CalibrationUsed:
    """kind: "data" or "random"; method: "minmax", "percentile" or "mse"."""

    kind: str | None = None
    images: int | None = None
    method: str | None = None


@dataclass(frozen=True, slots=True)
class OutputAccuracy:
    """How right one output is, as a fraction. metric: as in `Score`."""

    output: str
    metric: str
    float: Real | None
    int8: Real | None
    images: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """That of the first of `outputs`, those with labels, as a fraction of the images evaluated in software."""

    float: Real | None = None
    int8: Real | None = None
    images: int | None = None
    outputs: tuple[OutputAccuracy, ...] = ()

    @classmethod
    def of(cls, outputs: tuple[OutputAccuracy, ...]) -> Accuracy:
        """With the first one in front; nothing measured where there are none."""
        return cls(outputs[0].float, outputs[0].int8, outputs[0].images, outputs) if outputs else cls()


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
class Table:
    """What a pass says in rows: the first column names the row. draw: "table", "map" (every other column is one number a
    row, drawn as a heat map) or "bars" (the second column is drawn as bars). text: what it shows, one sentence.
    None in a cell: nobody measured it."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text: str = ""
    draw: str = "table"


@dataclass(frozen=True, slots=True)
class Score:
    """How right one output is on labelled data, as a fraction. metric: "top-1" (the largest value is at the
    label) or "values right" (each value on the right side of one half or, for logits, of zero)."""

    output: str
    metric: str
    value: float
    images: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One model: products for one inference, parameters, and what it needs in the precision and on the target that was
    asked for. latency: an estimated range, one thread of a CPU; cycles: predicted for an FPGA. accuracy: the first of
    `scores`, one for each output that has labels. None: nobody measured or predicted it."""

    macs: int
    parameters: int
    weights_bytes: int | None = None
    temporaries_bytes: int | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    accuracy: float | None = None
    cycles: int | None = None
    scores: tuple[Score, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """What one pass changed. exact: the same values but for rounding, so that nothing has to be measured. agreement: share
    of `images` (unlabelled) on which the model before the pass and the one after it say the same; counts: events of the
    pass by name; seconds: how long it ran; learned: samples that it learned from, none of them among `images`; how: which
    samples were which, in words."""

    name: str
    exact: bool
    before: Snapshot
    after: Snapshot
    agreement: float | None = None
    images: int | None = None
    learned: int | None = None
    seconds: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    how: str = ""


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
    changes: tuple[Change, ...] = ()
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
