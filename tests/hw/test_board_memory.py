"""The memory of a board in cycles, the option that names another, and what is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from edgewright.hw.board_memory import memory_of_board, parse_memory
from edgewright.hw.kernel.memory_timing import COST_UNIT, IDEAL, MemoryTiming, plusargs
from edgewright.passes.diagnostics import CompileError
from edgewright.targets.device import Device, Dram, load, parse

ROOT = Path(__file__).parents[2]


def zcu104() -> Device:
    return load("zcu104")


def test_the_board_in_cycles_of_its_clock() -> None:
    memory = memory_of_board(zcu104())
    assert (memory.read_latency, memory.write_latency, memory.outstanding) == (100, 60, 16)
    assert memory.bytes_per_cycle == pytest.approx(0.75 * 19.2e9 / 300e6, rel=0.005)
    assert (memory.refresh, memory.refresh_interval) == (78, 2340)


def test_a_slower_clock_sees_a_faster_memory() -> None:
    fast, slow = memory_of_board(zcu104()), memory_of_board(zcu104(), clock_mhz=150)
    assert slow.read_latency == 50 and slow.refresh_interval == 1170
    assert slow.bytes_per_cycle == pytest.approx(2 * (fast.bytes_per_cycle or 0), rel=0.01)


def test_options() -> None:
    board = memory_of_board(zcu104())
    assert parse_memory("board", zcu104()) == board
    assert parse_memory("ideal", zcu104()) == IDEAL
    other = parse_memory("read=60,write=40,outstanding=8,bandwidth=32", zcu104())
    assert (other.read_latency, other.write_latency, other.outstanding) == (60, 40, 8)
    assert other.bytes_per_cycle == 32 and other.refresh == board.refresh


@pytest.mark.parametrize(
    "text", ["", "fast", "read", "read=", "read=0", "read=-1", "read=1e3", "outstanding=65", "bandwidth=x"]
)
def test_wrong_options_name_the_part_and_the_ranges(text: str) -> None:
    with pytest.raises(CompileError) as caught:
        parse_memory(text, zcu104())
    (error,) = caught.value.diagnostics
    assert error.code == "U036" and error.at == "--memory" and "1 to 10000" in error.because


def test_a_board_without_timing_is_refused_but_for_the_ideal_memory() -> None:
    board = zcu104()
    assert board.memory is not None
    silent = msgspec.structs.replace(board, memory=msgspec.structs.replace(board.memory, dram=None))
    with pytest.raises(CompileError) as caught:
        parse_memory("board", silent)
    assert caught.value.diagnostics[0].code == "T060"
    assert parse_memory("ideal", silent) == IDEAL


@pytest.mark.parametrize(
    "change",
    [
        {"efficiency": 1.5},
        {"efficiency": 0.0},
        {"outstanding": 65},
        {"line_bytes": 24},
        {"page_bytes": 100},
        {"refresh_ns": 7_800.0},
        {"banks": 0},
    ],
)
def test_impossible_numbers(change: dict[str, float]) -> None:
    dram = zcu104().memory
    assert dram is not None and dram.dram is not None
    with pytest.raises(ValueError, match=r"memory\.dram"):
        Dram(**(msgspec.structs.asdict(dram.dram) | change))


def test_a_board_file_without_the_source_is_refused() -> None:
    text = (ROOT / "targets" / "boards" / "zcu104.toml").read_text()
    without = "\n".join(line for line in text.split("\n") if not line.startswith('"memory.dram"'))
    with pytest.raises(msgspec.ValidationError, match=r"no source stated for memory\.dram"):
        parse(without)


def test_every_field_reaches_the_simulator() -> None:
    given = plusargs(MemoryTiming(line_cost=COST_UNIT))
    rtl = (ROOT / "hw" / "rtl" / "axi_ram.sv").read_text()
    assert len(given) == len(MemoryTiming.__dataclass_fields__)
    assert all(f'"{name}=%d"' in rtl for name in given)
