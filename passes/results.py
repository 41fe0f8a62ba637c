"""The results of a compilation or simulation as typed values, which frontend/report shows.

`to_data(Report(...))` is report.json (frontend/report/report.schema.json). None: not measured. Each target fills the parts
that it has: an engine cycles, resources, memory map and roofline, a processor latencies and an artifact.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeAlias

import msgspec
from edgewright.passes.confidence import wilson
from edgewright.passes.names import plain

Real: TypeAlias = float  # a field is called `float`
Cell: TypeAlias = str | int | float | bool | None
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class CalibrationUsed:
    """kind: "data" or "random"; method: "minmax", "percentile" or "mse"; how: which samples calibrated, and that accuracy is of
    others, in words."""

    kind: str | None = None
    images: int | None = None
    method: str | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class OutputAccuracy:
    """Accuracy of one output, as a fraction. metric: as in `Score`."""

    output: str
    metric: str
    float: Real | None
    int8: Real | None
    images: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Accuracy of the first of `outputs` (those with labels), as a fraction of the images evaluated in software."""

    float: Real | None = None
    int8: Real | None = None
    images: int | None = None
    outputs: tuple[OutputAccuracy, ...] = ()

    @classmethod
    def of(cls, outputs: tuple[OutputAccuracy, ...]) -> Accuracy:
        """Return the accuracy of the first output, with all of them; not measured without outputs."""
        return cls(outputs[0].float, outputs[0].int8, outputs[0].images, outputs) if outputs else cls()


@dataclass(frozen=True, slots=True)
class Cycles:
    """Clock cycles for one image."""

    predicted: int | None = None
    simulated: int | None = None

    @property
    def best_known(self) -> int | None:
        """Simulated cycles, or predicted ones before a simulation."""
        return self.predicted if self.simulated is None else self.simulated


@dataclass(frozen=True, slots=True)
class MemoryUsed:
    """The external memory behind an engine whose cycles were predicted or simulated. name: "board", "ideal" or the numbers
    that were asked for; text: its timing in words; ideal_cycles: predicted with a memory that limits nothing but latency."""

    name: str
    text: str
    ideal_cycles: int | None = None


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

    @property
    def share(self) -> float | None:
        """Used over available (infinite where the board has none); None when either is unknown."""
        if self.used is None or self.available is None:
            return None
        return self.used / self.available if self.available else float("inf") if self.used else 0.0


@dataclass(frozen=True, slots=True)
class Resources:
    dsp: Resource = Resource()
    lut: Resource = Resource()
    ff: Resource = Resource()
    bram36: Resource = Resource()
    uram: Resource = Resource()

    def by_name(self) -> dict[str, Resource]:
        """The resources by the names that a reader knows them by."""
        return {
            "DSP slices": self.dsp,
            "LUTs": self.lut,
            "flip-flops": self.ff,
            "block RAM, 36 Kb": self.bram36,
            "UltraRAM, 288 Kb": self.uram,
        }


@dataclass(frozen=True, slots=True)
class SlowestChain:
    """The slowest chain between two registers of a process of an engine, by a table of delays, setup and clock uncertainty
    included. where: the source line of its slowest part; path: what it goes through, one after the other."""

    process: str
    ns: float
    where: str
    path: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """Speed of the simulator; build_seconds is 0 for a cached build."""

    kcycles_per_s: float | None = None
    seconds: float | None = None
    build_seconds: float | None = None
    simulator: str | None = None


