"""Tests of the counter in test_runner.py; COUNTER_TEST names the one to run."""

from __future__ import annotations

import os
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from edgewright.sim.cocotb_bench import report, start

WHICH = os.environ["COUNTER_TEST"]


@cocotb.test()
async def counter_test(dut: Any) -> None:
    """Counts, and then does as it was told."""
    await start(dut)
    await ClockCycles(dut.clk_i, 1)
    before = int(dut.count_o.value)
    await ClockCycles(dut.clk_i, 100)
    report(cycles=int(dut.count_o.value) - before, width=len(dut.count_o))
    if WHICH == "sees":
        assert int(dut.hidden_q.value) == int(dut.count_o.value)
    if WHICH == "fails":
        assert int(dut.count_o.value) == 7, f"the count is {int(dut.count_o.value)}"
    if WHICH == "hangs":
        await ClockCycles(dut.clk_i, 1 << 40)
