"""The cocotb test of a memory hub: random writes into both memories, acknowledged, then read by all ports at once.

Round k reads what rounds before it have written while it writes a part of the memories that nobody reads.
"""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge
from edgewright.sim.cocotb_bench import report, start

PORTS, WORDS, ROUNDS, PARTS = 3, 1024, 6, 2
LONGEST = 10_000  # cycles of a round; without pauses it takes about 1,000
RANDOM = random.Random(int(os.environ["HUB_SEED"]))
IDLE, STALL = float(os.environ["HUB_IDLE"]), float(os.environ["HUB_STALL"])


class Bench:
    """Drives the streams of the hub: a token is offered until it is taken, and pauses come at random."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.requests: list[list[int]] = [[] for _ in range(PORTS)]
        self.received: list[list[int]] = [[] for _ in range(PORTS)]
        self.write_requests: list[int] = []
        self.write_data: list[int] = []
        self.done = 0
        self.cycles = 0

    async def run(self) -> None:
        dut = self.dut
        for name in ("req_valid_i", "req_data_i", "data_ready_i", "write_req_valid_i", "write_data_valid_i", "done_ready_i"):
            getattr(dut, name).value = 0
        offered: list[int | None] = [None] * PORTS
        request: int | None = None
        word: int | None = None
        while True:
            await RisingEdge(dut.clk_i)
            for p in range(PORTS):
                if offered[p] is None and self.requests[p] and RANDOM.random() >= IDLE:
                    offered[p] = self.requests[p].pop(0)
            if request is None and self.write_requests and RANDOM.random() >= IDLE:
                request = self.write_requests.pop(0)
            if word is None and self.write_data and RANDOM.random() >= IDLE:
                word = self.write_data.pop(0)
            takes = [RANDOM.random() >= STALL for _ in range(PORTS)]
            dut.req_valid_i.value = sum((offered[p] is not None) << p for p in range(PORTS))
            dut.req_data_i.value = sum((offered[p] or 0) << 57 * p for p in range(PORTS))
            dut.data_ready_i.value = sum(takes[p] << p for p in range(PORTS))
            dut.write_req_valid_i.value = request is not None
            dut.write_req_data_i.value = request or 0
            dut.write_data_valid_i.value = word is not None
            dut.write_data_data_i.value = word or 0
            dut.done_ready_i.value = 1
            await ReadOnly()
            self.cycles += 1
            ready, valid = int(dut.req_ready_o.value), int(dut.data_valid_o.value)
            data = int(dut.data_data_o.value) if valid else 0
            for p in range(PORTS):
                if offered[p] is not None and ready >> p & 1:
                    offered[p] = None
                if takes[p] and valid >> p & 1:
                    self.received[p].append(data >> 128 * p & ((1 << 128) - 1))
            if request is not None and int(dut.write_req_ready_o.value):
                request = None
            if word is not None and int(dut.write_data_ready_o.value):
                word = None
            self.done += int(dut.done_valid_o.value)


def run_of_words(part: int, longest: int) -> tuple[bool, int, int]:
    """A memory, a first word and a number of words within one part of it."""
    size = WORDS // PARTS
    words = min(RANDOM.choice([0, 1, 1, 2, 3, 16, 17, longest]), size)
    return RANDOM.random() < 0.7, part * size + RANDOM.randrange(size - words + 1), words


def pack(on_chip: bool, word: int, words: int, mark: int = 0) -> int:
    return (word if on_chip else WORDS + word) * 16 | words << 40 | mark << 56


@cocotb.test()
async def rounds(dut: Any) -> None:
    """Compares every word that any port reads with the last one written there."""
    await start(dut)
    bench = Bench(dut)
    cocotb.start_soon(bench.run())
    memory: dict[tuple[bool, int], int] = {}
    words_read = 0
    for part in range(PARTS):  # everything gets a value first
        for on_chip in (True, False):
            values = [RANDOM.getrandbits(128) for _ in range(WORDS // PARTS)]
            first = part * (WORDS // PARTS)
            memory |= {(on_chip, first + i): v for i, v in enumerate(values)}
            bench.write_requests.append(pack(on_chip, first, len(values), 1))
            bench.write_data += values
    expected_done = 2 * PARTS
    for _ in range(LONGEST):
        await RisingEdge(dut.clk_i)
        if bench.done == expected_done:
            break
    assert bench.done == expected_done, f"{bench.done} acknowledgements of {expected_done}"
    for number in range(ROUNDS):
        written, readable = number % PARTS, (number + 1) % PARTS
        expected: list[list[int]] = [[] for _ in range(PORTS)]
        for p in range(PORTS):
            for _ in range(60):
                on_chip, first, words = run_of_words(readable, 40)
                bench.requests[p].append(pack(on_chip, first, words))
                expected[p] += [memory[on_chip, first + i] for i in range(words)]
        for index in range(60):
            on_chip, first, words = run_of_words(written, 40)
            mark = int(index == 59 or RANDOM.random() < 0.1)
            expected_done += mark
            values = [RANDOM.getrandbits(128) for _ in range(words)]
            memory |= {(on_chip, first + i): v for i, v in enumerate(values)}
            bench.write_requests.append(pack(on_chip, first, words, mark))
            bench.write_data += values
        for _ in range(LONGEST):
            await RisingEdge(dut.clk_i)
            if bench.done >= expected_done and all(len(bench.received[p]) >= len(expected[p]) for p in range(PORTS)):
                break
        for _ in range(50):  # anything too many would come now
            await RisingEdge(dut.clk_i)
        assert bench.done == expected_done, f"round {number}: {bench.done} acknowledgements of {expected_done}"
        for p in range(PORTS):
            assert bench.received[p] == expected[p], f"round {number}: port {p} read something else"
            words_read += len(expected[p])
            bench.received[p].clear()
    report(words=words_read, cycles=bench.cycles)
