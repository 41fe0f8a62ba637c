"""Each part of the engine alone at RTL, on the tokens that small models send through it: what comes out, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from edgewright.hw.cost import CLOCKS
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.schedule import place_all
from edgewright.hw.kernel.timing import Timing, predict
from edgewright.hw.kernel.tokens import encode

from tests.hw.blocks.recorded import count, differences
from tests.hw.blocks.recordings import PARTS, inputs_of, outputs_of, recording
from tests.hw.kernel.kernel_bench import KernelRun, trace_rtl

pytestmark = pytest.mark.sim

PRESSURE = ((0.5, 0.0), (0.0, 0.6), (0.4, 0.4), (0.7, 0.1), (0.1, 0.7))
"""Shares of cycles in which inputs rest and outputs are not taken."""


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_part(part: ir.Program) -> None:
    check_part(part, 300, PRESSURE)


@pytest.mark.long
@pytest.mark.parametrize("clock_mhz", [pytest.param(mhz, marks=[pytest.mark.slow] * (mhz != 200)) for mhz in (150, 200, 250)])
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_part_at_a_slower_clock(part: ir.Program, clock_mhz: int) -> None:
    check_part(part, clock_mhz, PRESSURE[2:3])


def check_part(part: ir.Program, clock_mhz: int, pressures: Sequence[tuple[float, float]]) -> None:
    """What comes out is what was recorded, without and with idle and back-pressure, and when it was predicted."""
    inputs, expected = inputs_of(part), outputs_of(part)
    period_ns = 1000 / clock_mhz
    empty = [name for name, tokens in (inputs | expected).items() if not count(tokens)]
    assert inputs and expected and not empty
    free = trace_rtl(part, inputs, optimise=False, period_ns=period_ns)
    check_tokens(part, free, "free-running")
    check_cycles(part, free, period_ns)
    for seed, (idle, stall) in enumerate(pressures):
        run = trace_rtl(part, inputs, idle, stall, seed, optimise=False, period_ns=period_ns)
        check_tokens(part, run, f"{idle=} {stall=} {seed=}")


def check_tokens(part: ir.Program, run: KernelRun, how: str) -> None:
    """All tokens went in, and what came out is what was recorded."""
    assert not differences(outputs_of(part), run.outputs), how
    left = {name: count(tokens) - len(run.times[name]) for name, tokens in inputs_of(part).items()}
    assert not any(left.values()), f"{how}: tokens not taken: {left}"


def check_cycles(part: ir.Program, run: KernelRun, period_ns: float) -> None:
    """Every token comes out within ten cycles of the prediction."""
    expected = predicted(part, period_ns)
    assert not [reason for reason in expected.stuck if "_fork waits" not in reason]
    for name, cycles in expected.outputs.items():
        # the model has its inputs in the FIFOs at cycle 0, the bench pushes them in then
        late = np.abs(run.times[name] - 1 - np.array(cycles))
        assert late.max() <= 10, f"{name}: {late.max()} cycles apart, {late[-1]} at the end, of {run.cycles}"


def predicted(part: ir.Program, period_ns: float) -> Timing:
    """The token-level model of a part, its inputs there from the start."""
    commands = {}
    for channel in {process.command for process in part.processes} & set(part.inputs):
        assert channel is not None
        columns = encode(channel.type, recording()[channel.name], channel.name)
        commands[channel.name] = list(zip(*(column.tolist() for column in columns), strict=True))
    return predict(
        part,
        commands,
        placements=place_all(part, period_ns),
        clocks=CLOCKS,
        inputs={name: count(tokens) for name, tokens in inputs_of(part).items()},
    )
