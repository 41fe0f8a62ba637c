"""The cocotb test of engine_tb.sv: start it and wait until all jobs have finished or the engine is stuck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge
from edgewright.hw.registers import PORTS
from edgewright.sim.cocotb_bench import report, start

REASONS = {1: "was still running after {cycles} cycles", 2: "stopped moving data, {cycles} cycles after its start"}


@cocotb.test()
async def jobs(dut: Any) -> None:
    """Report the cycles of each job, and the beats that each port moved in it."""
    await start(dut)
    await RisingEdge(dut.done_o)
    await RisingEdge(dut.clk_i)
    lines = [[int(number) for number in line.split()] for line in Path("cycles.txt").read_text().splitlines()]
    beats = [dict(zip(PORTS, line[1:], strict=True)) for line in lines]
    report(job_cycles=[line[0] for line in lines], beats=beats, cycles=sum(line[0] for line in lines))
    status = int(dut.status_o.value)
    if status:
        how = REASONS[status].format(cycles=int(dut.cycles_o.value))
        raise AssertionError(f"deadlock: job {int(dut.job_o.value)} {how}")
