"""A profile as typed values; `passes.results.to_data` makes profile.json of it (profile_report.schema.json).

Times are in milliseconds. None: not measured, or the device cannot tell.
"""

from __future__ import annotations

import msgspec
from edgewright.passes.names import plain
from edgewright.targets.cpu.devices.measured import Conditions, Machine


class ProfiledDevice(msgspec.Struct, frozen=True):
    """Where the artifact ran. cpu: the emulated processor."""

    name: str
    emulated: bool
    cpu: str | None
    machine: Machine | None


class RunCounts(msgspec.Struct, frozen=True):
    """Runs to warm up, timed runs, and runs timed step by step."""

    warmup: int
    repeat: int
    step_runs: int


class RunTimes(msgspec.Struct, frozen=True):
    """Statistics of one number of threads. spread: from the 5th to the 95th percentile over the median; steps_ms: sum of the
    steps' medians."""

    threads: int
    count: int
    median_ms: float
    mean_ms: float
    p95_ms: float
    min_ms: float
    max_ms: float
    spread: float
    gop_per_s: float
    per_second: float
    steps_ms: float | None


class MedianTime(msgspec.Struct, frozen=True):
    """The median time of one step with one number of threads."""

    threads: int
    median: float


class ProfiledStep(msgspec.Struct, frozen=True):
    """One step of the program; share and speed are those of the first number of threads."""

    name: str
    kind: str
    macs: int
    bytes: int
    ms: tuple[MedianTime, ...]
    share: float | None
    gop_per_s: float | None
    gb_per_s: float | None


class FirstDifference(msgspec.Struct, frozen=True):
    """The first output value that differs; found: None if it is not finite."""

    output: str
    index: tuple[int, ...]
    expected: float
    found: float | None


class OutputCheck(msgspec.Struct, frozen=True):
    """The device's outputs against the interpreter's. equal_bits: of integers, else within `tolerance` of the largest output;
    right: None if nothing was compared; largest_error: None if it is not finite."""

    against: str
    equal_bits: bool
    tolerance: float | None
    right: bool | None
    largest_error: float | None
    values: int
    first_difference: FirstDifference | None


class InstructionCount(msgspec.Struct, frozen=True):
    """Counted instructions, beside those of TVM's default pipeline where somebody counted them."""

    per_inference: int
    per_mac: float | None
    tvm_default: int | None
    of_tvm_default: float | None


class ConditionsAround(msgspec.Struct, frozen=True):
    """Clock, heat and load before and after the runs."""

    before: Conditions | None
    after: Conditions | None


class RailEnergy(msgspec.Struct, frozen=True):
    """Mean power of a rail, and its energy for one inference."""

    name: str
    idle_mw: float | None
    busy_mw: float
    mj_per_inference: float
    mj_above_idle: float | None


class PowerUse(msgspec.Struct, frozen=True):
    """Rails over `runs` inferences in `seconds`. input_rail: the one that feeds the whole module."""

    threads: int
    runs: int
    seconds: float
    samples: int
    rails: tuple[RailEnergy, ...]
    input_rail: str | None


class ProfileReport(msgspec.Struct, frozen=True):
    """All results of one profile, in the order of profile.json."""

    format: int
    edgewright: str
    model: str
    target: str
    precision: str
    arch: str
    variant: str
    device: ProfiledDevice
    input: str
    macs: int
    weight_bytes: int
    workspace_bytes: int
    settings: RunCounts
    runs: tuple[RunTimes, ...]
    operations: tuple[ProfiledStep, ...]
    check: OutputCheck
    instructions: InstructionCount | None
    conditions: ConditionsAround
    power: PowerUse | None
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        time = "" if self.median_ms is None else f", {self.median_ms:.3g} ms"
        return f"<ProfileReport: {plain(self.model)} for {plain(self.target)}{time}, outputs right: {self.exact}>"

    @property
    def exact(self) -> bool | None:
        """Whether the outputs are right: bits of an integer model, a tolerance for floats; None when unchecked."""
        return self.check.right

    @property
    def fastest(self) -> RunTimes | None:
        """The run with the smallest median time; None under an emulator."""
        return min(self.runs, key=lambda run: run.median_ms, default=None)

    @property
    def median_ms(self) -> float | None:
        """The median time with the fastest number of threads; None under an emulator."""
        return None if self.fastest is None else self.fastest.median_ms
