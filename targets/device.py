"""The devices that models run on, as data: one strict TOML file per board and no code.

A number in a board file without a stated source is an error, so every figure that a report shows can be traced.
"""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec
from edgewright.passes.diagnostics import Exit, fail
from edgewright.targets.cpu.variants import VARIANTS

HOST = "host"
BOARD_FOLDERS: list[Traversable] = [resources.files(__package__) / "boards"]
"""Where board files lie; a kind of target may add its own."""
KINDS = ["fpga", "cpu"]
"""The kinds of target in the order of lists."""
_NUMBERS = ("clock_mhz", "resources", "memory", "engine", "cpu", "gpu", "tvm_target")
_CPU_SOURCES = ("cpu", "cpu.pipes", "cpu.caches", "cpu.bandwidth")


class LogicResources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The resources of the programmable logic. `bram36` counts 36 Kb blocks, `uram` 288 Kb blocks."""

    dsp: int
    lut: int
    ff: int
    bram36: int
    uram: int


class Dram(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How external memory answers the programmable logic.

    `read_latency_ns`: from an address at an AXI port to the first data, DRAM idle; `write_latency_ns`: from the last data
    to the response. `outstanding`: transactions that a port keeps in flight in each direction. `efficiency`: the share of
    the peak bandwidth that a good access pattern reaches. `line_bytes`: what one DRAM burst moves. `page_bytes`, `banks`:
    a row of all devices together, and how many can be open. `activate_ns`: for how long opening a row delays other
    traffic. `refresh_ns` without service every `refresh_interval_ns`.
    """

    read_latency_ns: float
    write_latency_ns: float
    outstanding: int
    efficiency: float
    line_bytes: int
    page_bytes: int
    banks: int
    activate_ns: float
    refresh_ns: float
    refresh_interval_ns: float

    def __post_init__(self) -> None:
        if wrong := [name for name in self.__struct_fields__ if not getattr(self, name) > 0]:
            raise ValueError(f"memory.dram: {', '.join(wrong)} must be positive")
        if self.efficiency > 1 or self.refresh_ns >= self.refresh_interval_ns:
            raise ValueError("memory.dram: efficiency is at most 1, and refresh_ns shorter than refresh_interval_ns")
        if self.outstanding > 64 or self.banks > 64:
            raise ValueError("memory.dram: at most 64 outstanding transactions and 64 banks are simulated")
        if self.page_bytes % self.line_bytes or self.line_bytes % 16:
            raise ValueError("memory.dram: line_bytes is a multiple of 16, and page_bytes one of line_bytes")


class ExternalMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """External memory: size, peak bandwidth in 10^9 bytes per second, the AXI ports from logic to it, and its timing."""

    dram_mib: int
    dram_gb_per_s: float
    axi_ports: int = 0
    axi_bits: int = 0
    dram: Dram | None = None


class Cpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The application processor: what code is compiled for, and the figures for the estimate of its speed.

    `variant`: the micro-kernels (targets/cpu/variants.py). `midr`: implementer and part of the core in hexadecimal, as
    /proc/cpuinfo of an aarch64 machine gives them. `clock_max_mhz`: the highest clock, where the device's
    `clock_mhz` is the one that all cores sustain. Instructions a core completes per cycle, on vectors of `simd_bits`: `fma`
    multiply-adds of float32, `mull` widening products of integers (SMLAL, VPMADDWD: simd_bits / 16 products), `dot` dot
    products of bytes (SDOT, VPDPBUSD: simd_bits / 8), `mma` matrix products of bytes (SMMLA: simd_bits / 4), `vector`
    anything else; `issue_width` all together. `tile_macs_per_cycle`: products of bytes in a matrix unit (AMX).
    `l2_cores`: how many cores share one L2; the L3 is shared by all. `read_gb_per_s`: what one core, and
    `read_all_gb_per_s` what all cores together, read from memory.
    """

    core: str
    cores: int
    variant: str
    midr: str = ""
    clock_max_mhz: float
    issue_width: int
    simd_bits: int
    fma_per_cycle: float
    mull_per_cycle: float
    dot_per_cycle: float = 0.0
    mma_per_cycle: float = 0.0
    tile_macs_per_cycle: float = 0.0
    vector_per_cycle: float
    l1d_kib: int
    l2_kib: int
    l2_cores: int = 1
    l3_kib: int = 0
    read_gb_per_s: float
    read_all_gb_per_s: float

    def __post_init__(self) -> None:
        positive = (
            "cores",
            "clock_max_mhz",
            "issue_width",
            "simd_bits",
            "fma_per_cycle",
            "mull_per_cycle",
            "vector_per_cycle",
            "l1d_kib",
            "l2_kib",
            "l2_cores",
            "read_gb_per_s",
        )
        if wrong := [name for name in positive if not getattr(self, name) > 0]:
            raise ValueError(f"{self.core}: {', '.join(wrong)} must be positive")
        if self.read_all_gb_per_s < self.read_gb_per_s:
            raise ValueError(f"{self.core}: all cores must read at least as much as one")


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The graphics processor of a Jetson; `clock_mhz` is its maximum by the data sheet."""

    architecture: str
    cuda_cores: int
    tensor_cores: int
    clock_mhz: float


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A board. `kind` is its main processor: a CPU board may have a GPU too. `clock_mhz` is a target for FPGAs
    (nothing here has been placed and routed), what all cores of a CPU sustain by its data sheet, and None where the
    board file states none. `engine` is a free table of sizes for the planner, `tvm_target` the target of the GPU.
    `note`: one sentence on the limits of the support.

    `source` maps the name of each field that carries numbers to the document they come from; figures of `cpu` have
    several documents, under `cpu`, `cpu.pipes`, `cpu.caches` and `cpu.bandwidth`.
    """

    name: str
    title: str
    kind: str
    part: str
    supported: bool
    source: dict[str, str]
    reason: str = ""
    note: str = ""
    clock_mhz: float | None = None
    resources: LogicResources | None = None
    memory: ExternalMemory | None = None
    cpu: Cpu | None = None
    gpu: Gpu | None = None
    engine: dict[str, int] = {}
    tvm_target: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: there is no kind of target '{self.kind}'")
        stated = [field for field in _NUMBERS if getattr(self, field)]
        required = [key for field in stated for key in (_CPU_SOURCES if field == "cpu" else (field,))]
        if self.memory and self.memory.dram:
            required.append("memory.dram")
        if missing := [key for key in required if not self.source.get(key)]:
            raise ValueError(f"{self.name}: no source stated for {', '.join(missing)}")
        if not self.supported and not self.reason:
            raise ValueError(f"{self.name}: an unsupported board must give a `reason`")
        if self.kind == "fpga" and not (self.resources and self.memory and self.clock_mhz):
            raise ValueError(f"{self.name}: an FPGA board needs resources, memory and clock_mhz")
        if self.cpu and not (self.clock_mhz and self.clock_mhz <= self.cpu.clock_max_mhz):
            raise ValueError(f"{self.name}: clock_mhz must be stated and at most cpu.clock_max_mhz")
        if self.cpu and self.cpu.variant not in {variant.name for variant in VARIANTS}:
            raise ValueError(f"{self.name}: there are no micro-kernels called {self.cpu.variant}")
        if self.kind == "cpu" and not self.cpu and self.name != HOST:
            raise ValueError(f"{self.name}: a CPU board needs a table cpu")

    def at_clock(self, clock_mhz: float | None) -> Device:
        """Return the board at another clock; None: at its own."""
        return self if clock_mhz is None else msgspec.structs.replace(self, clock_mhz=float(clock_mhz))

    def sources_of(self, field: str) -> str:
        """Return the documents of a field and of its parts."""
        return "; ".join(text for key, text in self.source.items() if key == field or key.startswith(f"{field}."))


def parse(text: str) -> Device:
    """Return the device that a board file describes.

    Raises msgspec.ValidationError or tomllib.TOMLDecodeError when the file breaks the schema.
    """
    return msgspec.convert(tomllib.loads(text), Device, strict=True)


@cache
def load(name: str) -> Device:
    """Return the device of that name; an unknown name is a usage error that suggests the nearest.

    `host` is this machine, whose figures are read from it; its `cpu` is None if there are no micro-kernels for it.
    """
    known = {path.name.removesuffix(".toml"): path for path in _board_files()}
    if name not in known:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        fail(
            "T001",
            f"there is no target called '{name}'",
            at="--target",
            because=f"the targets are {', '.join(sorted(known))}",
            help=f"{hint}`edgewright targets` describes each of them",
            exit=Exit.USAGE,
        )
    device = parse(known[name].read_text(encoding="utf-8"))
    if name != HOST:
        return device
    from edgewright.targets.host import this_machine

    return this_machine(device, [load(other) for other in known if other != HOST])


def load_supported(name: str) -> Device:
    """Return the device as `load`; an error with the board's reason when nothing can be compiled for it yet."""
    device = load(name)
    if not device.supported:
        supported = ", ".join(other.name for other in list_devices() if other.supported)
        fail(
            "T002",
            f"nothing can be compiled for '{name}' yet",
            at="--target",
            because=device.reason,
            help=f"targets that work today: {supported}",
            exit=Exit.USAGE,
        )
    return device


def list_devices() -> tuple[Device, ...]:
    """Return every board: the supported ones first, then by kind and name."""
    devices = [load(path.name.removesuffix(".toml")) for path in _board_files()]
    return tuple(sorted(devices, key=lambda d: (not d.supported, KINDS.index(d.kind), d.name)))


def _board_files() -> list[Traversable]:
    return [path for folder in BOARD_FOLDERS for path in folder.iterdir() if path.name.endswith(".toml")]
