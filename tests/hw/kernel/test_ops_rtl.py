"""Each operation over widths and signs: the printed SystemVerilog equals the interpreter, in one Verilator build."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.hw.kernel import Block, interpret

from tests.hw.kernel.kernel_bench import trace_rtl
from tests.hw.kernel.op_cases import add_family, cases, families, operands

pytestmark = pytest.mark.sim


def test_every_operation() -> None:
    block = Block("ops")
    rng = np.random.default_rng(1)
    inputs = {}
    for family, members in families(cases()).items():
        add_family(block, family, members)
        inputs[f"{family}_in"] = {k: v for case in members for k, v in operands(case, 60, rng).items()}
    wanted = interpret(block, inputs)
    run = trace_rtl(block, inputs, idle=0.1, stall=0.1, optimise=False)
    wrong = [
        case
        for stream, results in wanted.items()
        for case in results
        if not np.array_equal(results[case], run.outputs[stream][case])
    ]
    assert not wrong
