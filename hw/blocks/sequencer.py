"""Sequencer: fetch descriptors and issue each unit its command when the data that it depends on is in memory.

Three sides issue an operation. Its constants wait for room alone, so they are loaded long before the activations that they
multiply are written. Its computed operands and its activations have a gate each, which waits for the completions that the
planner requested. At the end of a program both gates drain the completions that they did not need.
"""

from __future__ import annotations

from edgewright.hw.blocks import operation as op
from edgewright.hw.kernel import Block, ProcessTrace, StructValue, Value, bits, last, reinterpret, struct, u, width, wrap
from edgewright.hw.kernel.ir import Channel


def add_fetch(b: Block, start: Channel, words: Channel, requests: Channel, **sides: Channel) -> None:
    """Read the program's descriptors, ``WORDS`` words each, and split them between the ``sides`` of `operation.SIDES`."""
    start_requests, start_words = b.fork(start, 2)

    @b.process(command=start_requests, loops=[("i", lambda c: c.count)])
    def fetch_requests(p: ProcessTrace, c: StructValue, i: Value) -> None:
        step = op.WORDS * op.WORD_BITS // 8
        p.write(requests, struct(addr=wrap(c.addr + i * step, u(40)), beats=op.WORDS, mark=0))

    @b.process(command=start_words, loops=[("i", lambda c: c.count), ("w", op.WORDS)])
    def fetch_words(p: ProcessTrace, c: StructValue, i: Value, w: Value) -> None:
        line = p.shift_in(p.read(words), op.WORDS)  # u128[WORDS]
        packed = reinterpret(line, u(op.WORDS * op.WORD_BITS))
        descriptor = reinterpret(bits(packed, width(op.Operation) - 1, 0), op.Operation)
        for side, ops in sides.items():
            p.write(ops, getattr(descriptor, side), when=last(w))


def add_load_issue(
    b: Block,
    ops: Channel,
    *,
    addresses: Channel,
    route: Channel,
    tiles: Channel,
    table: Channel,
    norm: Channel,
    params: Channel,
) -> None:
    """Issue the constants of each operation."""

    @b.process(command=ops)
    def load_issue(p: ProcessTrace, c: StructValue, i: Value) -> None:
        loads = ~c.gate.copy
        p.write(addresses, c.addresses, when=loads)
        p.write(route, c.route, when=loads)
        p.write(tiles, c.tiles, when=loads & (c.tiles.const_tiles != 0))
        p.write(table, c.table, when=loads)
        p.write(norm, c.norm, when=loads & (c.norm.norm_entries != 0))
        p.write(params, c.params, when=loads)


def add_operand_gate(b: Block, ops: Channel, done: Channel, *, addresses: Channel, tiles: Channel) -> None:
    """Issue the computed operands of each operation that has any."""

    @b.process(command=ops, loops=[("w", lambda c: c.gate.waits_operands + 1 + c.gate.drain_operands)])
    def operand_gate(p: ProcessTrace, c: StructValue, w: Value) -> None:
        go = (w == c.gate.waits_operands) & c.gate.computed
        p.read(done, when=w != c.gate.waits_operands, absent=True)
        p.write(addresses, c.addresses, when=go)
        p.write(tiles, c.tiles, when=go)


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
    weights: Channel,
    operands: Channel,
    offsets: Channel,
    product: Channel,
    softmaxes: list[Channel],
    finish: Channel,
    residuals: list[Channel],
    stores: list[Channel],
) -> None:
    """Issue the activations side of each operation; ``finished`` after the last one's completion."""

    @b.process(command=ops, loops=[("w", lambda c: c.gate.waits_run + 1 + c.gate.drain_run)])
    def run_gate(p: ProcessTrace, c: StructValue, w: Value) -> None:
        go = w == c.gate.waits_run
        p.read(done, when=w != c.gate.waits_run, absent=True)
        reads_memory = go & ~c.gate.ones
        computes = go & ~c.gate.copy
        p.write(fetch, c.fetch, when=reads_memory)
        p.write(route, c.route, when=reads_memory)
        for channel in norms:
            p.write(channel, c.norm, when=go & c.gate.norm)
        p.write(fill, c.fill, when=computes)
        p.write(weights, c.weights, when=computes & ~c.gate.computed)
        p.write(operands, c.operands, when=go & c.gate.computed)
        p.write(offsets, c.offsets, when=go & c.gate.computed)
        p.write(product, c.product, when=computes)
        for channel in softmaxes:
            p.write(channel, c.softmax, when=go & c.gate.attention)
        p.write(finish, c.finish, when=computes)
        for channel in residuals:
            p.write(channel, c.residual, when=go & c.gate.residual)
        for channel in stores:
            p.write(channel, c.store, when=go)
        p.write(finished, c.gate.final, when=last(w) & c.gate.final)
