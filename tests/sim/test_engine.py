"""The whole-engine bench, around a stub that copies memory."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import WRAPPER, program_of
from edgewright.hw.kernel.memory_timing import MemoryTiming
from edgewright.hw.registers import PORTS
from edgewright.hw.top import RTL, engine_top
from edgewright.passes.diagnostics import CompileError
from edgewright.sim import bench, engine
from edgewright.sim.build import Build, build
from edgewright.sim.runner import run

pytestmark = pytest.mark.sim
HERE = Path(__file__).parent
MEMORY = MemoryTiming(read_latency=10, write_latency=10)
PROGRAM, INPUT, OUTPUT = 0x100, 0x8000, 0x20000


def stub() -> dict[str, str]:
    texts = {"stub_engine.sv": (HERE / "stub_engine.sv").read_text()}
    return texts | {f"{name}.sv": bench.cell(name) for name in ("axi_read_mover", "axi_write_mover")}


def descriptor(source: int, target: int, beats: int) -> bytes:
    return struct.pack("<QQ", source | beats << 40, target)


def inverted(data: bytes) -> bytes:
    return bytes(byte ^ 255 for byte in data)


@pytest.fixture(scope="module")
def model() -> Build:
    return engine.build_engine(stub(), memory_bytes=1 << 20)


@pytest.mark.parametrize("stall", [0.0, 0.4])
def test_jobs_follow_one_another(model: Build, stall: float) -> None:
    rng = random.Random(3)
    program = descriptor(INPUT, OUTPUT, 300) + descriptor(INPUT + 16 * 300, OUTPUT + 16 * 300, 1)
    inputs = [rng.randbytes(16 * 301) for _ in range(3)]
    jobs = [engine.Job(PROGRAM, 2, {INPUT: data}) for data in inputs]
    jobs.append(engine.Job(PROGRAM + 16, 1, {}))
    dump = (OUTPUT, 16 * 301)
    done = engine.run_engine(model, {PROGRAM: program}, jobs, dump=dump, stall=stall, memory=MEMORY)
    assert done.dumps == (*map(inverted, inputs), inverted(inputs[-1]))
    assert [beats["results"] for beats in done.beats] == [301, 301, 301, 1]
    assert done.beats[0] == dict.fromkeys(PORTS, 0) | {"program": 2, "activations": 301, "results": 301}
    if not stall:
        assert done.cycles[0] == done.cycles[1] == done.cycles[2]
        assert 301 < done.cycles[0] < 380


def test_a_stuck_engine_is_told(model: Build) -> None:
    with pytest.raises(CompileError, match=r"job 1 stopped moving data, 5.. cycles after its start"):
        engine.run_engine(
            model,
            {PROGRAM: descriptor(INPUT, OUTPUT, 4), INPUT: bytes(64)},
            [engine.Job(PROGRAM, 1, {}), engine.Job(PROGRAM, 0, {})],
            quiet=500,
        )


def test_the_limit_on_cycles(model: Build) -> None:
    image = {PROGRAM: descriptor(INPUT, OUTPUT, 300), INPUT: bytes(4800)}
    with pytest.raises(CompileError, match=r"job 0 was still running after 10. cycles"):
        engine.run_engine(model, image, [engine.Job(PROGRAM, 1, {})], limit=100)


def test_registers_start_a_program() -> None:
    texts = stub() | {name: (RTL / name).read_text() for name in WRAPPER}
    texts["engine_top.v"] = engine_top(program_of(EngineConfig()))
    run(build("engine_top", texts), HERE / "engine_top_bench.py").require("engine_top")
