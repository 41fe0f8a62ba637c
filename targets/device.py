"""Where a model runs, as data: one strict TOML file per board and no code.

A number in a board file without a stated source is an error, so every figure that a report shows can be traced.
"""

from __future__ import annotations

import difflib
import tomllib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal

import msgspec
from edgewright.passes.diagnostics import CompileError, Diagnostic

Kind = Literal["fpga", "cpu", "gpu"]
_NUMBERS = ("clock_mhz", "resources", "memory", "engine", "cpu", "gpu", "tvm_target")


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the programmable logic holds. `bram36` counts 36 Kb blocks, `uram` 288 Kb blocks."""

    dsp: int
    lut: int
    ff: int
    bram36: int
    uram: int


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """External memory: size, peak bandwidth in 10^9 bytes per second, and the AXI ports from logic to it."""

    dram_mib: int
    dram_gb_per_s: float
    axi_ports: int = 0
    axi_bits: int = 0


class Cpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The application processor."""

    core: str
    cores: int
    simd_bits: int


class Gpu(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The graphics processor of a Jetson."""

    architecture: str
    cuda_cores: int
    tensor_cores: int


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A board. `clock_mhz` is a target for FPGAs (nothing here has been placed and routed), a data-sheet value
    otherwise, and None where the board file states none. `engine` is a free table of sizes for the planner.

    `source` maps the name of each field that carries numbers to the document they come from.
    """

    name: str
    title: str
    kind: Kind
    part: str
    supported: bool
    source: dict[str, str]
    reason: str = ""
    clock_mhz: float | None = None
    resources: Resources | None = None
    memory: Memory | None = None
    cpu: Cpu | None = None
    gpu: Gpu | None = None
    engine: dict[str, int] = {}
    tvm_target: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if missing := [field for field in _NUMBERS if getattr(self, field) and not self.source.get(field)]:
            raise ValueError(f"{self.name}: no source stated for {', '.join(missing)}")
        if not self.supported and not self.reason:
            raise ValueError(f"{self.name}: an unsupported board has to say why in `reason`")
        if self.kind == "fpga" and not (self.resources and self.memory and self.clock_mhz):
            raise ValueError(f"{self.name}: an FPGA board needs resources, memory and clock_mhz")


def parse(text: str) -> Device:
    """The device that a board file describes.

    Raises msgspec.ValidationError or tomllib.TOMLDecodeError when the file breaks the schema.
    """
    return msgspec.convert(tomllib.loads(text), Device, strict=True)


@cache
def load(name: str) -> Device:
    """The device of that name; an unknown one is a usage error that suggests the nearest."""
    known = {path.name.removesuffix(".toml"): path for path in _board_files()}
    if name not in known:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise CompileError(
            [
                Diagnostic(
                    "T001",
                    f"there is no target called '{name}'",
                    at="--target",
                    because=f"the targets are {', '.join(sorted(known))}",
                    help=f"{hint}`edgewright targets` describes each of them",
                )
            ],
            exit_code=2,
        )
    return parse(known[name].read_text(encoding="utf-8"))


def load_supported(name: str) -> Device:
    """As `load`, and an error that gives the board's reason when nothing can be compiled for it yet."""
    device = load(name)
    if not device.supported:
        ready = ", ".join(other.name for other in list_devices() if other.supported)
        raise CompileError(
            [
                Diagnostic(
                    "T002",
                    f"nothing can be compiled for '{name}' yet",
                    at="--target",
                    because=device.reason,
                    help=f"targets that work today: {ready}",
                )
            ],
            exit_code=2,
        )
    return device


def list_devices() -> tuple[Device, ...]:
    """Every board that is shipped: the supported ones first, then by kind and name."""
    devices = [load(path.name.removesuffix(".toml")) for path in _board_files()]
    order = {"fpga": 0, "cpu": 1, "gpu": 2}
    return tuple(sorted(devices, key=lambda d: (not d.supported, order[d.kind], d.name)))


def _board_files() -> list[Traversable]:
    return [p for p in (resources.files(__package__) / "boards").iterdir() if p.name.endswith(".toml")]
