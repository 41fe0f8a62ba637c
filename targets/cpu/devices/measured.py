"""The settings and the results of a measurement on a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import msgspec
from edgewright.passes.ir import Array
from edgewright.targets.cpu.artifact import Artifact


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure. threads: the numbers of threads, None for 1, 2, 4 ... and all processors of the device.

    warmup: runs that are not timed. repeat: timed runs, as many as `seconds` allow for each number of threads. steps: runs
    that are timed step by step. power_seconds: how long power sensors are read, where there are any.
    timeout_s: abort after this many seconds. connect_s: how long a device may take to answer.
    """

    threads: tuple[int, ...] | None = None
    warmup: int = 5
    repeat: int = 100
    seconds: float = 20.0
    steps: int = 20
    power_seconds: float = 4.0
    timeout_s: float = 600.0
    connect_s: float = 10.0


Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
NoLess = Annotated[float, msgspec.Meta(ge=0)]


class StepTime(msgspec.Struct, frozen=True):
    """One step of the program over several runs."""

    median_ns: int
    min_ns: int


class TimedRun(msgspec.Struct, frozen=True):
    """The times of one number of threads: of every run, and of each step alone (empty when `Settings.steps` is 0)."""

    threads: Threads
    times_ns: Annotated[tuple[int, ...], msgspec.Meta(min_length=1)]
    steps: tuple[StepTime, ...] = ()


class Machine(msgspec.Struct, frozen=True):
    """What a machine reports about itself."""

    name: str
    arch: str
    kernel: str
    libc: str
    processors: Count
    memory_bytes: NoLess


class Zone(msgspec.Struct, frozen=True):
    """A thermal zone."""

    name: str
    millicelsius: float


class Conditions(msgspec.Struct, frozen=True):
    """What Linux reports about clock and temperature at one moment; empty or None where it reports nothing.

    throttle_count: how often processors were throttled since boot. throttled_flags: of a Raspberry Pi's firmware.
    """

    governors: tuple[str, ...] = ()
    clock_khz: tuple[float, ...] = ()
    clock_max_khz: tuple[float, ...] = ()
    thermal: tuple[Zone, ...] = ()
    throttle_count: Count | None = None
    throttled_flags: Count | None = None
    load: NoLess | None = None


class Rail(msgspec.Struct, frozen=True):
    """An electrical rail and its mean power."""

    name: str
    milliwatts: float


class Power(msgspec.Struct, frozen=True):
    """Rails while nothing ran and while `runs` inferences ran in `seconds`."""

    threads: Threads
    runs: Count
    seconds: NoLess
    samples: Count
    idle: tuple[Rail, ...]
    busy: tuple[Rail, ...]


@dataclass(frozen=True, slots=True)
class DeviceMeasurement:
    """The results of a measurement. outputs: by the model's names, as stored.

    instructions: of one inference, where they were counted. Fields are None where the device does not report them.
    """

    runs: tuple[TimedRun, ...]
    outputs: Mapping[str, Array]
    machine: Machine | None = None
    before: Conditions | None = None
    after: Conditions | None = None
    power: Power | None = None
    instructions: int | None = None
    cpu: str = ""
    notes: tuple[str, ...] = field(default=())


class ProfilingDevice(Protocol):
    """Something that runs artifacts. `emulated`: its times say nothing about speed."""

    @property
    def name(self) -> str: ...

    @property
    def emulated(self) -> bool: ...

    def run(self, artifact: Artifact, inputs: Mapping[str, Array], settings: Settings) -> DeviceMeasurement:
        """Run one sample with these settings. CompileError D008 for inputs, T04x and T05x for what the device refuses.

        No process and no file remains on the device, however the call ends.
        """
        ...
