"""The AXI movers: protocol, data and order under pauses (cocotbext-axi), and rates on the SystemVerilog memory."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from edgewright.hw.kernel.memory_timing import COST_UNIT, IDEAL, MemoryTiming
from edgewright.passes.diagnostics import CompileError
from edgewright.sim import bench
from edgewright.sim.build import build
from edgewright.sim.runner import run

pytestmark = pytest.mark.sim
BENCH = Path(__file__).parent / "movers_bench.py"


@pytest.mark.parametrize("mover", ["axi_read_mover", "axi_write_mover"])
@pytest.mark.parametrize(("seed", "idle", "stall"), [(1, 0.0, 0.0), (2, 0.4, 0.0), (3, 0.0, 0.4), (4, 0.3, 0.3)])
def test_protocol(mover: str, seed: int, idle: float, stall: float) -> None:
    model = build(mover, {f"{mover}.sv": bench.cell(mover)})
    env = {"MOVER_SEED": str(seed), "MOVER_IDLE": str(idle), "MOVER_STALL": str(stall)}
    run(model, BENCH, env=env, seed=seed).require(mover)


def pack(addr: int, beats: int, mark: int = 0) -> int:
    return addr | beats << 40 | mark << 56


def copy(pieces: list[tuple[int, int, int]], timing: MemoryTiming = IDEAL, **options: Any) -> int:
    """Cycles to copy (from, to, beats) pieces, all marked at the end; the memory is compared."""
    sources = [Path(__file__).parent / "mover_copy.sv"]
    texts = {path.name: path.read_text() for path in sources}
    texts |= {f"{name}.sv": bench.cell(name) for name in ("axi_read_mover", "axi_write_mover")}
    image = random.Random(5).randbytes(1 << 18)
    after = bytearray(image)
    for source, target, beats in pieces:
        after[target : target + 16 * beats] = image[source : source + 16 * beats]
    inputs = {
        "from": [pack(source, beats) for source, _, beats in pieces],
        "to": [pack(target, beats) for _, target, beats in pieces] + [pack(0, 0, 1)],
    }
    memory = bench.Memory(image, expected={0: bytes(after)}, timing=timing)
    return bench.check_block(texts, "mover_copy", inputs, {"done": [1]}, memory=memory, **options)


HALF = 1 << 17


def test_single_beats_move_at_one_a_cycle() -> None:
    rng = random.Random(7)
    words = rng.sample(range(HALF // 16), 2000)
    cycles = copy([(16 * word, HALF + 16 * word, 1) for word in words])
    assert 2000 <= cycles <= 2000 + 80


def test_long_bursts_move_at_a_beat_a_cycle() -> None:
    cycles = copy([(0x10, HALF + 0xFF0, 3000), (0xF000, HALF + 0x10000, 1000)])
    assert 4000 <= cycles <= 4000 + 120


def test_one_dram_serves_both_directions() -> None:
    """Whole lines at 16 bytes a cycle in all: reading and writing 4,000 words of 16 bytes takes 8,000 cycles, not 4,000."""
    shared = MemoryTiming(line_cost=COST_UNIT * 4)
    cycles = copy([(0, HALF, 4000)], shared)
    assert 8000 <= cycles <= 8000 + 200


def test_single_beats_pay_for_their_whole_line() -> None:
    shared = MemoryTiming(line_cost=COST_UNIT * 4)
    cycles = copy([(16 * word, HALF + 16 * word, 1) for word in range(1000)], shared)
    assert 8000 <= cycles <= 8000 + 200


def test_rows_and_refresh_take_their_time() -> None:
    """Row by row in one bank each of 250 reads and writes opens a row; a tenth of the time goes to refresh."""
    pieces = [(256 * i, HALF + 256 * i, 16) for i in range(250)]
    plain = MemoryTiming(line_cost=COST_UNIT, page_bytes=256, banks=1)
    base = copy(pieces, plain)
    rows = copy(pieces, replace(plain, page_cost=COST_UNIT * 20))
    assert 500 * 24 <= rows <= 500 * 24 + 200 and base < rows
    refreshed = copy(pieces, replace(plain, page_cost=COST_UNIT * 20, refresh=100, refresh_interval=1000))
    assert rows / 0.9 - 200 <= refreshed <= rows / 0.9 + 300


def test_transactions_in_flight_bound_the_rate() -> None:
    """Eight single words every read latency, which the writes of a faster memory do not bound."""
    slow = MemoryTiming(read_latency=100, write_latency=20, outstanding=8)
    cycles = copy([(16 * word, HALF + 16 * word, 1) for word in range(800)], slow)
    assert 100 * 100 <= cycles <= 100 * 104


@pytest.mark.parametrize("seed", range(6))
def test_pauses_lose_nothing(seed: int) -> None:
    rng = random.Random(seed)
    pieces = []
    for start in range(0, HALF, 8192):
        beats = rng.choice([0, 1, 2, 17, rng.randrange(512)])
        pieces.append((start + 16 * rng.randrange(512 - beats), HALF + start + 16 * rng.randrange(512 - beats), beats))
    copy(pieces, idle=rng.choice([0, 0.3]), stall=0.3, seed=seed)


def test_a_wrong_word_in_memory_is_told() -> None:
    texts = {"mover_copy.sv": (Path(__file__).parent / "mover_copy.sv").read_text()}
    texts |= {f"{name}.sv": bench.cell(name) for name in ("axi_read_mover", "axi_write_mover")}
    memory = bench.Memory(bytes(range(256)), expected={128: bytes(16)})
    inputs = {"from": [pack(0, 1)], "to": [pack(128, 1, 1)]}
    with pytest.raises(CompileError, match="address 0x81 holds 0x01 instead of 0x00; 15 of 16 bytes"):
        bench.check_block(texts, "mover_copy", inputs, {"done": [1]}, memory=memory)


@pytest.mark.parametrize(
    ("mover", "change", "told"),
    [
        ("axi_read_mover", ("m_axi_rvalid && !stale_q && bursts_q != '0", "m_axi_rvalid"), "data: token"),
        ("axi_read_mover", ("stale_q <= !rst_ni || (stale_q && bursts_q != '0)", "stale_q <= !rst_ni"), "data: token"),
        ("axi_write_mover", ("{DataWidth / 8{write_q}}", "'1"), "was written with something else"),
        ("axi_write_mover", ("acknowledging.mark && !stale_q", "acknowledging.mark"), "came out"),
    ],
    ids=["stale data", "stale too short", "strobes", "stale marks"],
)
def test_a_mover_that_forgets_is_found(mover: str, change: tuple[str, str], told: str) -> None:
    text = bench.cell(mover)
    assert change[0] in text
    changed = build(mover, {f"{mover}.sv": text.replace(*change)})
    env = {"MOVER_SEED": "3", "MOVER_IDLE": "0", "MOVER_STALL": "0.4"}
    with pytest.raises(CompileError, match=told):
        run(changed, BENCH, env=env, assertions=False).require(mover)
