"""Loops of no iterations, at any depth: the steps they take are the ones that the RTL takes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from edgewright.hw.kernel import Block, ProcessTrace, Struct, StructValue, Value, interpret, last, select, u
from edgewright.hw.kernel.nest import expand, slots
from edgewright.hw.kernel.schedule import place_all
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


def test_slots_keep_order_and_leave_room() -> None:
    process = block().check().processes[0]
    for job in JOBS:
        command = [np.array([v]) for v in job]
        at, steps = slots(process, command)
        assert len(at) == expand(process, command, 1).count
        assert np.all(np.diff(at) >= 1) and np.all(at < steps) and steps >= 1


@pytest.mark.sim
def test_steps_are_cycles() -> None:
    program = block().check()
    inputs = {"jobs": dict(zip("xyz", np.array(JOBS).T, strict=True))}
    expected = predict(
        program,
        {"jobs": JOBS},
        placements=place_all(program),
        clocks=Clocks(),
        inputs={"jobs": len(JOBS)},
    )
    run = trace_rtl(program, inputs, optimise=False)
    assert np.array_equal(run.outputs["out"], interpret(program, inputs)["out"])
    assert run.times["out"].tolist() == [t + 1 for t in expected.outputs["out"]]
