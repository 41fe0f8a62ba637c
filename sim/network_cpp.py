"""Simulate a whole plan in the engine's HLS C++, compiled by g++: the same images and comparison as at RTL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

import numpy as np
from edgewright.hw.cost import program_of
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.plan import Plan
from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.sim import block_csim
from edgewright.sim.network import input_writes, judged
from edgewright.sim.scoreboard import Comparison, WriteLog


def simulate_cpp(
    plan: Plan,
    inputs: Mapping[str, Array],
    *,
    expected: Sequence[Mapping[Node, Array]] | None = None,
    ap_int: bool = False,
    bounded: bool = False,
) -> tuple[Comparison, ...]:
    """Run every sample of ``inputs`` (samples along axis 0) through C simulation; return one comparison per image.

    ``expected``: the interpreter's values of each sample, if they are known. ``ap_int`` uses Xilinx's integer types instead
    of plain ones. With ``bounded``, streams and buffers hold no more than they do in hardware. S004 if the simulation is
    aborted or stops with work left.
    """
    samples = next(iter(inputs.values())).shape[0]
    comparisons = []
    for sample in range(samples):
        if expected is not None:
            values = expected[sample]
        else:
            values = interpret_all(plan.graph, {name: array[sample : sample + 1] for name, array in inputs.items()})
        memory = np.zeros(round_up(plan.memory_bytes, WORD_BYTES), np.uint8)
        memory[: len(plan.image)] = np.frombuffer(plan.image, np.uint8)
        writes = input_writes(plan, values)
        for address, content in writes.items():
            memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
        start = {"start": [{"addr": plan.program_address, "count": len(plan.steps)}]}
        try:
            run = block_csim.simulate(program_of(plan.config), start, memory, ap_int=ap_int, bounded=bounded)
        except block_csim.CsimError as error:
            failed(str(error))
        if run.rest:
            failed("; ".join(run.rest[:8]))
        comparisons.append(judged(plan, values, write_log(run), plan.image, writes))
    return tuple(comparisons)


def write_log(run: block_csim.BlockRun) -> WriteLog:
    """Return the words that a C simulation stored; it has no cycles."""
    addresses = np.array([address for address, _ in run.writes], np.uint64)
    words = np.frombuffer(b"".join(word for _, word in run.writes), np.uint8).reshape(-1, WORD_BYTES)
    return WriteLog(np.zeros(len(addresses), np.uint32), addresses, words)


def failed(because: str) -> NoReturn:
    """Raise S004: the C simulation did not finish."""
    fail("S004", "the C simulation of the engine failed", because=because, exit=Exit.MISMATCH)
