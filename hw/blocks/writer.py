"""Memory side of the epilogue: residual rows in, result rows out, in the order of the epilogue."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.epilogue import result_type
from edgewright.hw.blocks.operation import Loops, rows_of
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    StructValue,
    Value,
    bits,
    first,
    i,
    last,
    reinterpret,
    select,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel


def add_residual(
    b: Block, cfg: EngineConfig, commands: Sequence[Channel], go: Channel, requests: Channel, words: Channel, rows: Buffer
) -> None:
    """Read the second operand: two words (``lanes`` int16 channels; one of int8) per row and tile of outputs, one by one or a
    run a block."""
    address_cmds, data_cmds = commands
    loops: Loops = [("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles), ("t", rows_of(cfg.tokens))]

    @b.process(command=address_cmds, loops=loops)
    def residual_addresses(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        p.read(go, when=first(o) & first(t), absent=True)
        token = select(c.single, j, j * cfg.tokens + t)
        row = select(c.res_packed, wrap(j, u(16)), wrap(token, u(16)))
        size = select(c.res_narrow, cfg.word_bytes, 2 * cfg.word_bytes)
        address = wrap(c.res_address + row * c.res_pitch + o * size, u(40))
        run = select(last(j), c.res_last, c.res_beats)
        asks = ~c.res_packed | (first(o) & first(t))
        beats = select(c.res_packed, run, select(c.res_narrow, 1, 2))
        p.write(requests, struct(addr=address, beats=wrap(beats, u(16)), mark=0), when=asks)

    @b.process(command=data_cmds, loops=[*loops, ("h", lambda c, j, o, t: select(c.res_narrow, 1, 2))])
    def residual_rows(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value, h: Value) -> None:
        word = p.read(words)
        pair = reinterpret(p.shift_in(word, 2), result_type(cfg))
        p.append(rows, select(c.res_narrow, reinterpret(word, i(8)[cfg.lanes]), pair), when=last(h))


def add_turn(
    b: Block, cfg: EngineConfig, commands: Sequence[Channel], results: Channel, tabled: Channel, rows: Buffer, ordered: Channel
) -> None:
    """Bring the results of a block, ``results`` or ``tabled`` per row and tile of outputs, into the order of its rows. External
    memory takes a row as a run of words several times as fast as word by word. ``rows``: a block of them."""
    in_cmds, out_cmds = commands
    size = rows_of(cfg.tokens, single=False)

    def place(o: Value, t: Value) -> Value:
        return wrap(o * cfg.tokens + t, u(address_bits(rows.depth)))

    @b.process(command=in_cmds, loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles), ("t", size)])
    def turn_in(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        p.lock(rows, per=j)
        mapped = p.read(tabled, when=c.table, absent=True)
        row = p.read(results, when=~c.table, absent=True)
        p.store(rows, place(o, t), wrap(select(c.table, mapped, row), i(16)))

    @b.process(command=out_cmds, loops=[("j", lambda c: c.n_blocks), ("t", size), ("o", lambda c, j, t: c.out_tiles)])
    def turn_out(p: ProcessTrace, c: StructValue, j: Value, t: Value, o: Value) -> None:
        p.lock(rows, per=j)
        p.write(ordered, p.load(rows, place(o, t)))


def add_store(
    b: Block,
    cfg: EngineConfig,
    commands: Sequence[Channel],
    *,
    results: Buffer,
    tabled: Buffer,
    ordered: Channel,
    copied: Channel,
    requests: Channel,
    words: Channel,
) -> None:
    """Write each row: one word of int8 or two of int16 per tile of outputs, token by token; or those of ``ordered``, row by
    row; or the words of a copy. The last request of each block (of each row of a copy), or of the operation, is marked, for
    its completion."""
    address_cmds, data_cmds = commands
    rows = rows_of(cfg.tokens)
    loops: Loops = [
        ("j", lambda c: c.n_blocks),
        ("a", lambda c, j: select(c.copy, 1, select(c.by_rows, rows(c, j), c.out_tiles))),
        ("b", lambda c, j, a: select(c.copy | c.by_rows, c.out_tiles, rows(c, j))),
    ]

    @b.process(command=address_cmds, loops=loops)
    def store_addresses(p: ProcessTrace, c: StructValue, j: Value, a: Value, b: Value) -> None:
        token = wrap(select(c.copy | c.single, j, j * cfg.tokens + b), u(16))
        tile = select(c.copy, b, a)
        mark = (c.in_runs | (last(a) & last(b))) & (c.progress | last(j))
        address = wrap(c.out_address + token * c.out_pitch + tile * select(c.out16, 2 * cfg.word_bytes, cfg.word_bytes), u(40))
        beats = select(c.in_runs, select(last(j), c.run_last, c.run_words), select(c.out16, 2, 1))
        p.write(requests, struct(addr=address, beats=wrap(beats, u(16)), mark=mark), when=~c.in_runs | (first(a) & first(b)))

    @b.process(command=data_cmds, loops=[*loops, ("h", lambda c, j, a, b: select(c.out16, 2, 1))])
    def store_words(p: ProcessTrace, c: StructValue, j: Value, a: Value, b: Value, h: Value) -> None:
        taken = ~c.copy & ~c.table & ~c.by_rows
        ends = taken & last(h)
        computed = p.replay(results, 0, fresh=taken & (h == 0), free=ends, last=ends)  # i16[lanes]
        looked_up = c.table & ~c.by_rows
        mapped = p.replay(tabled, 0, fresh=looked_up, free=looked_up, last=looked_up)  # i8[lanes]
        row = select(c.by_rows, p.read(ordered, when=c.by_rows & first(h), absent=True), computed)
        copy = p.read(copied, when=c.copy, absent=True)
        word = 8 * cfg.word_bytes
        bytes8 = reinterpret(select(looked_up, mapped, wrap(row, i(8))), u(word))
        halves = reinterpret(row, u(2 * word))
        half = select(h == 0, bits(halves, word - 1, 0), bits(halves, 2 * word - 1, word))
        p.write(words, select(c.copy, copy, select(c.out16, half, bytes8)))