@dataclass(frozen=True, slots=True)
class StageTime:
    """Wall-clock time of one stage of the compiler."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """Signal to quantisation noise of one layer against the float graph."""

    name: str
    op: str
    sqnr_db: float | None


@dataclass(frozen=True, slots=True)
class ArrayTime:
    """Predicted: when an engine's array works on an operation, from its first to its last cycle; for a copy, when it is stored.
    cycles: of the array by what it does ("busy") or waits for, from the end of the operation before. Those of all operations
    together are all cycles of an image."""

    first: int
    last: int
    cycles: dict[str, int]


@dataclass(frozen=True, slots=True)
class OperationCost:
    """One fused operation of the program. utilisation: macs / (cycles * products per cycle of the array). low_us, high_us:
    estimate for one thread of a CPU; limit: what bounds it there (a key of `Latency.limits`)."""

    name: str
    kind: str
    macs: int
    bytes: int | None = None
    cycles: Cycles = Cycles()
    utilisation: float | None = None
    array: ArrayTime | None = None
    low_us: float | None = None
    high_us: float | None = None
    limit: str | None = None

    @property
    def middle_us(self) -> float | None:
        """The middle of the estimated range."""
        return None if self.low_us is None or self.high_us is None else (self.low_us + self.high_us) / 2


@dataclass(frozen=True, slots=True)
class Lane:
    """What one unit or port of an engine does over time. kind: "unit", "port", or "simulated" for what a simulation counted
    at the port of that name. states: cycles in each bin in which it is "busy" or waits for something; else it is idle."""

    name: str
    kind: str
    states: dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Lanes in bins of `bin_cycles` cycles, the first from `first_cycle` on, `cycles` in all: the last one may be shorter."""

    first_cycle: int
    bin_cycles: int
    cycles: int
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class WaitReason:
    """Cycles that the array waits for something, by where that was held up: in a unit at work, "memory", "completion",
    "room" or "command"."""

    cause: str
    reason: str
    cycles: int


@dataclass(frozen=True, slots=True)
class Profile:
    """Predicted: where the cycles of an image go. timelines: of all of them, and of a part in more detail."""

    cycles: int
    timelines: tuple[Timeline, ...]
    reasons: tuple[WaitReason, ...]


@dataclass(frozen=True, slots=True)
class MemoryRange:
    """What is stored somewhere. place: "on chip", "external", or "spilled": in external memory for want of room on chip.
    first_cycle, last_cycle: predicted, from the first word that is written to the last one that is read; None: not known."""

    name: str
    region: str
    address: int
    bytes: int
    place: str | None = None
    first_cycle: int | None = None
    last_cycle: int | None = None


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """How full a memory gets: "on chip" or "external". bytes: up to the highest address in use; live_bytes: the most that
    is in use in any cycle, as predicted; capacity_bytes: what there is."""

    name: str
    bytes: int
    live_bytes: int
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class Roofline:
    """Products per cycle of the array; bytes per cycle of all ports to external memory."""

    macs_per_cycle: float | None = None
    bytes_per_cycle: float | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Estimated time of one inference on `threads` threads of a CPU, from low_ms to high_ms. limits: share of the time (middle
    of the range) of operations with that limit, by name; assumptions: what each end of the range assumes, in words."""

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
    """A latency that others measured on such a processor. macs_ratio: their model's multiply-adds over this model's;
    threads: None where the source does not say; differs: how their setup differs from this build."""

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
    """Compiled code for a CPU. features: what the processor must have, as in /proc/cpuinfo; sizes in bytes."""

    variant: str
    arch: str
    features: tuple[str, ...]
    library_bytes: int
    weights_bytes: int
    temporaries_bytes: int


@dataclass(frozen=True, slots=True)
class Table:
    """A pass's findings in rows; the first column names the row. draw: "table", "map" (all other columns are numbers, drawn
    as a heat map) or "bars" (the second column is drawn as bars). text: what it shows, one sentence. None in a cell: not
    measured."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text: str = ""
    draw: str = "table"


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy of one output on labelled data, as a fraction. metric: "top-1" (the largest value is at the
    label) or "values right" (each value on the right side of one half or, for logits, of zero)."""

    output: str
    metric: str
    value: float
    images: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Size and cost of one model: products for one inference, parameters, and its needs in the requested precision on the
    requested target. latency: an estimated range, one thread of a CPU; cycles: predicted for an FPGA. accuracy: the first of
    `scores`, which has one for each output with labels. None: neither measured nor predicted."""

    macs: int
    parameters: int
    weights_bytes: int | None = None
    temporaries_bytes: int | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    accuracy: float | None = None
    cycles: int | None = None
    scores: tuple[Score, ...] = ()

    @property
    def latency_ms(self) -> float | None:
        """The middle of the estimated range."""
        low, high = self.latency_low_ms, self.latency_high_ms
        return None if low is None or high is None else (low + high) / 2


