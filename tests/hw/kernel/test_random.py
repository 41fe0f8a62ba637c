"""Random kernels: bounded FIFOs, and the RTL under idle and back-pressure, equal the plain interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.hw.kernel import interpret, to_systemverilog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.hw.kernel.kernel_bench import trace_rtl
from tests.hw.kernel.random_kernels import random_block

SEEDS = st.integers(0, 2**32 - 1)
PRESSURE = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.6), (0.4, 0.4)]
PERIODS_NS = (2.0, 3.33, 6.67)
"""The shorter, the more stages before issue."""


def differing(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    return [name for name in a if not np.array_equal(a[name], b[name])]


@settings(max_examples=15, deadline=None, derandomize=True)
@given(SEEDS)
def test_bounded_fifos_change_nothing(seed: int) -> None:
    block, inputs = random_block(seed)
    assert not differing(interpret(block, inputs, strict=False), interpret(block, inputs, strict=False, depths=True))


@settings(max_examples=3, deadline=None, derandomize=True)
@given(SEEDS)
def test_printing_is_deterministic(seed: int) -> None:
    assert to_systemverilog(random_block(seed)[0]) == to_systemverilog(random_block(seed)[0])


@pytest.mark.sim
@settings(max_examples=2, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(SEEDS)
def test_rtl_equals_interpreter(seed: int) -> None:
    block, inputs = random_block(seed)
    wanted = interpret(block, inputs, strict=False)
    for number, (idle, stall) in enumerate(PRESSURE):
        run = trace_rtl(block, inputs, idle, stall, seed=number, optimise=False, period_ns=PERIODS_NS[seed % 3])
        assert not differing(wanted, run.outputs), (seed, idle, stall)
