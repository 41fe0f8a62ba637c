"""Drivers and monitors of valid/ready streams in Python, for tests of single cells: they wake Python every cycle."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge


class StreamDriver:
    """Sends packed integers to `<name>_valid_i/_ready_o/_data_i`, pausing with probability `idle` before each."""

    def __init__(self, dut: Any, name: str, idle: float = 0.0, seed: int = 0) -> None:
        self.clock = dut.clk_i
        self.valid = getattr(dut, f"{name}_valid_i")
        self.ready = getattr(dut, f"{name}_ready_o")
        self.data = getattr(dut, f"{name}_data_i")
        self.idle = idle
        self.random = random.Random(f"{seed} {name} driver")
        self.valid.value = 0

    async def send(self, tokens: Iterable[int]) -> None:
        """Send tokens; return when the last one has been taken."""
        for token in tokens:
            while self.random.random() < self.idle:
                await RisingEdge(self.clock)
            self.valid.value = 1
            self.data.value = token
            while True:
                await ReadOnly()
                taken = bool(int(self.ready.value))
                await RisingEdge(self.clock)
                if taken:
                    break
            self.valid.value = 0


class StreamMonitor:
    """Receives tokens from `<name>_valid_o/_ready_i/_data_o`; not ready with probability `stall` in each cycle.

    `tokens` are those received, `cycles` the cycle of each.
    """

    def __init__(self, dut: Any, name: str, stall: float = 0.0, seed: int = 0) -> None:
        self.clock = dut.clk_i
        self.reset_n = dut.rst_ni
        self.name = name
        self.valid = getattr(dut, f"{name}_valid_o")
        self.ready = getattr(dut, f"{name}_ready_i")
        self.data = getattr(dut, f"{name}_data_o")
        self.stall = stall
        self.random = random.Random(f"{seed} {name} monitor")
        self.tokens: list[int] = []
        self.cycles: list[int] = []
        self.ready.value = 0
        self._task = cocotb.start_soon(self._run())

    async def _run(self) -> None:
        cycle = 0
        while True:
            ready = self.random.random() >= self.stall
            self.ready.value = int(ready)
            await ReadOnly()
            if ready and int(self.reset_n.value) and int(self.valid.value):
                self.tokens.append(int(self.data.value))
                self.cycles.append(cycle)
            await RisingEdge(self.clock)
            cycle += 1

    async def expect(self, tokens: Sequence[int], limit: int = 100_000) -> None:
        """Wait for as many tokens and compare them; `limit` is in cycles."""
        for _ in range(limit):
            if len(self.tokens) >= len(tokens):
                break
            await RisingEdge(self.clock)
        got = self.tokens
        assert len(got) >= len(tokens), f"{self.name}: {len(got)} of {len(tokens)} tokens after {limit} cycles"
        for index, (have, want) in enumerate(zip(got, tokens, strict=False)):
            assert have == want, f"{self.name}: token {index} is {have:#x}, expected {want:#x}"
        assert len(got) == len(tokens), f"{self.name}: {len(got) - len(tokens)} tokens too many"
