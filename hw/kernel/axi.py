"""The signals of AXI4 masters, as a master sees them: 40-bit addresses, 128-bit data."""

from __future__ import annotations

from typing import Literal

from edgewright.hw.kernel.types import WORD_BYTES

ADDRESS_BITS = 40
DATA_BITS = 8 * WORD_BYTES

Signal = tuple[Literal["output", "input"], str, int | None]
"""Direction, name, and bits; None: a scalar port."""


def _address(letter: str) -> tuple[Signal, ...]:
    """Return the signals of an address channel: ``letter`` is r (read) or w (write)."""
    widths = {"id": 1, "addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2, "valid": None}
    outputs: tuple[Signal, ...] = tuple(("output", f"a{letter}{name}", bits) for name, bits in widths.items())
    return (*outputs, ("input", f"a{letter}ready", None))


READ: tuple[Signal, ...] = (
    *_address("r"),
    ("input", "rid", 1),
    ("input", "rdata", DATA_BITS),
    ("input", "rresp", 2),
    ("input", "rlast", None),
    ("input", "rvalid", None),
    ("output", "rready", None),
)
WRITE: tuple[Signal, ...] = (
    *_address("w"),
    ("output", "wdata", DATA_BITS),
    ("output", "wstrb", DATA_BITS // 8),
    ("output", "wlast", None),
    ("output", "wvalid", None),
    ("input", "wready", None),
    ("input", "bid", 1),
    ("input", "bresp", 2),
    ("input", "bvalid", None),
    ("output", "bready", None),
)
