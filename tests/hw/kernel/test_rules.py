"""Each rule of the kernel language in the interpreter and the front end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.hw.kernel import (
    Block,
    Deadlock,
    KernelError,
    ProcessTrace,
    Request,
    Struct,
    StructValue,
    Value,
    const,
    first,
    fit,
    i,
    index,
    interpret,
    last,
    select,
    shl,
    struct,
    u,
    wrap,
)

Job = Struct("Job", n=u(3), m=u(3))


def single(type_in: Any, type_out: Any, body: Any, loops: Any = (("k", 4),), command: Any = None) -> Block:
    """A block of one process `body(p, [c,] loops.., x, y)` from stream x to stream y."""
    b = Block("single")
    x, y = b.input("x", type_in), b.output("y", type_out)
    c = None if command is None else b.input("c", command)
    b.process(command=c, loops=list(loops), name="only")(lambda p, *rest: body(p, *rest, x, y))
    return b


def test_a_held_read_repeats_the_last_token() -> None:
    b = single(u(8), u(8), lambda p, k, x, y: p.write(y, p.read(x, when=first(k))))
    assert interpret(b, {"x": [7, 9]})["y"].tolist() == [7] * 4 + [9] * 4


def test_holding_before_any_read_is_an_error_unless_declared() -> None:
    b = single(u(8), u(8), lambda p, k, x, y: p.write(y, p.read(x, when=last(k))))
    with pytest.raises(KernelError, match=r"process only, test_rules.py:\d+: channel x is held before any read"):
        interpret(b, {"x": [7]})
    b = single(u(8), u(8), lambda p, k, x, y: p.write(y, p.read(x, when=last(k), absent=True)))
    assert interpret(b, {"x": [7]}, strict=False)["y"].tolist()[:4] == [0, 0, 0, 7]


def test_read_predicates_are_control() -> None:
    def body(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        p.write(y, p.hold(p.read(x, when=p.accumulate(const(1, u(1)), clear=first(k), type=u(9)) > 2), when=first(k)))

    with pytest.raises(TypeError, match=r"process only, .*predicate of read\(x\) depends on data"):
        single(u(8), u(8), body)


def test_write_predicates_may_depend_on_data() -> None:
    def body(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        v = p.read(x)
        p.write(y, v, when=v > 4)

    assert interpret(single(u(8), u(8), body), {"x": [1, 5, 9, 2]})["y"].tolist() == [5, 9]


def test_accumulate_restarts_and_must_be_cleared_first() -> None:
    def body(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        p.write(y, p.accumulate(p.read(x), clear=first(k), type=i(20)))

    b = single(i(8), i(20), body)
    assert interpret(b, {"x": [1, 2, 3, 4, 10, 20, 30, 40]})["y"].tolist() == [1, 3, 6, 10, 10, 30, 60, 100]

    def never(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        p.write(y, p.accumulate(p.read(x), clear=last(k), type=i(20)))

    with pytest.raises(KernelError, match="not cleared in its first iteration"):
        interpret(single(i(8), i(20), never), {"x": [1, 2, 3, 4]})


@pytest.mark.parametrize("op", ["max", "min"])
def test_accumulate_of_extremes(op: Any) -> None:
    def body(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        p.write(y, p.accumulate(p.read(x), clear=first(k), op=op), when=last(k))

    tokens = np.random.default_rng(0).integers(-128, 128, (40, 3))
    best = tokens.reshape(10, 4, 3).max(1) if op == "max" else tokens.reshape(10, 4, 3).min(1)
    assert np.array_equal(interpret(single(i(8)[3], i(8)[3], body), {"x": tokens})["y"], best)


def test_accumulate_overflow_is_an_error() -> None:
    def body(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        p.write(y, p.accumulate(p.read(x), clear=first(k)))

    with pytest.raises(KernelError, match="accumulate reaches"):
        interpret(single(i(8), i(8), body), {"x": [100, 100, 0, 0]})


def test_shift_in_and_hold() -> None:
    def body(p: ProcessTrace, k: Value, x: Any, y: Any) -> None:
        v = p.read(x)
        window = p.shift_in(v, 3, when=v > 0)
        held = p.hold(v, when=first(k))
        p.write(y, struct(window=window, held=held))

    t = Struct("T", window=i(8)[3], held=i(8))
    got = interpret(single(i(8), t, body), {"x": [1, -2, 3, 4, 5, 6, -7, -8]})["y"]
    assert got["window"].tolist() == [[0, 0, 1], [0, 0, 1], [0, 1, 3], [1, 3, 4], [3, 4, 5], [4, 5, 6], [4, 5, 6], [4, 5, 6]]
    assert got["held"].tolist() == [1, 1, 1, 1, 5, 5, 5, 5]


def test_run_time_bounds_may_be_zero() -> None:
    def body(p: ProcessTrace, c: StructValue, a: Value, k: Value, x: Any, y: Any) -> None:
        del x
        p.write(y, wrap(a * 10 + k, u(8)))

    loops: list[tuple[str, Any]] = [("a", lambda c: c.n), ("k", lambda c, a: select(first(a), c.m, wrap(a, u(3))))]
    b = Block("zero")
    commands, y = b.input("c", Job), b.output("y", u(8))
    b.process(command=commands, loops=loops, name="only")(lambda p, c, a, k: body(p, c, a, k, None, y))
    got = interpret(b, {"c": {"n": [0, 3, 2, 0], "m": [5, 0, 2, 0]}})["y"]
    assert got.tolist() == [10, 20, 21, 0, 1, 10]


def buffered(banks: int = 2, per_row: bool = True) -> Block:
    b = Block("buffered")
    x, y = b.input("x", u(8)), b.output("y", u(8))
    memory = b.buffer("memory", u(8), depth=4, banks=banks)

    @b.process(loops=[("row", 2), ("k", 4)])
    def fill(p: ProcessTrace, row: Value, k: Value) -> None:
        p.lock(memory, per=row if per_row else None)
        p.store(memory, k, p.read(x))

    @b.process(loops=[("row", 2), ("k", 4)])
    def drain(p: ProcessTrace, row: Value, k: Value) -> None:
        p.lock(memory, per=row)
        p.write(y, p.load(memory, wrap(3 - k, u(2))))

    return b


def test_banks_pass_from_writer_to_reader() -> None:
    tokens = np.arange(16)
    want = tokens.reshape(4, 4)[:, ::-1].reshape(-1)
    assert np.array_equal(interpret(buffered(), {"x": tokens})["y"], want)
    assert np.array_equal(interpret(buffered(), {"x": tokens}, depths=True)["y"], want)


def test_scopes_that_do_not_match_are_noticed() -> None:
    with pytest.raises(Deadlock, match="process drain at row=1, k=0 waits for a full bank of memory"):
        interpret(buffered(per_row=False), {"x": np.arange(8)})


def test_bounded_fifos_show_a_deadlock_and_who_waits() -> None:
    def block(depth: int) -> Block:
        b = Block("uneven")
        x, y = b.input("x", u(8)), b.output("y", u(8))
        near, far = b.channel("near", u(8), depth=depth), b.channel("far", u(8))

        @b.process(loops=[("k", 4)])
        def split(p: ProcessTrace, k: Value) -> None:
            v = p.read(x)
            p.write(near, v)
            p.write(far, v, when=last(k))

        @b.process(loops=[("k", 4)])
        def join(p: ProcessTrace, k: Value) -> None:
            total = p.read(near) + p.read(far, when=first(k))
            p.write(y, wrap(total, u(8)))

        return b

    assert interpret(block(2), {"x": [1, 2, 3, 4]})["y"].tolist() == [5, 6, 7, 8]
    assert interpret(block(4), {"x": [1, 2, 3, 4]}, depths=True)["y"].tolist() == [5, 6, 7, 8]
    with pytest.raises(Deadlock, match=r"process split at k=2 waits for room in near"):
        interpret(block(2), {"x": [1, 2, 3, 4]}, depths=True)


def test_tokens_left_are_reported() -> None:
    b = single(u(8), u(8), lambda p, k, x, y: p.write(y, p.read(x)))
    with pytest.raises(Deadlock, match="process only at k=2 waits for x"):
        interpret(b, {"x": [1, 2]})
    assert interpret(b, {"x": [1, 2]}, strict=False)["y"].tolist() == [1, 2]


def test_values_out_of_range_are_errors() -> None:
    for body, message in (
        (lambda p, k, x, y: p.write(y, fit(p.read(x) + 1, u(8))), "fit to u8"),
        (lambda p, k, x, y: p.write(y, index(const([1, 2, 3], u(8)[3]), p.read(x))), "index 255 of 3"),
        (lambda p, k, x, y: p.write(y, shl(p.read(x), wrap(k, u(2)), 8)), "left shift"),
    ):
        with pytest.raises(KernelError, match=message):
            interpret(single(u(8), u(8), body), {"x": [0, 255, 255, 255]})


def test_dot_refuses_minus_128() -> None:
    b = single(i(8)[2, 2], i(15)[2, 2], lambda p, k, x, y: (lambda v: p.write(y, wrap(p.dot(v, v), i(15))))(p.read(x)))
    with pytest.raises(KernelError, match="dot of -128"):
        interpret(b, {"x": np.full((4, 2, 2), -128)})


def test_types_of_channels_match_to_the_bit() -> None:
    with pytest.raises(TypeError, match=r"process only, .*: channel y takes u8, not u9"):
        single(u(8), u(8), lambda p, k, x, y: p.write(y, p.read(x) + 1))
    with pytest.raises(TypeError, match=r"channel y takes struct Job"):
        single(u(8), Job, lambda p, k, x, y: p.write(y, p.read(x)))


def test_a_stream_has_one_writer_and_one_reader() -> None:
    b = Block("two")
    x, y, z = b.input("x", u(8)), b.output("y", u(8)), b.output("z", u(8))
    b.process(name="one")(lambda p, k: p.write(y, p.read(x)))
    with pytest.raises(TypeError, match="channel x already has a reader, one: fork it"):
        b.process(name="other")(lambda p, k: p.write(z, p.read(x)))
    with pytest.raises(TypeError, match="block two: channel z has no writer"):
        b.check()


def test_fork_copies_every_token() -> None:
    b = Block("forked")
    x, y, z = b.input("x", u(8)), b.output("y", u(8)), b.output("z", u(9))
    left, right = b.fork(x, 2)
    b.process(name="same")(lambda p, k: p.write(y, p.read(left)))
    b.process(name="more")(lambda p, k: p.write(z, p.read(right) + 1))
    got = interpret(b, {"x": [3, 4]})
    assert got["y"].tolist() == [3, 4] and got["z"].tolist() == [4, 5]


def test_hardware_values_are_no_python_conditions() -> None:
    with pytest.raises(TypeError, match="use select"):
        single(u(8), u(8), lambda p, k, x, y: p.write(y, 1 if p.read(x) else 0))


def test_memory_through_axi_ports() -> None:
    b = Block("copy")
    jobs = b.input("jobs", Struct("Copy", source=u(40), target=u(40), beats=u(16)))
    reads, words = b.channel("reads", Request), b.channel("words", u(128))
    writes, results, done = b.channel("writes", Request), b.channel("results", u(128)), b.channel("done", u(1))
    finished = b.output("finished", u(1))
    b.axi_read("load", reads, words)
    b.axi_write("save", writes, results, done)

    @b.process(command=jobs)
    def ask(p: ProcessTrace, c: StructValue, k: Value) -> None:
        p.write(reads, struct(addr=c.source, beats=c.beats, mark=0))
        p.write(writes, struct(addr=c.target, beats=c.beats, mark=1))

    b.process(name="invert")(lambda p, k: p.write(results, ~p.read(words)))
    b.process(name="report")(lambda p, k: p.write(finished, p.read(done)))
    memory = np.arange(256, dtype=np.uint8)
    got = interpret(b, {"jobs": {"source": [0, 32], "target": [128, 160], "beats": [2, 1]}}, memory)
    assert got["finished"].tolist() == [1, 1]
    assert np.array_equal(memory[128:176], 255 - np.arange(48, dtype=np.uint8))
    with pytest.raises(KernelError, match="in a memory of 256 bytes"):
        interpret(b, {"jobs": {"source": [240], "target": [0], "beats": [2]}}, memory)
