"""The signals of AXI4 masters, as a master sees them: 40-bit addresses, 128-bit data."""

from __future__ import annotations

from typing import Literal

from edgewright.hw.kernel.types import WORD_BYTES

ADDRESS_BITS = 40
DATA_BITS = 8 * WORD_BYTES

Signal = tuple[Literal["output", "input"], str, int]
"""Direction, name, and bits."""


def _address(letter: str) -> tuple[Signal, ...]:
    """Return the signals of an address channel: ``letter`` is r (read) or w (write)."""
    widths = {"id": 1, "addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2, "valid": 1}
    outputs: tuple[Signal, ...] = tuple(("output", f"a{letter}{name}", bits) for name, bits in widths.items())
    return (*outputs, ("input", f"a{letter}ready", 1))


READ: tuple[Signal, ...] = (
    *_address("r"),
    ("input", "rid", 1),
    ("input", "rdata", DATA_BITS),
    ("input", "rresp", 2),
    ("input", "rlast", 1),
    ("input", "rvalid", 1),
    ("output", "rready", 1),
)
WRITE: tuple[Signal, ...] = (
    *_address("w"),
    ("output", "wdata", DATA_BITS),
    ("output", "wstrb", DATA_BITS // 8),
    ("output", "wlast", 1),
    ("output", "wvalid", 1),
    ("input", "wready", 1),
    ("input", "bid", 1),
    ("input", "bresp", 2),
    ("input", "bvalid", 1),
    ("output", "bready", 1),
)
MEANINGS = {
    **{
        f"a{letter}{name}": text
        for letter in "rw"
        for name, text in {
            "id": "always 0: bursts are answered in order",
            "addr": "bytes; a burst stays within 4 KiB",
            "len": "beats of the burst, less one",
            "size": "always 4: 16 bytes a beat",
            "burst": "always 1: addresses go up",
            "valid": "a burst is asked for",
            "ready": "and accepted",
        }.items()
    },
    "rid": "not read",
    "rdata": "the word",
    "rresp": "bit 1: an error",
    "rlast": "the last beat of its burst",
    "rvalid": "there is a word",
    "rready": "always 1: there is room for what was asked for",
    "wdata": "the word",
    "wstrb": "bytes that are written: all or none",
    "wlast": "the last beat of its burst",
    "wvalid": "there is a word",
    "wready": "and it is accepted",
    "bid": "not read",
    "bresp": "bit 1: an error",
    "bvalid": "a burst has been written",
    "bready": "always 1",
}
"""What each signal carries, as a comment says it."""
