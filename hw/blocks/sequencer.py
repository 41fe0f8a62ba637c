"""Sequencer: fetches descriptors and hands each process its command once what it depends on is in memory.

Two gates issue an operation, one for its weights and one for its activations. Each waits for the completions that the
planner asked for, so constant weights stream in long before the activations they meet are written, while keys and
values, which are activations too, wait. At the end of a program both gates drain the completions they did not need.
"""

from __future__ import annotations

from edgewright.hw.blocks import operation as op
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    bits,
    last,
    reinterpret,
    struct,
    u,
    width,
    wrap,
)
from edgewright.hw.kernel.ir import Channel

OPERATION_BITS = width(op.Operation)


def cut(kind: Struct, c: StructValue) -> StructValue:
    """The command ``kind`` with its fields taken from the wider command ``c``."""
    return struct(**{name: getattr(c, name) for name, _ in kind.fields})


def add_fetch(b: Block, start: Channel, words: Channel, requests: Channel, load_ops: Channel, run_ops: Channel) -> None:
    """Read the program's descriptors, ``WORDS`` words each, and split them for the two gates."""
    start_requests, start_words = b.fork(start, 2)

    @b.process(command=start_requests, loops=[("i", lambda c: c.count)])
    def fetch_requests(p: ProcessTrace, c: StructValue, i: Value) -> None:
        step = op.WORDS * op.WORD_BITS // 8
        p.write(requests, struct(addr=wrap(c.addr + i * step, u(40)), beats=op.WORDS, mark=0))

    @b.process(command=start_words, loops=[("i", lambda c: c.count), ("w", op.WORDS)])
    def fetch_words(p: ProcessTrace, c: StructValue, i: Value, w: Value) -> None:
        line = p.shift_in(p.read(words), op.WORDS)  # u128[WORDS]
        descriptor = reinterpret(bits(reinterpret(line, u(op.WORDS * op.WORD_BITS)), OPERATION_BITS - 1, 0), op.Operation)
        p.write(load_ops, cut(op.LoadGate, descriptor), when=last(w))
        p.write(run_ops, descriptor, when=last(w))


def add_load_gate(
    b: Block,
    ops: Channel,
    done: Channel,
    *,
    addresses: Channel,
    route: Channel,
    tiles: Channel,
    table: Channel,
    norm: Channel,
    params: Channel,
) -> None:
    """Issue the weights side of each operation."""

    @b.process(command=ops, loops=[("w", lambda c: c.waits_load + 1 + c.drain_load)])
    def load_gate(p: ProcessTrace, c: StructValue, w: Value) -> None:
        go = w == c.waits_load
        p.read(done, when=w != c.waits_load, absent=True)
        p.write(addresses, cut(op.LoadAddresses, c), when=go)
        p.write(route, cut(op.LoadRoute, c), when=go)
        p.write(tiles, cut(op.LoadTiles, c), when=go)
        p.write(table, cut(op.LoadTable, c), when=go)
        p.write(norm, cut(op.LoadNorm, c), when=go & (c.norm_entries != 0))
        p.write(params, cut(op.LoadParams, c), when=go)


def add_run_gate(
    b: Block,
    ops: Channel,
    done: Channel,
    finished: Channel,
    *,
    fetch: Channel,
    route: Channel,
    norms: list[Channel],
    fill: Channel,
    product: Channel,
    softmaxes: list[Channel],
    finish: Channel,
    residuals: list[Channel],
    stores: list[Channel],
) -> None:
    """Issue the activations side of each operation; ``finished`` after the last one's completion."""

    @b.process(command=ops, loops=[("w", lambda c: c.waits_run + 1 + c.drain_run)])
    def run_gate(p: ProcessTrace, c: StructValue, w: Value) -> None:
        go = w == c.waits_run
        p.read(done, when=w != c.waits_run, absent=True)
        reads_memory = go & ~c.ones
        p.write(fetch, cut(op.Fetch, c), when=reads_memory)
        p.write(route, cut(op.Route, c), when=reads_memory)
        for channel in norms:
            p.write(channel, cut(op.Norm, c), when=go & c.norm)
        p.write(fill, cut(op.Fill, c), when=go)
        p.write(product, cut(op.Product, c), when=go)
        for channel in softmaxes:
            p.write(channel, cut(op.Softmax, c), when=go & c.attention)
        p.write(finish, cut(op.Finish, c), when=go)
        for channel in residuals:
            p.write(channel, cut(op.Residual, c), when=go & c.residual)
        for channel in stores:
            p.write(channel, cut(op.Store, c), when=go)
        p.write(finished, c.final, when=last(w) & c.final)
