"""Sequencer: fetch descriptors, issue each unit its command, and let those that read memory wait for what is not there yet.

Three sides work through the operations: constants, computed operands and activations. Commands are issued as fast as units
take them. Every stored block of tokens gives a completion once it is in memory. Each unit that reads memory has a gate, which
counts completions and lets a block of reads go when the planner's number of them has come, so that an operation starts while
the one before it ends. At the end of a program each gate drains the completions that it did not need.
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
    first,
    fit,
    last,
    minimum,
    reinterpret,
    select,
    struct,
    u,
    width,
    wrap,
)
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
    gate: Channel,
    addresses: Channel,
    route: Channel,
    tiles: Channel,
    table: Channel,
    norm: Channel,
    params: Channel,
    biases: Channel,
    rows: Channel,
) -> None:
    """Issue the constants of each operation."""

    @b.process(command=ops)
    def load_issue(p: ProcessTrace, c: StructValue, i: Value) -> None:
        loads = ~c.issue.copy
        p.write(gate, c.gate)
        p.write(addresses, c.addresses, when=loads)
        p.write(route, c.route, when=loads)
        p.write(tiles, c.tiles, when=loads & (c.tiles.const_tiles != 0))
        p.write(table, c.table, when=loads & (c.table.table_rows != 0))
        p.write(norm, c.norm, when=loads & (c.norm.norm_entries != 0))
        p.write(params, c.params, when=loads)
        p.write(biases, c.biases, when=loads & (c.biases.bias_entries != 0))
        p.write(rows, c.rows, when=loads & (c.rows.row_entries != 0))


def add_operand_issue(b: Block, ops: Channel, *, gate: Channel, addresses: Channel, route: Channel, tiles: Channel) -> None:
    """Issue the computed operands of operations, and copies."""

    @b.process(command=ops)
    def operand_issue(p: ProcessTrace, c: StructValue, i: Value) -> None:
        p.write(gate, c.gate)
        reads_memory = c.issue.leads | c.issue.copy
        p.write(addresses, c.addresses, when=reads_memory)
        p.write(route, c.route, when=reads_memory)
        p.write(tiles, c.tiles, when=c.issue.leads)


GATE_FRACTION = 8
"""Fraction bits of the completions that a gate takes for each block."""
GateStep = Struct("GateStep", steps=u(13), go=u(1))
"""Completions to take, and whether a block of reads may go after them, which is one step more."""


def add_gate(b: Block, name: str, prefix: str, commands: Channel, done: Channel, go: Channel) -> None:
    """Let the reads of one unit go, block by block. Of its command: ``first`` completions are taken before the first block,
    ``slope`` before each further one until they are ``steps``, ``drain`` after the last block; without blocks ``first`` are
    taken. ``slope`` has ``GATE_FRACTION`` fraction bits, and ``phase`` is the fraction from which they add up."""

    def field(c: StructValue, part: str) -> Value:
        value: Value = getattr(c, f"{prefix}_{part}")
        return value

    counts = b.channel(f"{name}_counts", GateStep, depth=2)

    @b.process(command=commands, loops=[("k", lambda c: field(c, "blocks") + 1)], name=name)
    def gate(p: ProcessTrace, c: StructValue, k: Value) -> None:
        slope, steps = field(c, "slope"), field(c, "steps")
        total = k * slope + field(c, "phase")
        before, after = (minimum(taken >> GATE_FRACTION, steps) for taken in (total - slope, total))
        further = select(last(k), field(c, "drain"), fit(after - before, u(12)))
        goes = ~last(k)
        p.write(counts, struct(steps=select(first(k), field(c, "first"), further) + goes, go=goes))

    @b.process(command=counts, loops=[("w", lambda c: c.steps)], name=f"{name}_take")
    def take(p: ProcessTrace, c: StructValue, w: Value) -> None:
        goes = c.go & last(w)
        p.read(done, when=~goes, absent=True)
        p.write(go, 1, when=goes)


def add_tracker(b: Block, commands: Channel, done: Channel, finished: Channel) -> None:
    """Count the completions of each operation; ``finished`` after the program's last."""

    @b.process(command=commands, loops=[("m", lambda c: c.marks)])
    def track(p: ProcessTrace, c: StructValue, m: Value) -> None:
        p.read(done)
        p.write(finished, 1, when=last(m) & c.final)


def add_run_issue(
    b: Block,
    ops: Channel,
    *,
    track: Channel,
    fetch_gate: Channel,
    residual_gate: Channel,
    fetch: Channel,
    route: Channel,
    norms: list[Channel],
    direct: Channel,
    windows: list[Channel],
    fill: Channel,
    weights: Channel,
    operands: Channel,
    offsets: Channel,
    product: Channel,
    softmaxes: list[Channel],
    finish: Channel,
    tabulate: Channel,
    turns: list[Channel],
    residuals: list[Channel],
    stores: list[Channel],
) -> None:
    """Issue the activations side of each operation."""

    @b.process(command=ops)
    def run_issue(p: ProcessTrace, c: StructValue, i: Value) -> None:
        reads_memory = ~c.issue.ones & ~c.issue.copy
        computes = ~c.issue.copy
        multiplies = computes & ~c.issue.direct
        p.write(track, c.track)
        p.write(fetch_gate, c.fetch_gate)
        p.write(residual_gate, c.residual_gate)
        p.write(fetch, c.fetch, when=reads_memory)
        p.write(route, c.route, when=reads_memory)
        for channel in norms:
            p.write(channel, c.norm, when=c.issue.norm)
        p.write(direct, c.direct, when=c.issue.direct & ~c.issue.window)
        for channel, kind in zip(windows, ("window_lines", "window"), strict=False):
            p.write(channel, getattr(c, kind), when=c.issue.window)
        p.write(fill, c.fill, when=multiplies)
        p.write(weights, c.weights, when=(multiplies & ~c.issue.computed) | (c.issue.window & ~c.issue.win_maximum))
        p.write(operands, c.operands, when=c.issue.leads)
        p.write(offsets, c.offsets, when=c.issue.leads)
        p.write(product, c.product, when=multiplies)
        for channel in softmaxes:
            p.write(channel, c.softmax, when=c.issue.attention)
        p.write(finish, c.finish, when=computes)
        p.write(tabulate, c.tabulate, when=c.issue.table)
        for channel in turns:
            p.write(channel, c.turn, when=c.issue.by_rows)
        for channel in residuals:
            p.write(channel, c.residual, when=c.issue.residual)
        for channel in stores:
            p.write(channel, c.store)
