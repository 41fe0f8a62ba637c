"""Whole networks at RTL behind memories like a board's: bit-exact, and as many cycles as predicted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edgewright.hw.board_memory import memory_of_board
from edgewright.hw.cost import predict_cycles, rtl_files
from edgewright.hw.kernel.memory_timing import IDEAL, MemoryTiming
from edgewright.sim.network import simulate
from edgewright.targets.device import load

from tests.sim.test_networks import compiled, config, images

pytestmark = pytest.mark.sim
BOARD = memory_of_board(load("zcu104"))
MEMORIES = {
    "ideal": IDEAL,
    "slow": replace(IDEAL, read_latency=100, write_latency=100),
    "few in flight": replace(IDEAL, read_latency=60, write_latency=40, outstanding=8),
    "shared": replace(BOARD, read_latency=60, write_latency=40, outstanding=64),
    "narrow": MemoryTiming(line_cost=256 * 8, page_cost=256 * 20, page_bytes=512, banks=2, refresh=100, refresh_interval=900),
    "board": BOARD,
}


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES.keys())
def test_predicted_cycles_are_simulated_cycles(memory: MemoryTiming) -> None:
    planned = compiled("digits", "dynamo18")
    run = simulate(planned, rtl_files(config()), images("digits", 1), memory=memory)
    assert run.exact
    assert predict_cycles(planned, memory).total == pytest.approx(
        run.cycles[0], rel=0.02
    )  # conflicts of banks are not predicted
