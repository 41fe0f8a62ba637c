"""The cocotb test of a cascade: new operands every cycle, extremes among them, and sums `Terms` + 3 cycles later."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ReadOnly, RisingEdge
from edgewright.sim.cocotb_bench import report

PAIRS, OUTS, TERMS, SHIFT, CYCLES = (
    int(os.environ[f"CASCADE_{name}"]) for name in ("PAIRS", "OUTS", "TERMS", "SHIFT", "CYCLES")
)
LATENCY = TERMS + 3


def operands(random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return even rows, odd rows and columns, (2 pairs + outs, terms), one in three of them extreme."""
    shape = (2 * PAIRS + OUTS, TERMS)
    values = random.integers(-127, 128, shape)
    extreme = random.choice([-127, 127], (shape[0], 1)) * np.ones(shape, np.int64)
    return np.where(random.random((shape[0], 1)) < 1 / 3, extreme, values)


def packed(values: np.ndarray[Any, Any]) -> int:
    return int.from_bytes(values.astype(np.int8).tobytes(), "little")


@cocotb.test()
async def sums_of_products(dut: Any) -> None:
    """Every sum equals numpy's, as both rows' sums in one number."""
    random = np.random.default_rng(7)
    Clock(dut.clk_i, 10, "ns").start()
    expected: deque[list[int]] = deque()
    compared = 0
    for _ in range(CYCLES):
        await RisingEdge(dut.clk_i)
        rows = operands(random)
        even, odd, columns = rows[:PAIRS], rows[PAIRS : 2 * PAIRS], rows[2 * PAIRS :]
        dut.even_i.value, dut.odd_i.value, dut.weights_i.value = packed(even), packed(odd), packed(columns)
        expected.append((((odd << SHIFT) + even) @ columns.T).reshape(-1).tolist())
        await ReadOnly()
        if len(expected) > LATENCY:
            bits = int(dut.sums_o.value)
            found = [bits >> 2 * SHIFT * n & (1 << 2 * SHIFT) - 1 for n in range(PAIRS * OUTS)]
            assert found == [value & (1 << 2 * SHIFT) - 1 for value in expected.popleft()]
            compared += 1
    assert compared == CYCLES - LATENCY
    report(compared=compared)
