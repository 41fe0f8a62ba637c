"""The printed C++ breaks no rule of Vitis HLS, asks for intervals that its memories allow, and its memories fit the board."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.kernel import Block, ProcessTrace, Struct, StructValue, Value, const, i, ir, u, wrap
from edgewright.hw.kernel.cpp import support_files, to_cpp
from edgewright.targets.device import Device, list_devices
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw import golden_block
from tests.hw.blocks import windows
from tests.hw.hls_rules.intervals import intervals
from tests.hw.hls_rules.rules import check
from tests.hw.hls_rules.source import Design, parse
from tests.hw.hls_rules.storage import memories
from tests.hw.kernel.cpp_kernels import add_random

BOARDS = [d for d in list_devices() if d.kind == "fpga" and d.supported]


def design_of(block: Block | ir.Program) -> Design:
    files = to_cpp(block)
    headers = support_files()
    return parse(headers["ew_int.h"], *sorted(files.values(), key=lambda text: "#ifndef" not in text), headers["ew_dot.h"])


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_engine(board: Device) -> None:
    config = EngineConfig.of_board(board)
    design = design_of(program_of(config))
    assert check(design) == []
    found = list(intervals(design))
    assert {f.derived for f in found} == {1} and len(found) >= len(program_of(config).processes)
    words, banks = config.on_chip_words, max(1, config.on_chip_banks)
    hub = banks * -(-(words // banks) // 4096) * 2 if words else 0  # of 128 bits each
    assert board.resources is not None
    used = memories(design)
    assert used["bram"] <= board.resources.bram36 and used["uram"] + hub <= board.resources.uram


def test_an_engine_of_other_sizes() -> None:
    assert check(design_of(program_of(EngineConfig(tokens=4, weight_tiles=64, softmax_keys=4)))) == []


def test_windows() -> None:
    design = design_of(windows.program(EngineConfig()))
    assert check(design) == []
    assert {found.derived for found in intervals(design)} == {1}


def test_small_block() -> None:
    assert check(design_of(golden_block.block())) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_kernels(seed: int) -> None:
    block, rng = Block("kernels"), np.random.default_rng(seed)
    add_random(block, "k", rng)
    assert check(design_of(block)) == []


shapes = st.lists(st.integers(1, 10), min_size=1, max_size=3).map(tuple)


@settings(max_examples=25, deadline=None)
@given(
    shape=shapes,
    bits=st.integers(1, 64),
    depth=st.integers(1, 6).map(lambda n: 2**n),
    masked=st.booleans(),
    readers=st.integers(1, 4),
    ring=st.booleans(),
)
def test_buffers_of_any_shape(shape: tuple[int, ...], bits: int, depth: int, masked: bool, readers: int, ring: bool) -> None:
    b = Block("sizes")
    jobs = b.input("jobs", Struct("Job", n=u(6)))
    writes, reads = b.fork(jobs, 2)
    at = u((depth - 1).bit_length())
    x, y = b.input("x", i(bits)[shape]), b.output("y", i(bits)[shape])
    held = b.ring("held", i(bits)[shape], depth, depth) if ring else b.buffer("held", i(bits)[shape], depth)

    @b.process(command=writes, loops=[("k", lambda c: c.n)])
    def fill(p: ProcessTrace, c: StructValue, k: Value) -> None:
        if ring:
            p.append(held, p.read(x))
            return
        p.lock(held, per=None)
        p.store(held, wrap(k, at), p.read(x), mask=const([1] * shape[0], u(1)[shape[0]]) if masked else None)

    @b.process(command=reads, loops=[("k", lambda c: c.n)])
    def use(p: ProcessTrace, c: StructValue, k: Value) -> None:
        if ring:
            p.write(y, p.replay(held, wrap(k, at), fresh=1, free=1, last=1))
            return
        p.lock(held, per=None)
        values = [p.load(held, wrap(k + n, at)) for n in range(readers)]
        p.write(y, values[-1])

    assert check(design_of(b)) == []