@dataclass(frozen=True, slots=True)
class Change:
    """Effect of one pass. exact: the same values up to rounding, so nothing has to be measured. agreement: share of `images`
    (unlabelled) on which the models before and after the pass give the same answer; counts: events of the pass by name;
    seconds: run time; learned: number of samples it learned from, none of them among `images`; how: which samples were used
    for what, in words."""

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


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """All results of one compilation or simulation, in the order of report.json."""

    model: str
    target: str
    edgewright: str
    schema_version: int = SCHEMA_VERSION
    part: str | None = None
    precision: str = "int8"
    calibration: CalibrationUsed = CalibrationUsed()
    macs: int | None = None
    macs_given: int | None = None
    parameters: int | None = None
    accuracy: Accuracy = Accuracy()
    bit_exact: bool | None = None
    images: int = 0
    tensors_compared: int | None = None
    mismatch: Mismatch | None = None
    cycles: Cycles = Cycles()
    memory: MemoryUsed | None = None
    clock_mhz: float | None = None
    latency_ms: float | None = None
    resources: Resources = Resources()
    chains: tuple[SlowestChain, ...] = ()
    products_per_dsp_per_cycle: float | None = None
    simulation: Simulation = Simulation()
    stages: tuple[StageTime, ...] = ()
    peak_memory_mib: float | None = None
    layers: tuple[LayerNoise, ...] = ()
    operations: tuple[OperationCost, ...] = ()
    memory_map: tuple[MemoryRange, ...] = ()
    memory_use: tuple[MemoryUse, ...] = ()
    roofline: Roofline = Roofline()
    profile: Profile | None = None
    latency: tuple[Latency, ...] = ()
    published: tuple[Published, ...] = ()
    artifact: CpuArtifact | None = None
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()

    def facts(self) -> tuple[tuple[str, str], ...]:
        """Return the headline as names and values: what was measured, predicted or simulated of it."""
        rows = [("precision", self.precision)]
        measured = self.accuracy.float if self.precision == "fp32" else self.accuracy.int8
        if measured is not None and self.accuracy.images:
            low, high = wilson(measured, self.accuracy.images)
            limits = f"95 %: {100 * low:.1f} to {100 * high:.1f} %, {self.accuracy.images:,} samples"
            rows.append(("accuracy", f"{100 * measured:.2f} % ({limits})"))
        if self.cycles.best_known is not None:
            how = "predicted" if self.cycles.simulated is None else "simulated"
            rows.append(("cycles", f"{self.cycles.best_known:,} {how}"))
        if self.latency_ms is not None:
            rows.append(("latency", f"{self.latency_ms:.3g} ms"))
        if self.latency:
            rows.append(("latency", f"{self.latency[0].low_ms:.3g} to {self.latency[0].high_ms:.3g} ms (estimate)"))
        if self.bit_exact is not None:
            rows.append(("bit-exact", "yes" if self.bit_exact else "NO"))
        return tuple(rows)

    def __repr__(self) -> str:
        return f"<Report: {plain(self.model)} on {plain(self.target)}; {'; '.join(f'{a} {b}' for a, b in self.facts())}>"

    def _repr_html_(self) -> str:
        return html_of(f"{plain(self.model)} on {plain(self.target)}", self.facts())


def html_of(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return a small table for a notebook."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(a)}</th><td style='text-align:left'>{escape(b)}</td></tr>" for a, b in rows
    )
    return f"<table><caption style='text-align:left'><b>{escape(title)}</b></caption>{cells}</table>"


def to_data(report: object) -> dict[str, Any]:
    """Return a report (any dataclass or struct) as dicts, lists and JSON scalars, its fields in their order."""
    data: dict[str, Any] = _plain(msgspec.to_builtins(report))
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
