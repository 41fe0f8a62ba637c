"""Rings: windows of elements that are read several times, in the interpreter, at RTL, in C++, in predicted cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    first,
    i,
    interpret,
    last,
    select,
    to_systemverilog,
    u,
    wrap,
)
from edgewright.hw.kernel.schedule import place_all
from edgewright.hw.kernel.timing import predict
from edgewright.hw.kernel.timing_events import Clocks
from edgewright.passes.ir.types import Array
from edgewright.sim.block_csim import run_block
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.kernel.kernel_bench import trace_rtl

Job = Struct("Job", n=u(4), passes=u(3))
WINDOW = 6
MUTANTS = [
    ("an element that is not there", "rings_feed.sv", "(tiles_ready_i || !first_j)", "1'b1"),
    ("room that is not there", "rings_fill.sv", "&& (tiles_ready_i || !last_t)", ""),
    ("taken in every pass", "rings_feed.sv", "assign tiles_taking = issue && first_j;", "assign tiles_taking = issue;"),
    (
        "given back too early",
        "rings_feed.sv",
        "assign tiles_freeing = issue && last_j;",
        "assign tiles_freeing = issue && first_j;",
    ),
    ("a window that stays", "ring.sv", "if (rd_last_i) base_q", "if (1'b0) base_q"),
    (
        "a window without its last element",
        "ring.sv",
        "(CountWidth + 1)'(base_q) + (CountWidth + 1)'(taken)",
        "base_q + taken_q",
    ),
    ("no end of the memory", "ring.sv", "write_q == WordWidth'(Depth - 1) ? '0 :", ""),
]


def block(depth: int) -> Block:
    """Rows in pairs of words; each job's rows come ``passes`` times, with the rows of a window of one beside them."""
    b = Block("rings")
    jobs, x, y = b.input("jobs", Job), b.input("x", i(8)[4]), b.output("y", i(9)[4])
    fill_jobs, pair_jobs, feed_jobs = b.fork(jobs, 3)
    tiles = b.ring("tiles", i(8)[4], depth=depth, window=WINDOW)
    queue = b.ring("queue", i(8)[4], depth=3, window=1)

    @b.process(command=fill_jobs, loops=[("k", lambda c: c.n), ("t", 2)])
    def fill(p: ProcessTrace, c: StructValue, k: Value, t: Value) -> None:
        p.append(tiles, p.read(x), when=last(t))

    @b.process(command=pair_jobs, loops=[("j", lambda c: c.passes), ("k", lambda c: c.n)])
    def pair(p: ProcessTrace, c: StructValue, j: Value, k: Value) -> None:
        p.append(queue, wrap(p.accumulate(j + k, clear=first(k), type=i(12)), i(8)).broadcast_to((4,)), when=~first(j))

    @b.process(command=feed_jobs, loops=[("j", lambda c: c.passes), ("k", lambda c: c.n)])
    def feed(p: ProcessTrace, c: StructValue, j: Value, k: Value) -> None:
        tile = p.replay(tiles, wrap(k, u(3)), fresh=first(j), free=last(j), last=last(j) & last(k))
        other = p.replay(queue, 0, fresh=~first(j), free=~first(j), last=~first(j))
        p.write(y, wrap(tile + select(first(j), 0, other), i(9)))

    return b


def inputs(jobs: list[tuple[int, int]], seed: int = 0) -> dict[str, Any]:
    words = 2 * sum(n for n, _ in jobs)
    columns = {"n": [n for n, _ in jobs], "passes": [passes for _, passes in jobs]}
    return {"jobs": columns, "x": np.random.default_rng(seed).integers(-128, 128, (words, 4))}


def expected(jobs: list[tuple[int, int]], words: Array) -> Array:
    """What must come, from the definition: the queue holds running sums of j + k."""
    rows, found, at = words[1::2], [], 0
    for n, passes in jobs:
        for j in range(passes):
            total = 0
            for k in range(n):
                total += j + k
                found.append(rows[at + k] + ((total + 128) % 256 - 128 if j else 0))
        at += n
    return np.array(found).reshape(-1, 4)


JOBS = [(3, 2), (6, 1), (1, 7), (5, 3), (6, 4), (2, 1), (6, 2)]
job = st.tuples(st.integers(1, WINDOW), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(jobs=st.lists(job, min_size=1, max_size=8), depth=st.integers(WINDOW, 15), bounded=st.booleans())
def test_interpreter(jobs: list[tuple[int, int]], depth: int, bounded: bool) -> None:
    values = inputs(jobs)
    assert np.array_equal(interpret(block(depth), values, depths=bounded)["y"], expected(jobs, values["x"]))


@pytest.mark.sim
@pytest.mark.parametrize("depth", [6, 13])
def test_rtl_and_its_cycles(depth: int) -> None:
    program, values = block(depth).check(), inputs(JOBS)
    for idle, stall in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)):
        run = trace_rtl(program, values, idle=idle, stall=stall, seed=3, optimise=False)
        assert np.array_equal(run.outputs["y"], expected(JOBS, values["x"]))
        if not idle and not stall:
            counts = {"jobs": len(JOBS), "x": len(values["x"])}
            found = predict(
                program, {f"jobs_{n}": JOBS for n in range(3)}, placements=place_all(program), clocks=Clocks(), inputs=counts
            )
            assert run.times["y"].tolist() == [t + 1 for t in found.outputs["y"]]


@pytest.mark.sim
@pytest.mark.parametrize("mutant", MUTANTS, ids=[name for name, *_ in MUTANTS])
def test_a_mutant_is_noticed(mutant: tuple[str, str, str, str]) -> None:
    _, file, old, new = mutant
    program, values = block(7).check(), inputs(JOBS)
    files = to_systemverilog(program)
    assert files[file].count(old) == 1, files[file]
    files[file] = files[file].replace(old, new)
    noticed = False
    for idle, stall in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5)):
        try:
            run = trace_rtl(program, values, idle=idle, stall=stall, seed=1, files=files, optimise=False)
        except RuntimeError:  # an assertion of the RTL
            noticed = True
            break
        noticed |= not np.array_equal(run.outputs["y"], expected(JOBS, values["x"]))
    assert noticed


def test_cpp() -> None:
    values = inputs(JOBS)
    assert np.array_equal(run_block(block(9), values)[0]["y"], expected(JOBS, values["x"]))
