"""The harnesses: the cells that each reads, and the sizes at which its properties are proved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.hw.formal.prove import asserts

HERE = Path(__file__).parent
RTL = HERE.parents[2] / "hw" / "rtl"


@dataclass(frozen=True, slots=True)
class Size:
    """Parameters of a harness. No assert fails in the first `steps` cycles; induction over `depth` cycles shows the rest.

    A depth of 0 means no induction: what holds is then known of the first `steps` cycles only. `only` names the asserts to
    look at where the size is too large for all of them.
    """

    parameters: dict[str, int]
    steps: int
    depth: int
    only: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.parameters.items())


@dataclass(frozen=True, slots=True)
class Harness:
    """The module `<name>_proof` of the file of that name, around the first of `cells`."""

    cells: tuple[str, ...]
    sizes: tuple[Size, ...]


def all_but(name: str, *left_out: str) -> tuple[str, ...]:
    """Return the asserts of a harness without some."""
    return tuple(each for each in asserts((HERE / f"{name}_proof.sv").read_text()) if each not in left_out)


BURSTS_OF_READS = ("p_ar_stable", "p_ar_length", "p_ar_block", "p_ar_4kib", "p_ar_kind", "h_busy")
BURSTS_OF_WRITES = ("p_aw_stable", "p_aw_length", "p_aw_block", "p_aw_4kib", "p_aw_kind", "h_busy")
SHIPPED = {"AddrWidth": 40, "DataWidth": 128, "MaxBurst": 16}
PAGES = SHIPPED | {"MaxBurst": 256}  # bursts of 4 KiB

HARNESSES: dict[str, Harness] = {
    "fifo": Harness(
        ("fifo",),
        (
            Size({"Depth": 1, "Credits": 0}, 8, 2),
            Size({"Depth": 2, "Credits": 0}, 8, 2),
            Size({"Depth": 4, "Credits": 0}, 8, 2),
            Size({"Depth": 1, "Credits": 1}, 8, 2),
            Size({"Depth": 2, "Credits": 1}, 8, 2),
            Size({"Depth": 5, "Credits": 1}, 8, 2),
            Size({"Depth": 3, "Bypass": 0, "Credits": 0}, 8, 2),
            Size({"Depth": 4, "Bypass": 0, "Credits": 0}, 8, 2),
            Size({"Depth": 3, "Bypass": 0, "Credits": 1}, 8, 2),
            Size({"Depth": 5, "Bypass": 0, "Credits": 1}, 8, 2),
        ),
    ),
    "pingpong": Harness(
        ("pingpong",),
        (
            Size({"Banks": 2, "Depth": 2, "Lanes": 2, "Ports": 2}, 8, 3),
            Size({"Banks": 3, "Depth": 3, "Lanes": 2, "Ports": 2}, 8, 3),
            Size({"Banks": 4, "Depth": 2, "Lanes": 1, "Ports": 1}, 8, 3),
        ),
    ),
    "ring": Harness(
        ("ring",),
        (
            Size({"Depth": 5, "Window": 3}, 8, 1),
            Size({"Depth": 4, "Window": 4}, 8, 1),
            Size({"Depth": 3, "Window": 1}, 8, 1),
            Size({"Depth": 1, "Window": 1}, 8, 1),
            Size({"Depth": 16, "Window": 8}, 8, 1),
        ),
    ),
    "delay_line": Harness(
        ("delay_line",),
        (
            Size({"Block": 0, "Taps": 2, "Most": 4}, 10, 1),
            Size({"Block": 0, "Taps": 3, "Most": 1}, 10, 1),
            Size({"Block": 0, "Taps": 1, "Most": 7}, 10, 1),
            Size({"Block": 1, "Taps": 2, "Most": 4}, 12, 1),
            Size({"Block": 1, "Taps": 1, "Most": 7}, 10, 1),
            Size({"Block": 1, "Taps": 3, "Most": 3}, 14, 1),
        ),
    ),
    "axi_read_mover": Harness(
        ("axi_read_mover",),
        (
            Size({"Depth": 4, "MaxBurst": 2}, 6, 4),
            Size(SHIPPED | {"Depth": 64}, 4, 2, BURSTS_OF_READS),
            Size(PAGES | {"Depth": 256}, 4, 2, BURSTS_OF_READS),
        ),
    ),
    "axi_write_mover": Harness(
        ("axi_write_mover",),
        (
            Size({"Outstanding": 2, "MaxBurst": 2}, 10, 9),  # p_moves takes a depth that is too slow with more
            Size({"Outstanding": 4, "MaxBurst": 2}, 4, 2, all_but("axi_write_mover", "p_moves")),
            Size(SHIPPED | {"Outstanding": 4}, 4, 1, BURSTS_OF_WRITES),
            Size(PAGES | {"Outstanding": 4}, 4, 1, BURSTS_OF_WRITES),
        ),
    ),
    "axi_outstanding": Harness(("axi_outstanding",), (Size({"Width": 3}, 10, 1),)),
    "axil_control": Harness(("axil_control",), (Size({"Patience": 4}, 8, 2),)),
    "hub_banks": Harness(
        ("hub_banks",),
        (
            Size({"NumRead": 3, "Banks": 2, "Words": 8}, 6, 2),
            Size({"NumRead": 2, "Banks": 4, "Words": 8}, 6, 2),
        ),
    ),
    "hub_reader": Harness(("hub_reader", "fifo"), (Size({"Depth": 3, "Requests": 3}, 5, 1),)),
    "hub_writer": Harness(("hub_writer",), (Size({"WordBits": 3}, 5, 1),)),
    "memory_hub": Harness(
        ("memory_hub", "hub_reader", "hub_writer", "hub_banks", "fifo"), (Size({"Banks": 2, "Words": 4}, 10, 0),)
    ),
}


def sources(name: str) -> dict[str, str]:
    """Return the texts of a harness and of its cells, by file name."""
    harness = HERE / f"{name}_proof.sv"
    return {harness.name: harness.read_text()} | {
        f"{cell}.sv": (RTL / f"{cell}.sv").read_text() for cell in HARNESSES[name].cells
    }
