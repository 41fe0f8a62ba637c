"""The cocotb test of engine_top_tb.sv: starts it and wakes when its script has ended."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from edgewright.sim.cocotb_bench import start


@cocotb.test()
async def script(dut: Any) -> None:
    """What the script measured is in script.log."""
    await start(dut)
    await RisingEdge(dut.done_o)
    await RisingEdge(dut.clk_i)
