"""The simulated memory against cocotbext-axi's master, run inside the simulator by test_axi_ram.py."""

from __future__ import annotations

import os
import random
from typing import Any

import cocotb
from cocotbext.axi import AxiBus, AxiMaster
from edgewright.sim.cocotb_bench import report, start

STALL = float(os.environ.get("RAM_STALL", "0"))
SIZE = 1 << 16


def pauses(seed: int) -> Any:
    """Endless pattern of channel pauses with probability STALL."""
    rng = random.Random(seed)
    while True:
        yield rng.random() < STALL


@cocotb.test()
async def reads_what_was_written(dut: Any) -> None:
    """Random writes of any size and alignment, read back; a few in flight at a time."""
    rng = random.Random(3)
    master = AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.clk_i, dut.rst_ni, reset_active_level=False)
    if STALL:
        master.write_if.b_channel.set_pause_generator(pauses(1))
        master.read_if.r_channel.set_pause_generator(pauses(2))
    await start(dut)
    image = bytearray(SIZE)
    for at in range(0, SIZE, 4096):
        await master.write(at, bytes(4096))
    for _ in range(60):
        at = rng.randrange(SIZE)
        data = rng.randbytes(rng.randint(1, min(1500, SIZE - at)))
        image[at : at + len(data)] = data
        writing = cocotb.start_soon(master.write(at, data))
        await writing
        first = rng.randrange(SIZE)
        size = rng.randint(1, min(1500, SIZE - first))
        assert (await master.read(first, size)).data == bytes(image[first : first + size])
    assert (await master.read(0, SIZE)).data == bytes(image)
    report(done=True)
