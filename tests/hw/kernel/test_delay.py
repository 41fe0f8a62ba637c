"""Delay lines, and products in LUTs, in the interpreter, at RTL, in C++, in predicted cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.hw.kernel import Array as ArrayType
from edgewright.hw.kernel import (
    Block,
    KernelError,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    const,
    first,
    i,
    interpret,
    multiply,
    select,
    stack,
    to_systemverilog,
    u,
)
from edgewright.hw.kernel.schedule import place_all
from edgewright.hw.kernel.timing import predict
from edgewright.hw.kernel.timing_events import Clocks
from edgewright.passes.ir.types import Array
from edgewright.sim.block_csim import run_block
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hw.kernel.kernel_bench import trace_rtl

Job = Struct("Job", near=u(4), far=u(7), values=u(8), twice=u(1))
NEAR, FAR, TAPS = 9, 70, 3
MUTANTS = [
    ("a line that goes on", "delay_line.sv", "at = clear_i ? '0 : at_q", "at = at_q"),
    ("one place too many", "delay_line.sv", "LengthWidth'(at) + 1'b1 == length_i", "LengthWidth'(at) == length_i"),
    (
        "written a shift late",
        "delay_line.sv",
        "memory[place_qqq] <= (Taps * Width)'({taps_q, data_qqq})",
        "memory[place_qqq] <= '0",
    ),
    (
        "taps that stay",
        "delay_line.sv",
        "memory[place_q] <= (Taps * Width)'({word, data_q})",
        "memory[place_q] <= {Taps{data_q}}",
    ),
    ("a value for each iteration", "lines_work.sv", "&& first_t", "&& 1'b1"),
]


def block() -> Block:
    """Values that come once and stay for one iteration or two, beside those before them: the third is in block RAM."""
    b = Block("lines")
    jobs, x = b.input("jobs", Job), b.input("x", i(8)[2])
    near, far = b.output("near", i(8)[TAPS, 2]), b.output("far", i(8)[2])

    @b.process(command=jobs, loops=[("k", lambda c: c.values), ("t", lambda c: select(c.twice, 2, 1))])
    def work(p: ProcessTrace, c: StructValue, k: Value, t: Value) -> None:
        value = p.read(x, when=first(t))
        line = p.delay(value, c.near, NEAR, count=TAPS, clear=first(k), when=first(t))
        there = stack([k >= c.near * (tap + 1) for tap in range(TAPS)])
        p.write(near, select(there.reshape(TAPS, 1), line, 0))
        last_line = p.delay(value, c.far, FAR, clear=first(k), when=first(t))
        p.write(far, select(k >= c.far, last_line[0], 0))

    return b


def inputs(jobs: list[tuple[int, int, int, int]], seed: int = 0) -> dict[str, Any]:
    columns = dict(zip(("near", "far", "values", "twice"), (list(c) for c in zip(*jobs, strict=True)), strict=True))
    x = np.random.default_rng(seed).integers(-128, 128, (sum(columns["values"]), 2))
    return {"jobs": columns, "x": x}


def expected(jobs: list[tuple[int, int, int, int]], x: Array) -> dict[str, Array]:
    """What must come, from the definition."""
    found: dict[str, list[Any]] = {"near": [], "far": []}
    at = 0
    for near, far, values, twice in jobs:
        line = x[at : at + values]
        at += values
        for k in range(values):
            taps = [line[k - near * tap] if k >= near * tap else [0, 0] for tap in range(1, TAPS + 1)]
            for _ in range(1 + twice):
                found["near"].append(taps)
                found["far"].append(line[k - far] if k >= far else [0, 0])
    return {name: np.array(rows) for name, rows in found.items()}


JOBS = [(1, 3, 40, 0), (9, 70, 150, 1), (2, 4, 3, 1), (5, 33, 90, 0), (3, 3, 20, 0)]
job = st.tuples(st.integers(1, NEAR), st.integers(3, FAR), st.integers(1, 200), st.integers(0, 1))


def differing(want: dict[str, Array], got: dict[str, Any]) -> list[str]:
    return [name for name in want if not np.array_equal(want[name], got[name])]


@settings(max_examples=40, deadline=None)
@given(jobs=st.lists(job, min_size=1, max_size=6), bounded=st.booleans())
def test_interpreter(jobs: list[tuple[int, int, int, int]], bounded: bool) -> None:
    values = inputs(jobs)
    assert not differing(expected(jobs, values["x"]), interpret(block(), values, depths=bounded))


@pytest.mark.parametrize(("near", "far"), [(0, 3), (10, 3), (1, 2), (1, 71)])
def test_a_length_that_the_line_does_not_have(near: int, far: int) -> None:
    with pytest.raises(KernelError, match=r"process work, .*: a delay of \d+\.\.\d+ values, not"):
        interpret(block(), inputs([(near, far, 5, 0)]))


def test_a_line_begins_by_a_clear_and_has_one_length() -> None:
    def of(body: Any) -> Block:
        b = Block("single")
        x, y = b.input("x", u(8)), b.output("y", u(8)[1])
        b.process(loops=[("k", 4)], name="only")(lambda p, k: p.write(y, body(p, p.read(x), k)))
        return b

    with pytest.raises(KernelError, match="delay is not cleared in its first shift"):
        interpret(of(lambda p, v, k: p.delay(v, 2, 4, clear=k == 1)), {"x": [1, 2, 3, 4]})
    with pytest.raises(TypeError, match="depends on the command only"):
        of(lambda p, v, k: p.delay(v, k, 4, clear=first(k)))
    # what nothing was shifted in for is no number to rely on
    got = interpret(of(lambda p, v, k: p.delay(v, 2, 4, clear=first(k))), {"x": [1, 2, 3, 4]})["y"]
    assert got.reshape(-1).tolist() == [255, 255, 1, 2]


@pytest.mark.sim
@pytest.mark.parametrize("period_ns", [2.0, 3.33, 6.67])
def test_rtl_and_its_cycles(period_ns: float) -> None:
    program, values = block().check(), inputs(JOBS)
    want = expected(JOBS, values["x"])
    for idle, stall in ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)):
        run = trace_rtl(program, values, idle=idle, stall=stall, seed=3, optimise=False, period_ns=period_ns)
        assert not differing(want, run.outputs)
        if not idle and not stall:
            counts = {"jobs": len(JOBS), "x": len(values["x"])}
            placements = place_all(program, period_ns)
            found = predict(program, {"jobs": JOBS}, placements=placements, clocks=Clocks(), inputs=counts)
            assert all(run.times[name].tolist() == [t + 1 for t in found.outputs[name]] for name in want)


@pytest.mark.sim
@pytest.mark.parametrize("mutant", MUTANTS, ids=[name for name, *_ in MUTANTS])
def test_a_mutant_is_noticed(mutant: tuple[str, str, str, str]) -> None:
    _, file, old, new = mutant
    program, values = block().check(), inputs(JOBS)
    files = to_systemverilog(program)
    assert old in files[file]
    files[file] = files[file].replace(old, new)
    try:
        run = trace_rtl(program, values, files=files, optimise=False)
    except RuntimeError:  # an assertion of the RTL
        return
    assert differing(expected(JOBS, values["x"]), run.outputs)


@pytest.mark.sim
def test_cpp() -> None:
    values = inputs(JOBS)
    assert not differing(expected(JOBS, values["x"]), run_block(block(), values)[0])


@pytest.mark.sim
@pytest.mark.parametrize("kind", [u(1), i(40), i(5)[3]], ids=str)
@pytest.mark.parametrize("apart", [1, 70])
def test_values_of_any_width(kind: Any, apart: int) -> None:
    b = Block("widths")
    x, y = b.input("x", kind), b.output("y", kind)
    length = max(3, apart)

    @b.process(loops=[("k", 4 * length)])
    def work(p: ProcessTrace, k: Value) -> None:
        p.write(y, select(k >= length, p.delay(p.read(x), length, apart + 2, clear=first(k))[0], 0))

    shape, e = (kind.shape, kind.elem) if isinstance(kind, ArrayType) else ((), kind)
    values = {"x": np.random.default_rng(0).integers(e.low, e.high + 1, (8 * length, *shape))}
    want = interpret(b, values)
    assert np.array_equal(want["y"][length : 4 * length], values["x"][: 3 * length])
    assert not differing(want, trace_rtl(b, values, optimise=False).outputs)
    assert not differing(want, run_block(b, values)[0])


def products() -> Block:
    b = Block("products")
    x, y = b.input("x", i(8)[16]), b.output("y", i(16)[2, 16])
    factors = b.input("factors", i(8)[2])

    @b.process()
    def work(p: ProcessTrace, k: Value) -> None:
        p.write(y, multiply(p.read(x), p.read(factors).reshape(2, 1), luts=True))

    return b


@pytest.mark.sim
def test_every_product_in_luts() -> None:
    """What synthesis reads, for all operands."""
    numbers = np.arange(-128, 128)
    values = {"x": np.tile(numbers.reshape(16, 16), (128, 1)), "factors": np.repeat(numbers.reshape(128, 2), 16, axis=0)}
    program = products().check()
    files = to_systemverilog(program)
    assert files["lut_products.sv"].count("`ifdef SYNTHESIS") == 1
    for synthesised in (False, True):
        if synthesised:
            files["lut_products.sv"] = files["lut_products.sv"].replace("`ifdef", "`ifndef")
        got = trace_rtl(program, values, files=files, optimise=False).outputs["y"]
        assert np.array_equal(got, values["factors"][:, :, None] * values["x"][:, None])


def test_products_in_luts_are_of_bytes() -> None:
    with pytest.raises(TypeError, match="a product in LUTs is one of two i8"):
        multiply(const(3, i(9)), const(3, i(8)), luts=True)
