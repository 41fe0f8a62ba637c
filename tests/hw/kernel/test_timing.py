"""Predicted cycles equal simulated ones: tight FIFOs, with and without a bypass, one to three banks, empty nests, queued
commands."""

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
    latency,
    schedule,
    u,
    wrap,
)
from edgewright.hw.kernel.schedule import WIDE, entries, has_bypass, place_all
from edgewright.hw.kernel.timing import predict
from edgewright.hw.kernel.timing_events import Clocks

from tests.hw.kernel.kernel_bench import trace_rtl

CLOCKS = Clocks(fifo=1, store=1, credit=2, bank_full=1, bank_free=2, empty=1)
Job = Struct("Job", n=u(3), m=u(4))


def block(banks: int, lanes: int = 4) -> Block:
    b = Block("timed")
    jobs, x, y = b.input("jobs", Job), b.input("x", i(8)[lanes]), b.output("y", i(20))
    tight, middle = b.channel("tight", i(8)[lanes], depth=1, slack=2), b.channel("middle", i(16), depth=2, slack=1)
    fill_jobs, drain_jobs = b.fork(jobs, 2)
    memory = b.buffer("memory", i(8)[lanes], depth=16, banks=banks)

    @b.process()
    def head(p: ProcessTrace, k: Value) -> None:
        v = p.read(x)
        p.write(tight, wrap(v * v, i(8)))

    @b.process(command=fill_jobs, loops=[("n", lambda c: c.n), ("m", lambda c: c.m)])
    def fill(p: ProcessTrace, c: StructValue, n: Value, m: Value) -> None:
        p.lock(memory, per=n)
        p.store(memory, wrap(m, u(4)), wrap(p.read(tight) * 3, i(8)))

    @b.process(command=drain_jobs, loops=[("n", lambda c: c.n), ("m", lambda c: c.m)])
    def drain(p: ProcessTrace, c: StructValue, n: Value, m: Value) -> None:
        p.lock(memory, per=n)
        p.write(middle, wrap(p.load(memory, wrap(m, u(4))).sum(), i(16)), when=m != 2)

    @b.process()
    def tail(p: ProcessTrace, k: Value) -> None:
        p.write(y, wrap(p.read(middle) * 5, i(20)))

    return b


@pytest.mark.sim
@pytest.mark.parametrize("lanes", [4, WIDE // 8])
@pytest.mark.parametrize(("banks", "period_ns"), [(1, 3.33), (2, 3.33), (3, 3.33), (1, 6.67), (2, 2.0), (3, 2.0)])
def test_predicted_cycles_are_simulated_cycles(banks: int, period_ns: float, lanes: int) -> None:
    b = block(banks, lanes)
    n, m = [2, 3, 0, 4, 1, 2, 3], [4, 5, 3, 0, 9, 1, 2]
    total = sum(x * y for x, y in zip(n, m, strict=True))
    inputs: dict[str, Any] = {"jobs": {"n": n, "m": m}, "x": np.random.default_rng(0).integers(-128, 128, (total, lanes))}
    program = b.check()
    assert [has_bypass(c) for c in program.channels if c.name == "tight"] == [lanes == 4]
    commands = list(zip(n, m, strict=True))
    predicted = predict(
        program,
        {name: commands for name in ("jobs", "jobs_0", "jobs_1")},
        placements=place_all(program, period_ns),
        clocks=CLOCKS,
        inputs={"jobs": len(n), "x": total},
    )
    run = trace_rtl(b, inputs, optimise=False, period_ns=period_ns)
    assert np.array_equal(run.outputs["y"], interpret(b, inputs)["y"])
    # the model has its inputs in the FIFOs at cycle 0, the bench pushes them in then
    assert run.times["y"].tolist() == [t + 1 for t in predicted.outputs["y"]]


def test_a_faster_clock_computes_further_ahead_of_issue() -> None:
    process = block(2).check().processes[3]
    assert (process.name, schedule(process, 6.67).lead, schedule(process, 2.0).lead > 0) == ("drain", 0, True)


@pytest.mark.sim
@pytest.mark.parametrize("lanes", [4, WIDE // 8])
def test_a_token_a_cycle_with_the_entries_of_its_latency(lanes: int) -> None:
    b = Block("stream")
    x, middle, y = b.input("x", i(8)[lanes]), b.channel("middle", i(8)[lanes], depth=1), b.output("y", i(16))

    @b.process()
    def head(p: ProcessTrace, k: Value) -> None:
        v = p.read(x)
        p.write(middle, wrap(v * v, i(8)))

    @b.process()
    def tail(p: ProcessTrace, k: Value) -> None:
        p.write(y, wrap(p.read(middle).sum(), i(16)))

    program, tokens = b.check(), np.random.default_rng(0).integers(-128, 128, (40, lanes))
    places = place_all(program)
    (wide,) = (c for c in program.channels if c.name == "middle")
    assert entries(wide, places) == 1 + latency(program.processes[0]) + 2 + (lanes > 4)
    predicted = predict(program, {}, placements=places, clocks=CLOCKS, inputs={"x": 40})
    run = trace_rtl(b, {"x": tokens}, optimise=False)
    assert run.times["y"].tolist() == [t + 1 for t in predicted.outputs["y"]]
    assert np.diff(run.times["y"]).tolist() == [1] * 39
    assert np.array_equal(run.outputs["y"], interpret(b, {"x": tokens})["y"])


@pytest.mark.sim
def test_one_iteration_per_clock() -> None:
    b = Block("rate")
    a, y = b.input("a", i(8)[4, 4]), b.output("y", i(32)[4, 2])

    @b.process(loops=[("o", 2), ("k", 5)])
    def mac(p: ProcessTrace, o: Value, k: Value) -> None:
        v = p.read(a)
        p.write(y, p.accumulate(p.dot(v, v[:2]), clear=first(k), type=i(32)), when=last(k))

    process = b.program.processes[0]
    tokens = np.random.default_rng(0).integers(-127, 128, (100, 4, 4))
    run = trace_rtl(b, {"a": tokens}, optimise=False)
    # the token is pushed in cycle 99 and read one later; its result is written and then at the output one later
    assert run.times["y"][-1] == 99 + 1 + latency(process) + 1
    assert schedule(process).writes["y"] == latency(process)
