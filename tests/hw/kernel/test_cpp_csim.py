"""The printed C++, compiled by g++ with plain integers and with ap_int, equals the interpreter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.cost import program_of
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Request,
    Struct,
    StructValue,
    Value,
    const,
    dot,
    first,
    fit,
    i,
    last,
    select,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.interp import interpret
from edgewright.hw.plan import plan
from edgewright.passes.ir.interp import interpret_all
from edgewright.sim.block_csim import CsimError, run_block, simulate
from edgewright.sim.network import input_writes
from edgewright.sim.scoreboard import WriteLog, compare

from tests.hw.integer_models import random_image, random_vit
from tests.hw.kernel.cpp_kernels import add_random
from tests.hw.kernel.op_cases import add_family, cases, families, operands

BUILDS = pytest.mark.parametrize("ap_int", [False, True], ids=["plain", "ap_int"])


def leaves_of(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {k: v for key, part in tree.items() for k, v in leaves_of(part, f"{path}.{key}").items()}


def check(block: Block, inputs: dict[str, Any], ap_int: bool, memory: Any = None) -> None:
    after = None if memory is None else memory.copy()
    wanted = leaves_of(interpret(block, inputs, memory=after))
    outputs, found = run_block(block, inputs, memory, ap_int, optimise=False)
    got = leaves_of(outputs)
    assert [name for name in wanted if not np.array_equal(wanted[name], got[name])] == []
    if after is not None and found is not None:
        assert np.array_equal(after, found)


@pytest.mark.parametrize(("ap_int", "every"), [(False, 1), (True, 6), pytest.param(True, 1, marks=pytest.mark.slow)], ids=str)
def test_every_operation(ap_int: bool, every: int) -> None:
    """With ap_int.h, slow to compile, a sixth of the types, or all."""
    block, rng, inputs = Block("ops"), np.random.default_rng(1), dict[str, Any]()
    for family, members in families(cases()[::every]).items():
        add_family(block, family, members)
        inputs[f"{family}_in"] = {k: v for case in members for k, v in operands(case, 60, rng).items()}
    check(block, inputs, ap_int)


@pytest.mark.parametrize(("seed", "ap_int"), [(1, False), (2, True)])
def test_random_kernels(seed: int, ap_int: bool) -> None:
    block, rng, inputs = Block("kernels"), np.random.default_rng(seed), dict[str, Any]()
    for n in range(8):
        inputs |= add_random(block, f"k{n}", rng)
    check(block, inputs, ap_int)


Sizes = Struct("Sizes", rows=u(3), width=u(3), grow=u(1))
Entry = Struct("Entry", low=i(5)[3], high=Struct("High", a=u(70), b=i(9)))


def buffers() -> Block:
    """Locks at every level, bounds that may be 0, masks, guarded stores, struct elements, several addresses at once."""
    b = Block("buffers")
    commands = b.input("sizes", Sizes)
    writes, reads = b.fork(commands, 2)
    values, sums, picks = b.input("values", i(8)[3]), b.output("sums", i(12)[3]), b.output("picks", i(8)[2, 3])
    entries, totals = b.output("entries", Entry), b.output("totals", i(20)[2])
    tile = b.buffer("tile", i(8)[3], depth=8, banks=2)
    table = b.buffer("table", Entry, depth=8, banks=2)
    scalar = b.buffer("scalar", u(9), depth=8, banks=2)
    loops: list[tuple[str, Any]] = [
        ("j", lambda c: c.rows),
        ("k", lambda c, j: select(c.grow, wrap(j, u(3)), c.width)),
        ("h", 2),
    ]

    @b.process(command=writes, loops=loops)
    def fill(p: ProcessTrace, c: StructValue, j: Value, k: Value, h: Value) -> None:
        p.lock(tile, per=j)
        p.lock(table, per=None)
        p.lock(scalar, per=k)
        v = p.read(values)
        p.store(tile, k, v, mask=(const([0, 1, 0], u(1)[3]) == h), when=v[1] < 100)
        p.store(table, j, struct(low=wrap(v, i(5)), high=struct(a=wrap(v[0], u(70)), b=v[1] + k)), when=last(k) & last(h))
        p.store(scalar, h, wrap(v[2], u(9)))

    @b.process(command=reads, loops=loops)
    def use(p: ProcessTrace, c: StructValue, j: Value, k: Value, h: Value) -> None:
        p.lock(tile, per=j)
        p.lock(table, per=None)
        p.lock(scalar, per=k)
        whole = p.load(tile, k)
        p.write(sums, p.accumulate(whole, clear=first(k) & first(h), type=i(12)), when=last(k) & last(h))
        p.write(picks, p.load(tile, wrap(const([0, 0], u(3)[2]) + k, u(3))), when=last(h))
        entry = p.load(table, j)
        both = p.load(table, wrap(const([0, 1], u(3)[2]) * 0 + j, u(3)))
        p.write(entries, entry, when=last(h))
        p.write(totals, wrap(both.high.b + both.low.sum(1) + p.load(scalar, h), i(20)), when=last(h))

    return b


@BUILDS
def test_buffers(ap_int: bool) -> None:
    rng = np.random.default_rng(3)
    sizes = {"rows": [2, 0, 3, 1, 2, 4], "width": [3, 2, 0, 1, 2, 0], "grow": [0, 1, 0, 0, 0, 1]}
    count = sum(
        2 * sum(j if g else w for j in range(r)) for r, w, g in zip(*(sizes[k] for k in ("rows", "width", "grow")), strict=True)
    )
    values = rng.integers(-128, 100, (count, 3))
    check(buffers(), {"sizes": sizes, "values": values}, ap_int)


Wide = Struct("Wide", rows=i(27)[20, 10], tag=u(3), parts=u(70)[5])


def wide() -> Block:
    """Tokens and elements of more than 4,096 bits, structs with arrays, ports of both, and several readers at once."""
    b = Block("wide")
    go, come = b.fork(b.input("jobs", u(1)), 2)
    x, y, z = b.input("x", Wide), b.output("y", Wide), b.output("z", i(27)[2, 20, 10])
    passed = b.channel("passed", Wide, depth=2)
    rows = b.buffer("rows", i(27)[20, 10], depth=4, banks=2)
    held = b.buffer("held", Wide, depth=4, banks=2)
    queue = b.ring("queue", Wide, depth=8, window=4)

    @b.process(command=go, loops=[("k", 4)])
    def split(p: ProcessTrace, c: Value, k: Value) -> None:
        p.lock(rows, per=None)
        p.lock(held, per=None)
        token = p.read(x)
        p.write(passed, token)
        odd = select(first(k), const([1] * 20, u(1)[20]), const([n % 2 for n in range(20)], u(1)[20]))
        p.store(rows, wrap(k, u(2)), token.rows, mask=odd)
        p.store(held, wrap(k, u(2)), token)

    @b.process()
    def again(p: ProcessTrace, k: Value) -> None:
        token = p.read(passed)
        p.append(queue, struct(rows=wrap(token.rows + 1, i(27)), tag=token.tag, parts=token.parts))

    @b.process(command=come, loops=[("k", 4)])
    def join(p: ProcessTrace, c: Value, k: Value) -> None:
        p.lock(rows, per=None)
        p.lock(held, per=None)
        both = p.load(rows, wrap(const([0, 0], u(2)[2]), u(2)))
        entry, other = p.load(held, wrap(k, u(2))), p.load(held, wrap(3 - k, u(2)))
        last_one = p.replay(queue, wrap(k, u(2)), fresh=1, free=1, last=last(k))
        p.write(z, wrap(both + other.rows, i(27)))
        tags = wrap(entry.tag + other.tag, u(3))
        p.write(y, struct(rows=wrap(last_one.rows - entry.rows, i(27)), tag=tags, parts=last_one.parts))

    return b


@BUILDS
def test_words_of_wide_tokens(ap_int: bool) -> None:
    rng = np.random.default_rng(9)
    tokens = {
        "rows": rng.integers(-(2**26), 2**26, (8, 20, 10)),
        "tag": rng.integers(0, 8, 8),
        "parts": np.array([[int(n) << 9 for n in row] for row in rng.integers(0, 2**61, (8, 5))], dtype=object),
    }
    check(wide(), {"jobs": [0, 1], "x": tokens}, ap_int)


def movers() -> Block:
    """Copies words from one place to another, and adds one to each."""
    b = Block("movers")
    job = Struct("Job", source=u(40), target=u(40), beats=u(16), mark=u(1))
    jobs, done = b.input("jobs", job), b.output("done", u(1))
    reads, writes = b.fork(jobs, 2)
    read_requests, write_requests = b.channel("read_requests", Request), b.channel("write_requests", Request)
    words, results = b.channel("words", u(128)), b.channel("results", u(128))
    b.axi_read("source", read_requests, words)
    b.axi_write("target", write_requests, results, done)

    @b.process(command=reads)
    def ask(p: ProcessTrace, c: StructValue, n: Value) -> None:
        p.write(read_requests, struct(addr=c.source, beats=c.beats, mark=0))

    @b.process(command=writes)
    def answer(p: ProcessTrace, c: StructValue, n: Value) -> None:
        p.write(write_requests, struct(addr=c.target, beats=c.beats, mark=c.mark))

    @b.process()
    def work(p: ProcessTrace, n: Value) -> None:
        p.write(results, wrap(p.read(words) + 1, u(128)))

    return b


@BUILDS
def test_movers(ap_int: bool) -> None:
    memory = np.random.default_rng(4).integers(0, 256, 1024).astype(np.uint8)
    jobs = {"source": [0, 64, 0, 32], "target": [512, 768, 0, 800], "beats": [4, 3, 0, 1], "mark": [0, 1, 1, 1]}
    check(movers(), {"jobs": jobs}, ap_int, memory)
    run = simulate(movers(), {"jobs": jobs}, memory, ap_int=ap_int, optimise=False)
    assert [address for address, _ in run.writes] == [512, 528, 544, 560, 768, 784, 800, 800]
    word = int.from_bytes(memory[16:32].tobytes(), "little") + 1
    assert run.writes[1][1] == (word % 2**128).to_bytes(16, "little")


def test_access_outside_memory_ends_the_run() -> None:
    jobs = {"source": [2048], "target": [0], "beats": [1], "mark": [1]}
    with pytest.raises(CsimError, match="memory of 64 words"):
        simulate(movers(), {"jobs": jobs}, np.zeros(1024, np.uint8), optimise=False)


def test_work_left_is_reported() -> None:
    b = Block("starved")
    x, y, z = b.input("x", u(8)), b.input("y", u(8)), b.output("z", u(9))

    @b.process(loops=[("k", 4)])
    def pairs(p: ProcessTrace, k: Value) -> None:
        p.write(z, p.read(x) + p.read(y, when=first(k)))

    run = simulate(b, {"x": [1, 2, 3], "y": [9, 9]}, optimise=False)
    assert run.rest == ["left y 1", "waits pairs read x"]
    with pytest.raises(CsimError, match="pairs read x"):
        run_block(b, {"x": [1, 2, 3], "y": [9, 9]}, optimise=False)


def test_feedback_and_bounded_streams() -> None:
    b = Block("loop")
    x, y = b.input("x", u(8)), b.output("y", u(16))
    back = b.channel("back", u(16), depth=1)

    @b.process(loops=[("k", 5)])
    def running(p: ProcessTrace, k: Value) -> None:
        value = p.read(x) + select(first(k), 0, p.read(back, when=~first(k)))
        p.write(back, wrap(value, u(16)), when=~last(k))
        p.write(y, wrap(value, u(16)), when=last(k))

    inputs = {"x": np.arange(20)}
    for bounded in (False, True):
        run = simulate(b, inputs, bounded=bounded, optimise=False)
        assert run.outputs["y"].tolist() == [10, 35, 60, 85] and run.rest == []


def test_bounded_streams_deadlock_where_hardware_would() -> None:
    b = Block("diamond")
    x, y = b.input("x", u(8)), b.output("y", u(9))
    direct, late = b.channel("direct", u(8), depth=2), b.channel("late", u(8), depth=2)

    @b.process(loops=[("k", 8)])
    def split(p: ProcessTrace, k: Value) -> None:
        value = p.read(x)
        p.write(direct, value)
        p.write(late, p.accumulate(value, clear=first(k), op="max"), when=last(k))

    @b.process(loops=[("k", 8)])
    def join(p: ProcessTrace, k: Value) -> None:
        p.write(y, p.read(late, when=first(k)) + p.read(direct))

    inputs = {"x": np.arange(16)}
    assert np.array_equal(run_block(b, inputs, optimise=False)[0]["y"], interpret(b, inputs)["y"])
    assert "waits split write direct" in simulate(b, inputs, bounded=True, optimise=False).rest


def test_a_source_fills_its_stream_only() -> None:
    b = Block("source")
    y = b.output("y", u(8), depth=3)

    @b.process(loops=[("k", 5)])
    def count(p: ProcessTrace, k: Value) -> None:
        p.write(y, wrap(k, u(8)))

    assert simulate(b, {}, optimise=False).outputs["y"].tolist() == [0, 1, 2]


def test_checked_fit_ends_the_run() -> None:
    b = Block("fits")
    x, y = b.input("x", u(8)), b.output("y", u(4))

    @b.process()
    def narrow(p: ProcessTrace, k: Value) -> None:
        p.write(y, fit(p.read(x), u(4)))

    assert simulate(b, {"x": [15, 3]}, checked=True, optimise=False).outputs["y"].tolist() == [15, 3]
    with pytest.raises(CsimError, match="ended with"):
        simulate(b, {"x": [16]}, checked=True, optimise=False)


def test_packed_products_equal_plain_ones() -> None:
    """At the ends of the range, where the low product's sum borrows from the high one's."""
    b = Block("products")
    a, w = b.input("a", i(8)[3, 20]), b.input("w", i(8)[2, 20])
    y = b.output("y", dot(const(0, i(8)[3, 20]), const(0, i(8)[2, 20])).type)

    @b.process()
    def products(p: ProcessTrace, k: Value) -> None:
        p.write(y, dot(p.read(a), p.read(w)))

    ends = np.array([-127, 127])
    inputs = {"a": ends[np.random.default_rng(5).integers(0, 2, (50, 3, 20))], "w": np.full((50, 2, 20), -127)}
    check(b, inputs, ap_int=True)


@pytest.mark.slow
@BUILDS
def test_engine(ap_int: bool) -> None:
    """A whole network on the whole engine: each word it stores is the integer graph's."""
    config = EngineConfig(tokens=4, weight_tiles=64, softmax_keys=4)
    graph = random_vit(image=8, blocks=1)
    planned = plan(graph, config)
    memory = np.frombuffer(planned.image, np.uint8).copy()
    values = interpret_all(graph, random_image(graph))
    for address, content in input_writes(planned, values).items():
        memory[address : address + len(content)] = np.frombuffer(content, np.uint8)
    start = {"start": [{"addr": planned.program_address, "count": len(planned.steps)}]}
    run = simulate(program_of(config), start, memory, ap_int=ap_int)
    assert run.rest == [] and run.outputs["finished"].tolist() == [1]
    words = np.frombuffer(b"".join(word for _, word in run.writes), np.uint8).reshape(-1, 16)
    addresses = np.array([address for address, _ in run.writes], np.uint64)
    compared = compare(planned, values, WriteLog(np.arange(len(words), dtype=np.uint32), addresses, words))
    assert compared.exact, str(compared.mismatch)
