"""Protocol tests of the AXI movers against cocotbext-axi's memory, run inside the simulator by test_axi_movers.py."""

from __future__ import annotations

import itertools
import os
import random
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiRamRead, AxiRamWrite, AxiReadBus, AxiWriteBus
from edgewright.sim.cocotb_bench import report, start

from tests.hw.rtl.stream_bench import StreamDriver, StreamMonitor

SEED = int(os.environ.get("MOVER_SEED", "1"))
IDLE = float(os.environ.get("MOVER_IDLE", "0"))
STALL = float(os.environ.get("MOVER_STALL", "0"))
SIZE = 1 << 16
WORD = 16


def request(addr: int, beats: int, mark: int = 0) -> int:
    """A packed AxiRequest."""
    return addr | beats << 40 | mark << 56


def pauses(seed: int) -> Any:
    """Endless pattern of channel pauses with probability STALL."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < STALL


def random_bursts(rng: random.Random, count: int) -> list[tuple[int, int]]:
    """(word address, beats) inside the memory: empty, single, short and long ones, many crossing 4 KiB."""
    bursts = []
    for _ in range(count):
        beats = rng.choice([0, 1, 1, 1, rng.randint(2, 40), rng.randint(200, 700)])
        near = rng.randint(1, 14) * 256 - rng.randint(0, 20)
        start = rng.choice([near, rng.randrange(SIZE // WORD)])
        bursts.append((min(start, SIZE // WORD - beats), beats))
    return bursts


@cocotb.test()
async def reads(dut: Any) -> None:
    """Every beat of every request, in order, from the right address."""
    if not hasattr(dut, "m_axi_araddr"):
        return
    rng = random.Random(SEED)
    bus = AxiReadBus.from_prefix(dut, "m_axi")
    memory = AxiRamRead(bus, dut.clk_i, dut.rst_ni, reset_active_level=False, size=SIZE)
    image = rng.randbytes(SIZE)
    memory.write(0, image)
    if STALL:
        memory.ar_channel.set_pause_generator(pauses(1))
        memory.r_channel.set_pause_generator(pauses(2))
    driver = StreamDriver(dut, "req", IDLE, SEED)
    monitor = StreamMonitor(dut, "data", STALL, SEED)
    await start(dut)
    bursts = random_bursts(rng, 40)
    words = [int.from_bytes(image[at : at + WORD], "little") for at in range(0, SIZE, WORD)]
    expected = [word for at, beats in bursts for word in words[at : at + beats]]
    cocotb.start_soon(driver.send(request(WORD * at, beats, rng.getrandbits(1)) for at, beats in bursts))
    await monitor.expect(expected)
    await ClockCycles(dut.clk_i, 50)
    assert len(monitor.tokens) == len(expected)
    assert not int(dut.error_o.value)
    report(beats=len(expected))


@cocotb.test()
async def writes(dut: Any) -> None:
    """The memory holds every beat; a done token comes once per mark, and never before the data it stands for."""
    if not hasattr(dut, "m_axi_awaddr"):
        return
    rng = random.Random(SEED)
    bus = AxiWriteBus.from_prefix(dut, "m_axi")
    memory = AxiRamWrite(bus, dut.clk_i, dut.rst_ni, reset_active_level=False, size=SIZE)
    if STALL:
        memory.aw_channel.set_pause_generator(pauses(1))
        memory.w_channel.set_pause_generator(pauses(2))
        memory.b_channel.set_pause_generator(pauses(3))
    requests, data = StreamDriver(dut, "req", IDLE, SEED), StreamDriver(dut, "data", IDLE, SEED)
    await start(dut)
    image = bytearray(SIZE)
    stages: list[bytes] = []  # the memory at each mark
    sent, tokens = [], []
    for at, beats in random_bursts(rng, 40):
        mark = rng.random() < 0.4
        sent.append(request(WORD * at, beats, mark))
        for i in range(at, at + beats):
            word = rng.randbytes(WORD)
            tokens.append(int.from_bytes(word, "little"))
            image[WORD * i : WORD * (i + 1)] = word
        if mark:
            stages.append(bytes(image))
    memory.write(0, bytes(SIZE))

    dut.done_ready_i.value = 0
    cocotb.start_soon(data.send(tokens))
    marks = 0
    for packed in sent:
        await requests.send([packed])
        marks += packed >> 56
        if packed >> 56 and rng.random() < 0.5:  # let this one drain, and look at the memory at its mark
            await take_done(dut, marks - 1)
            await wait_for_done(dut)
            assert memory.read(0, SIZE) == stages[marks - 1], "a done token came before its data had been written"
            await take_done(dut, 1)
            stages, marks = stages[marks:], 0
    await take_done(dut, marks)
    for _ in range(100_000):
        if memory.read(0, SIZE) == bytes(image):
            break
        await ClockCycles(dut.clk_i, 1)
    assert memory.read(0, SIZE) == bytes(image)
    await ClockCycles(dut.clk_i, 50)
    assert not int(dut.done_valid_o.value), "more done tokens than marks"
    assert not int(dut.error_o.value)


async def wait_for_done(dut: Any) -> None:
    """Returns when a done token is offered."""
    for _ in range(100_000):
        if int(dut.done_valid_o.value):
            return
        await ClockCycles(dut.clk_i, 1)
    raise AssertionError("a done token is missing")


async def take_done(dut: Any, count: int) -> None:
    """Takes `count` done tokens."""
    for _ in range(count):
        await wait_for_done(dut)
        dut.done_ready_i.value = 1
        await ClockCycles(dut.clk_i, 1)
        dut.done_ready_i.value = 0
        await ClockCycles(dut.clk_i, 1)


async def reset_in_flight(dut: Any, rng: random.Random, *drivers: Any) -> None:
    """Lets `drivers` send for a while, then resets the mover, not the memory, and leaves its inputs silent."""
    await ClockCycles(dut.clk_i, rng.randint(1, 120))
    for driver in drivers:
        driver.cancel()
    dut.rst_ni.value = 0
    for name in ("req_valid_i", "data_valid_i"):
        if hasattr(dut, name):
            getattr(dut, name).value = 0
    await ClockCycles(dut.clk_i, rng.choice([1, 1, 2, 40]))
    dut.rst_ni.value = 1


@cocotb.test()
async def reads_after_a_reset(dut: Any) -> None:
    """What was asked for before a reset never comes out, and everything asked for after it does."""
    if not hasattr(dut, "m_axi_araddr"):
        return
    rng = random.Random(SEED)
    memory = AxiRamRead(AxiReadBus.from_prefix(dut, "m_axi"), dut.clk_i, size=SIZE)
    image = rng.randbytes(SIZE)
    memory.write(0, image)
    memory.r_channel.set_pause_generator(pauses(2))
    monitor = StreamMonitor(dut, "data", STALL, SEED)
    await start(dut)
    words = [int.from_bytes(image[at : at + WORD], "little") for at in range(0, SIZE, WORD)]
    for trial in range(30):
        driver = StreamDriver(dut, "req", IDLE, SEED + trial)
        stale = [(rng.randrange(2048), rng.choice([1, 1, 16, 64])) for _ in range(200)]
        task = cocotb.start_soon(driver.send(request(WORD * at, beats) for at, beats in stale))
        await reset_in_flight(dut, rng, task)
        monitor.tokens.clear()
        bursts = [(2048 + rng.randrange(1900), rng.randint(0, 40)) for _ in range(6)]
        cocotb.start_soon(driver.send([request(WORD * at, beats) for at, beats in bursts]))
        await monitor.expect([word for at, beats in bursts for word in words[at : at + beats]])
        monitor.tokens.clear()


@cocotb.test()
async def writes_after_a_reset(dut: Any) -> None:
    """A reset completes what was asked for without writing anything else, and the next writes come out right."""
    if not hasattr(dut, "m_axi_awaddr"):
        return
    rng = random.Random(SEED)
    memory = AxiRamWrite(AxiWriteBus.from_prefix(dut, "m_axi"), dut.clk_i, size=SIZE)
    memory.w_channel.set_pause_generator(pauses(2))
    memory.b_channel.set_pause_generator(pauses(3))
    dut.done_ready_i.value = 0
    await start(dut)
    for trial in range(30):
        requests, data = (StreamDriver(dut, name, IDLE, SEED + trial) for name in ("req", "data"))
        memory.write(0, bytes(SIZE))
        sizes = [rng.choice([1, 1, 3, 16, 40]) for _ in range(60)]
        ends = list(itertools.accumulate(sizes))
        stale = [int.from_bytes(rng.randbytes(WORD), "little") | 1 for _ in range(ends[-1])]
        held = rng.randint(0, len(stale))  # words that come before the reset at most
        sent = [request(WORD * (end - size), size, 1) for end, size in zip(ends, sizes, strict=True)]
        tasks = cocotb.start_soon(requests.send(sent)), cocotb.start_soon(data.send(stale[:held]))
        await reset_in_flight(dut, rng, *tasks)
        at, fresh = 2048, [rng.getrandbits(128) for _ in range(rng.randint(1, 60))]
        cocotb.start_soon(data.send(fresh))
        await requests.send([request(WORD * at, len(fresh), 1)])
        await take_done(dut, 1)
        await ClockCycles(dut.clk_i, 2)
        assert not int(dut.done_valid_o.value), "a mark from before the reset came out"
        found = memory.read(WORD * at, WORD * len(fresh))
        assert found == b"".join(word.to_bytes(WORD, "little") for word in fresh)
        for index, word in enumerate(stale):
            now = int.from_bytes(memory.read(WORD * index, WORD), "little")
            assert now in (0, word), f"trial {trial}: word {index} was written with something else"
        assert memory.read(WORD * (at + len(fresh)), WORD * 64) == bytes(WORD * 64)
