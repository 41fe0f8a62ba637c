"""Memory side of the epilogue: residual rows in, result rows out, in the order of the epilogue."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.hw.blocks.config import EngineConfig
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


def add_store(
    b: Block,
    cfg: EngineConfig,
    commands: Sequence[Channel],
    *,
    results: Buffer,
    tabled: Buffer,
    copied: Channel,
    requests: Channel,
    words: Channel,
) -> None:
    """Write each row: one word of int8 or two of int16 per tile of outputs, token by token; or the words of a copy, row by row.
    The last request of each block (of each row of a copy), or of the operation, is marked, for its completion."""
    address_cmds, data_cmds = commands
    loops: Loops = [
        ("j", lambda c: c.n_blocks),
        ("a", lambda c, j: select(c.copy, 1, c.out_tiles)),
        ("b", lambda c, j, a: select(c.copy, c.out_tiles, rows_of(cfg.tokens)(c, j))),
    ]

    @b.process(command=address_cmds, loops=loops)
    def store_addresses(p: ProcessTrace, c: StructValue, j: Value, a: Value, b: Value) -> None:
        token = wrap(select(c.copy | c.single, j, j * cfg.tokens + b), u(16))
        tile = select(c.copy, b, a)
        whole = c.single & ~c.copy  # a row whose words follow each other is one run
        mark = (whole | (last(a) & last(b))) & (c.progress | last(j))
        address = wrap(c.out_address + token * c.out_pitch + tile * select(c.out16, 2 * cfg.word_bytes, cfg.word_bytes), u(40))
        words = wrap(select(whole, c.out_tiles, 1), u(15))
        beats = wrap(select(c.out16, 2 * words, words), u(16))
        p.write(requests, struct(addr=address, beats=beats, mark=mark), when=~whole | first(a))

    @b.process(command=data_cmds, loops=[*loops, ("h", lambda c, j, a, b: select(c.out16, 2, 1))])
    def store_words(p: ProcessTrace, c: StructValue, j: Value, a: Value, b: Value, h: Value) -> None:
        taken = ~c.copy & ~c.table
        ends = taken & last(h)
        row = p.replay(results, 0, fresh=taken & (h == 0), free=ends, last=ends)  # i16[lanes]
        mapped = p.replay(tabled, 0, fresh=c.table, free=c.table, last=c.table)  # i8[lanes]
        copy = p.read(copied, when=c.copy, absent=True)
        word = 8 * cfg.word_bytes
        bytes8 = reinterpret(select(c.table, mapped, wrap(row, i(8))), u(word))
        halves = reinterpret(row, u(2 * word))
        half = select(h == 0, bits(halves, word - 1, 0), bits(halves, 2 * word - 1, word))
        p.write(words, select(c.copy, copy, select(c.out16, half, bytes8)))
