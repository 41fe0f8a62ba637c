"""The AXI-Lite way into the engine, run inside the simulator by test_engine.py: registers, memory, interrupt."""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import (
    AxiLiteBus,
    AxiLiteMaster,
    AxiRamRead,
    AxiRamWrite,
    AxiReadBus,
    AxiWriteBus,
)
from cocotbext.axi.sparse_memory import SparseMemory
from edgewright.hw.blocks.engine import READERS
from edgewright.sim.cocotb_bench import start

CONTROL, STATUS, ADDRESS, COUNT, CYCLES, ID, VERSION = 0x00, 0x04, 0x08, 0x10, 0x14, 0x1C, 0x20
BUSY, DONE, ERROR = 1, 2, 4
PROGRAM, SOURCE, TARGET = 0x12_0000_0100, 0x8000, 0x30_0000_0000


def connect(dut: Any) -> tuple[Any, Any]:
    """(register master, memory behind the AXI masters)."""
    memory = SparseMemory(1 << 40)
    for name in READERS:
        bus = AxiReadBus.from_prefix(dut, f"m_axi_{name}")
        AxiRamRead(bus, dut.clk_i, dut.rst_ni, reset_active_level=False, size=1 << 40, mem=memory)
    bus = AxiWriteBus.from_prefix(dut, "m_axi_results")
    AxiRamWrite(bus, dut.clk_i, dut.rst_ni, reset_active_level=False, size=1 << 40, mem=memory)
    lite = AxiLiteBus.from_prefix(dut, "s_axil")
    return AxiLiteMaster(lite, dut.clk_i, dut.rst_ni, reset_active_level=False), memory


@cocotb.test()
async def program_runs(dut: Any) -> None:
    """A program is started, seen busy, counted, and its end shows in the status and on the interrupt."""
    rng = random.Random(1)
    registers, memory = connect(dut)
    await start(dut)
    data = rng.randbytes(16 * 200)
    memory.write(SOURCE, data)
    memory.write(PROGRAM, struct.pack("<QQ", SOURCE | 200 << 40, TARGET))
    assert await registers.read_dword(ID) == 0x45574754
    assert await registers.read_dword(VERSION) == 0x00010000
    assert await registers.read_dword(STATUS) == 0
    await registers.write_qword(ADDRESS, PROGRAM)
    await registers.write_dword(COUNT, 1)
    assert await registers.read_qword(ADDRESS) == PROGRAM
    for _ in range(2):
        await registers.write_dword(CONTROL, 0b101)
        assert await registers.read_dword(STATUS) == BUSY
        await registers.write_dword(CONTROL, 0b101)  # ignored: the stub would never finish a second start
        await with_timeout(RisingEdge(dut.interrupt_o), 10_000, "ns")
        assert await registers.read_dword(STATUS) == DONE
        cycles = await registers.read_dword(CYCLES)
        await ClockCycles(dut.clk_i, 20)
        assert await registers.read_dword(CYCLES) == cycles
        assert 200 < cycles < 1000
        assert memory.read(TARGET, len(data)) == bytes(byte ^ 255 for byte in data)
        await registers.write_dword(CONTROL, 0b110)
        assert await registers.read_dword(STATUS) == 0
        assert not int(dut.interrupt_o.value)
        assert await registers.read_dword(CONTROL) == 0b100
        memory.write(TARGET, bytes(len(data)))


@cocotb.test()
async def registers_keep_bytes(dut: Any) -> None:
    """Byte strobes, read-only registers, pauses on every channel."""
    rng = random.Random(2)
    registers, _ = connect(dut)
    await start(dut)
    for channel in (
        *(registers.write_if.aw_channel, registers.write_if.w_channel, registers.write_if.b_channel),
        *(registers.read_if.ar_channel, registers.read_if.r_channel),
    ):
        channel.set_pause_generator(itertools.cycle([rng.random() < 0.5 for _ in range(64)]))
    held = bytearray(12)
    writable = [(0, 4), (4, 5), (8, 10)]  # of 0x08..0x13
    await registers.write(ADDRESS, bytes(12))
    for _ in range(60):
        at = rng.randrange(12)
        data = rng.randbytes(rng.randint(1, 12 - at))
        await registers.write(ADDRESS + at, data)
        for i, byte in enumerate(data, at):
            if any(low <= i < high for low, high in writable):
                held[i] = byte
        assert (await registers.read(ADDRESS, 12)).data == bytes(held)
    await registers.write_dword(ID, 0)
    await registers.write_dword(STATUS, 7)
    assert await registers.read_dword(ID) == 0x45574754
    assert await registers.read_dword(STATUS) == 0
