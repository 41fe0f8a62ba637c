"""Code that runs inside the simulator: clock, reset, reports. Streams are driven by SystemVerilog (bench.py)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from edgewright.sim.runner import VALUES_FILE

PERIOD_NS = 2


def report(**values: Any) -> None:
    """Add values to the caller's Result.values."""
    file = Path(VALUES_FILE)
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**known, **values}))


async def start(dut: Any, reset_cycles: int = 4, **inputs: int) -> None:
    """Set `inputs`, start the clock and reset; return when the reset is released, right after an edge."""
    for name, value in inputs.items():
        getattr(dut, name).value = value
    dut.rst_ni.value = 0
    Clock(dut.clk_i, PERIOD_NS, unit="ns", impl="gpi").start()
    for _ in range(reset_cycles):
        await RisingEdge(dut.clk_i)
    dut.rst_ni.value = 1
