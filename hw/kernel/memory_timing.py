"""Timing of the memory behind AXI ports, as the predictor and the simulated memory (rtl/axi_ram.sv) model it.

One DRAM serves the transactions of all ports in the order of their arrival. All times are cycles of the engine's clock,
so the same board is slower in cycles at a faster clock.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

COST_UNIT = 256
"""Costs of the DRAM are in 1/256 cycles."""
MOST_OUTSTANDING = 64


@dataclass(frozen=True, slots=True)
class MemoryTiming:
    """read_latency: cycles from an address to its first data, when the DRAM is idle. write_latency: from the last beat of
    a write to its response. outstanding: transactions that one port may have in flight, in each direction.

    line_cost: 1/256 cycles for which a transaction occupies the DRAM per line of `line_bytes` that it touches; 0: no
    limit on bandwidth, and the other costs do not count. page_cost: 1/256 cycles more when the transaction opens another
    row (`page_bytes`) of its bank (`banks`, interleaved by row). refresh: cycles without service at the beginning of
    every `refresh_interval`.
    """

    read_latency: int = 24
    write_latency: int = 24
    outstanding: int = MOST_OUTSTANDING
    line_cost: int = 0
    line_bytes: int = 64
    page_cost: int = 0
    page_bytes: int = 8192
    banks: int = 8
    refresh: int = 0
    refresh_interval: int = 1

    @property
    def bytes_per_cycle(self) -> float | None:
        """What the DRAM delivers at most, in whole lines of an open row between refreshes; None without a limit."""
        return None if self.line_cost == 0 else self.line_bytes * COST_UNIT / self.line_cost

    def __str__(self) -> str:
        text = f"read latency {self.read_latency}, write latency {self.write_latency}, {self.outstanding} outstanding a port"
        return text if self.line_cost == 0 else f"{text}, {self.bytes_per_cycle:.0f} bytes a cycle in all"


IDEAL = MemoryTiming()
"""24 cycles of latency, 64 transactions in flight and no limit on bandwidth: no board has it."""


def plusargs(memory: MemoryTiming) -> dict[str, object]:
    """Return the plusargs of axi_ram.sv that give it this timing."""
    names = {"read_latency": "axi_latency", "write_latency": "axi_write_latency", "outstanding": "axi_outstanding"}
    return {names.get(f.name, f"dram_{f.name}"): getattr(memory, f.name) for f in fields(memory)}
