"""The cocotb test of block_bench (harness.py): start it, wait until it has finished, report its counts."""

from __future__ import annotations

import os
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from edgewright.sim.cocotb_bench import report, start


@cocotb.test()
async def play(dut: Any) -> None:
    """Report the cycles from the first input token taken to the last output token taken, both included."""
    await start(dut)
    await RisingEdge(dut.done_o)
    await RisingEdge(dut.clk_i)  # the sinks flush their files on the edge that sees done
    await RisingEdge(dut.clk_i)
    taken = {name: int(getattr(dut, f"{name}_sent").value) for name in os.environ["EDGEWRIGHT_INPUTS"].split()}
    report(cycles=int(dut.last_o.value) - int(dut.first_o.value) + 1, taken=taken)
