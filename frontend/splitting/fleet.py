"""The devices that share one model, as a strict TOML file.

name = "shelf"

[[device]]
board = "rpi4"            # a name from `edgewright targets`
count = 2                 # default 1
memory_mib = 8            # what the model may use of the board's memory; default: all of it
compute_mmac = 500        # most million multiply-adds per inference; default: no limit
energy_mj = 5             # most energy per inference, with power_w; default: no limit
power_w = 4.0             # power of the board while it computes
link_mbit_per_s = 100     # to the device that fuses; without it transfer is not predicted
link_latency_ms = 0.3     # default 0
source = "where the figures above come from"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import msgspec
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.documents import Unreadable, parse_toml, read_bytes
from edgewright.passes.names import plain
from edgewright.passes.splitting.assign_devices import Place
from edgewright.targets.device import Device, load_supported

DEVICES_MAX = 256
LARGEST_FILE = 1 << 20
_FIGURES = ("memory_mib", "compute_mmac", "energy_mj", "power_w", "link_mbit_per_s", "link_latency_ms")


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One `[[device]]`: `count` equal boards."""

    board: str
    count: int = 1
    memory_mib: float | None = None
    compute_mmac: float | None = None
    energy_mj: float | None = None
    power_w: float | None = None
    link_mbit_per_s: float | None = None
    link_latency_ms: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}; it has to be at least 1")
        stated = [name for name in _FIGURES if getattr(self, name) is not None]
        for name in stated:
            value = getattr(self, name)
            if not 0 <= value < float("inf") or (value == 0 and name != "link_latency_ms"):
                raise ValueError(f"{name} is {value}; it has to be positive")
        if stated and not self.source:
            raise ValueError(f"no source is stated for {', '.join(stated)}")
        if (self.energy_mj is None) != (self.power_w is None):
            raise ValueError("energy_mj and power_w need each other: energy is predicted as power times latency")
        if self.link_latency_ms is not None and self.link_mbit_per_s is None:
            raise ValueError("link_latency_ms needs link_mbit_per_s")


class FleetFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The content of fleet.toml."""

    device: list[Entry]
    name: str = "fleet"


@dataclass(frozen=True, slots=True)
class Member:
    """One device of the fleet. name: the board's, numbered where there are several ("rpi4", "rpi4-2")."""

    name: str
    entry: Entry
    board: Device

    @property
    def memory_bytes(self) -> int:
        """Memory that the model may use."""
        if self.entry.memory_mib is not None:
            return int(self.entry.memory_mib * (1 << 20))
        return 1 << 62 if self.board.memory is None else self.board.memory.dram_mib << 20

    @property
    def place(self) -> Place:
        """The device for the assignment of sub-models."""
        limit = self.entry.compute_mmac
        return Place(self.name, self.memory_bytes, None if limit is None else int(limit * 1e6), self.entry.energy_mj)

    def transfer_ms(self, count: int) -> float | None:
        """Return the time to send `count` bytes to the device that fuses; None if no link is stated."""
        if self.entry.link_mbit_per_s is None:
            return None
        return (self.entry.link_latency_ms or 0.0) + count * 8 / (self.entry.link_mbit_per_s * 1e3)


@dataclass(frozen=True, slots=True)
class Fleet:
    """All devices, in the order of the file."""

    name: str
    members: tuple[Member, ...]

    @property
    def has_fpga(self) -> bool:
        return any(member.board.kind == "fpga" for member in self.members)

    @property
    def fuses(self) -> int:
        """Index of the member that runs the fusion network: the first CPU board, or -1 for this machine."""
        return next((i for i, member in enumerate(self.members) if member.board.kind == "cpu"), -1)


def load_fleet(path: str | Path) -> Fleet:
    """Read a fleet from a file. CompileError (exit 2): K009 for its content, T001 and T002 for its boards."""
    path = Path(path)
    try:
        content = read_bytes(path, LARGEST_FILE)
    except Unreadable as error:
        _refuse(path, str(error))
    return parse_fleet(content, path)


def parse_fleet(text: str | bytes, path: Path = Path("fleet.toml")) -> Fleet:
    """Read a fleet from text, as `load_fleet`; `path` is for messages."""
    try:
        file = parse_toml(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, FleetFile)
    except Unreadable as error:
        _refuse(path, str(error))
    if not file.device:
        _refuse(path, "it names no device")
    if sum(entry.count for entry in file.device) > DEVICES_MAX:
        _refuse(path, f"it names more than {DEVICES_MAX} devices")
    members: list[Member] = []
    seen: dict[str, int] = {}
    for entry in file.device:
        board = load_supported(entry.board)
        for _ in range(entry.count):
            seen[board.name] = seen.get(board.name, 0) + 1
            number = seen[board.name]
            members.append(Member(board.name if number == 1 else f"{board.name}-{number}", entry, board))
    return Fleet(file.name, tuple(members))


def _refuse(path: Path, because: str) -> NoReturn:
    help_text = (
        "a fleet is a TOML file of [[device]] tables with `board` and, if they are not 1 each, `count`; edgewright explain "
        "K009 shows one"
    )
    fail("K009", "the fleet cannot be read", str(path), plain(because), help_text, exit=Exit.USAGE)
