"""Run a plan on the engine's processes, interpreted, and compare every word that they store."""

from __future__ import annotations

from typing import Any

import numpy as np
from edgewright.hw.cost import program_of
from edgewright.hw.kernel.interp import interpret
from edgewright.hw.memory import WORD_BYTES
from edgewright.hw.plan import Plan
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret_all
from edgewright.passes.ir.types import Array
from edgewright.sim.network import input_writes, judged
from edgewright.sim.scoreboard import Comparison, WriteLog


class LoggedMemory(np.ndarray):
    """Bytes that note what is written to them, after ``watch``."""

    log: list[tuple[int, bytes]] | None = None

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key, value)
        if self.log is not None and isinstance(key, slice):
            self.log.append((key.start, np.asarray(value, np.uint8).tobytes()))


def write_log(planned: Plan, writes: dict[int, bytes]) -> WriteLog:
    """Return every word that a program stores, in order; ``writes``: what the host writes before, by address."""
    size = -(-planned.memory_bytes // WORD_BYTES) * WORD_BYTES
    memory = np.zeros(size, np.uint8).view(LoggedMemory)
    memory[: len(planned.image)] = np.frombuffer(planned.image, np.uint8)
    for address, content in writes.items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    memory.log = []
    start = {"addr": planned.program_address, "count": len(planned.steps)}
    interpret(program_of(planned.config), {"start": [start]}, memory=memory)
    words, addresses = [], []
    for address, content in memory.log:
        count = len(content) // WORD_BYTES
        addresses.append(address + WORD_BYTES * np.arange(count, dtype=np.uint64))
        words.append(np.frombuffer(content, np.uint8).reshape(count, WORD_BYTES))
    stored = np.concatenate(addresses)
    return WriteLog(np.zeros(len(stored), np.uint32), stored, np.concatenate(words))


def run_compared(planned: Plan, image: dict[str, Array]) -> Comparison:
    """Return whether every word that a program stores, and every output, is what the integer graph says."""
    values = interpret_all(planned.graph, image)
    writes = input_writes(planned, values)
    return judged(planned, values, write_log(planned, writes), planned.image, writes)


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Return normal values for every input."""
    rng = np.random.default_rng(seed)
    return {node.name: rng.normal(0, 1, node.shape).astype(np.float32) for node in graph.inputs}
