"""Loops of no iterations, at any depth: the steps they take are the ones that the RTL takes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    first,
    interpret,
    last,
    maximum,
    minimum,
    select,
    u,
    wrap,
)
from edgewright.hw.kernel.nest import expand, slots
from edgewright.hw.kernel.schedule import place, place_all
from edgewright.hw.kernel.timing import predict
from edgewright.hw.kernel.timing_events import Clocks

from tests.hw.kernel.kernel_bench import trace_rtl

Job = Struct("Job", x=u(2), y=u(2), z=u(2))
JOBS = list(product(range(3), repeat=3))


def block() -> Block:
    """Bounds of the command, of a loop next outside, and of one further outside."""
    b = Block("empty_loops")
    jobs, out = b.input("jobs", Job), b.output("out", u(2))

    @b.process(
        command=jobs,
        loops=[
            ("a", lambda c: c.x),
            ("b", lambda c, a: select(last(a), c.y, c.z)),
            ("k", lambda c, a, b: select(a == 1, c.z, c.x)),
            ("l", lambda c, a, b, k: select(b == 1, 0, c.y)),
        ],
    )
    def walk(p: ProcessTrace, c: StructValue, a: Value, b: Value, k: Value, l: Value) -> None:  # noqa: E741
        p.write(out, c.x)

    return b


def slow_bounds() -> Block:
    """A bound that takes too long to be used in the first cycle of a command, and one that follows from the loop's last
    iteration."""
    b = Block("slow_bounds")
    jobs, out = b.input("jobs", Job), b.output("out", u(4))

    @b.process(
        command=jobs,
        loops=[
            ("a", lambda c: minimum(maximum(c.x + c.y, c.z), 3) + c.z),
            ("b", lambda c, a: select(last(a), c.y, c.z)),
        ],
    )
    def walk(p: ProcessTrace, c: StructValue, a: Value, b: Value) -> None:
        p.write(out, wrap(a + b, u(4)), when=~(first(a) & last(b)))

    return b


def following_bounds() -> Block:
    """Bounds that take too long to follow from the outermost loop within a cycle: they are computed an iteration ahead."""
    b = Block("following_bounds")
    jobs, out = b.input("jobs", Job), b.output("out", u(4))

    @b.process(
        command=jobs,
        loops=[
            ("a", lambda c: c.x),
            ("b", lambda c, a: minimum(select(last(a), a + c.y, maximum(maximum(c.z, a) - first(a), 0)), 3)),
            ("k", lambda c, a, b: select(first(a), c.z, c.y)),
        ],
    )
    def walk(p: ProcessTrace, c: StructValue, a: Value, b: Value, k: Value) -> None:
        p.write(out, wrap(a + b * 2 + k, u(4)), when=~(first(a) & last(b)) | last(k))

    return b


def constant_outer() -> Block:
    """The same where the outermost loop has a constant bound."""
    b = Block("constant_outer")
    jobs, out = b.input("jobs", Job), b.output("out", u(4))

    @b.process(
        command=jobs,
        loops=[
            ("a", 3),
            ("b", lambda c, a: minimum(select(last(a), a + c.y, maximum(maximum(c.z, a) - first(a), 0)), 3)),
        ],
    )
    def walk(p: ProcessTrace, c: StructValue, a: Value, b: Value) -> None:
        p.write(out, wrap(a + b, u(4)), when=~last(a) | last(b))

    return b


@pytest.mark.parametrize(("described", "cycles"), [(slow_bounds, 1), (following_bounds, 2), (constant_outer, 2)])
def test_a_nest_waits_for_slow_bounds(described: Callable[[], Block], cycles: int) -> None:
    process = described().check().processes[0]
    assert (place(process, 3.33).settles, place(process, 10.0).settles) == (cycles, 0)


def test_slots_keep_order_and_leave_room() -> None:
    process = block().check().processes[0]
    for job in JOBS:
        command = [np.array([v]) for v in job]
        at, steps = slots(process, command)
        assert len(at) == expand(process, command, 1).count
        assert np.all(np.diff(at) >= 1) and np.all(at < steps) and steps >= 1


@pytest.mark.sim
@pytest.mark.parametrize("described", [block, slow_bounds, following_bounds, constant_outer])
@pytest.mark.parametrize("period_ns", [2.0, 3.33, 10.0])
def test_steps_are_cycles(described: Callable[[], Block], period_ns: float) -> None:
    program = described().check()
    inputs = {"jobs": dict(zip("xyz", np.array(JOBS).T, strict=True))}
    expected = predict(
        program,
        {"jobs": JOBS},
        placements=place_all(program, period_ns),
        clocks=Clocks(),
        inputs={"jobs": len(JOBS)},
    )
    run = trace_rtl(program, inputs, optimise=False, period_ns=period_ns)
    assert np.array_equal(run.outputs["out"], interpret(program, inputs)["out"])
    assert run.times["out"].tolist() == [t + 1 for t in expected.outputs["out"]]
    for seed, (idle, stall) in enumerate([(0.5, 0.0), (0.0, 0.6), (0.4, 0.4)]):
        pressed = trace_rtl(program, inputs, idle, stall, seed, optimise=False, period_ns=period_ns)
        assert np.array_equal(pressed.outputs["out"], run.outputs["out"])
