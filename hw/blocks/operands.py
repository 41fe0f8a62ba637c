"""Computed operands: move the keys and values of several heads, or rows to add up, from memory into tiles, row by row.

A tile is ``outs x ins`` int8. Values arrive one key per word but are consumed one channel per output, so their tiles are
transposed when stored, ``ins`` channels at a time. The same rows are added up: the array reads attention weights minus 127,
so a sum of products lacks 127 times the sum of the values. Constants have a path of their own (`weights`), because these here
wait for results: ``ins`` keys and values are moved as soon as they have been stored. Copies pass here too, so that the
activations port can read what they have stored meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.operation import Loops
from edgewright.hw.blocks.weights import row_type
from edgewright.hw.kernel import (
    Array,
    Block,
    ProcessTrace,
    StructValue,
    Value,
    const,
    first,
    fit,
    i,
    last,
    reinterpret,
    select,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel


def partial_type(cfg: EngineConfig) -> Array:
    """Return the type of the sum of ``ins`` values of one head, for ``lanes`` channels."""
    return i(12)[cfg.lanes]


def offset_type(cfg: EngineConfig) -> Array:
    """Return the type of what is added to sums of products with attention weights: 127 times up to 4,095 int8 values."""
    return i(27)[cfg.lanes]


def operand_loops(tokens: int | Callable[..., Any]) -> Loops:
    """Return the loops over the words of a command: blocks of ``ins`` rows (of one row, of a copy), heads, keys then values,
    words of a row, and the rows, ``tokens``."""
    return [
        ("r", lambda c: c.value_blocks),
        ("g", lambda c: c.opd_heads),
        ("s", 2),
        ("d", lambda c, r, g, s: select(first(s), c.key_depth, c.value_depth)),
        ("t", tokens),
    ]


def add_operand_addresses(b: Block, cfg: EngineConfig, commands: Channel, go: Channel, requests: Channel) -> None:
    """Request the words of one command from memory, each block of tokens as soon as it may go: one by one, or for a copy,
    whose blocks are rows, in runs."""

    def count(c: StructValue, r: Value, *_: Value) -> Value:
        rows: Value = select(c.copy, 1, select(last(r), c.last_keys, cfg.ins))
        return rows

    @b.process(command=commands, loops=operand_loops(count))
    def operand_addresses(p: ProcessTrace, c: StructValue, r: Value, g: Value, s: Value, d: Value, t: Value) -> None:
        p.read(go, when=first(g) & (first(s) | (c.key_depth == 0)) & first(d) & first(t), absent=True)
        token = wrap(select(c.copy, r, r * cfg.ins + t), u(12))
        begin, pitch = select(first(s), c.key_address, c.value_address), select(first(s), c.key_pitch, c.value_pitch)
        row = begin + token * pitch + d * c.opd_column
        row = row + g * c.head_bytes
        p.write(requests, struct(addr=wrap(row, u(40)), beats=wrap(c.opd_beats, u(16)), mark=0))


def add_operand_route(b: Block, commands: Channel, words: Channel, *, operands: Channel, copied: Channel) -> None:
    """Route one command's words to the tiles of operands, or past the array to the store."""

    @b.process(command=commands, loops=[("w", lambda c: c.opd_words)])
    def operand_route(p: ProcessTrace, c: StructValue, w: Value) -> None:
        word = p.read(words)
        p.write(operands, word, when=~c.copy)
        p.write(copied, word, when=c.copy)


def add_fill_operands(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, tiles: Buffer, partials: Buffer) -> None:
    """Fill tiles of ``outs`` rows. ``partials``: the sums of ``ins`` values each.

    Keys are rows of tiles, ``ins`` of one tile's ``outs`` rows a block. The values of a block are columns: they are one tile
    for each ``outs`` channels. Values beyond the last are zero. Keys beyond the last and channels beyond a head's are what the
    first of a tile is: nobody reads their products, but they must not be what was there before.
    """
    parts = cfg.outs // cfg.ins
    tile_rows = const(list(range(cfg.outs)), u(8)[cfg.outs])

    def count(c: StructValue, r: Value, g: Value, s: Value, *_: Value) -> Value:
        rows: Value = select(last(r) & first(s), c.last_keys, cfg.ins)
        return rows

    @b.process(command=commands, loops=operand_loops(count))
    def fill_operands(p: ProcessTrace, c: StructValue, r: Value, g: Value, s: Value, d: Value, t: Value) -> None:
        p.lock(tiles, per=None)
        p.lock(partials, per=None)
        valid = (r * cfg.ins + t) < c.n_keys
        word = reinterpret(p.read(words, when=valid, absent=True), row_type(cfg))
        row = select(valid, word, 0)
        rows = p.shift_in(row, cfg.ins)  # i8[ins][ins], the newest last
        columns = rows.T.broadcast_to((parts, cfg.ins, cfg.ins)).reshape(cfg.outs, cfg.ins)
        key_tile, key_part = split(r, parts)
        value_tile, value_part = split(d, parts)
        of_head = g * c.head_tiles
        value_place = of_head + c.base1 + value_tile * c.value_blocks + r
        place = select(first(s), of_head + key_tile * c.key_depth + d, value_place)
        begins = select(first(s), (key_part == 0) & first(t), value_part == 0)
        here = select(first(s), tile_rows == key_part * cfg.ins + t, (tile_rows >> address_bits(cfg.ins)) == value_part)
        value = select(first(s), row.broadcast_to((cfg.outs, cfg.ins)), columns)
        p.store(tiles, wrap(place, u(address_bits(tiles.depth))), value, mask=begins | here, when=first(s) | last(t))
        total = p.accumulate(row, clear=first(t), type=partial_type(cfg))
        sums = wrap(value_place * parts + value_part, u(address_bits(partials.depth)))
        p.store(partials, sums, total, when=~first(s) & last(t))


def split(words: Value, parts: int) -> tuple[Value, Value]:
    """Return the tile of ``outs`` channels that a word of ``lanes`` belongs to, and which of its ``parts`` words it is."""
    if parts == 1:
        return words, const(0, u(1))
    return words >> address_bits(parts), wrap(words, u(address_bits(parts)))


def add_feed_operands(b: Block, commands: Channel, tiles: Buffer, feed: Channel) -> None:
    """Feed the array the keys and values of each block of tokens, tile by tile; ``feed``: i8[outs, ins]."""

    @b.process(
        command=commands,
        loops=[
            ("g", lambda c: c.opd_heads),
            ("j", lambda c: c.n_jobs),
            ("o", lambda c, g, j: jobs.outs(c, j)),
            ("k", lambda c, g, j, o: jobs.depth(c, j)),
        ],
    )
    def feed_operands(p: ProcessTrace, c: StructValue, g: Value, j: Value, o: Value, k: Value) -> None:
        p.lock(tiles, per=None)
        first_tile = select(jobs.reads_rows(c, j), o * c.depth0, c.base1 + o * c.depth1)
        p.write(feed, p.load(tiles, wrap(g * c.head_tiles + first_tile + k, u(address_bits(tiles.depth)))))


def add_feed_offsets(b: Block, cfg: EngineConfig, commands: Channel, partials: Buffer, feed: Channel) -> None:
    """Feed the epilogue the offsets of each block of tokens, of attention; ``feed``: ``offset_type`` per ``lanes`` outputs."""
    parts = cfg.outs // cfg.lanes

    @b.process(
        command=commands,
        loops=[
            ("g", lambda c: c.opd_heads),
            ("j", lambda c: select(c.attention, c.n_blocks, 1)),
            ("o", lambda c: select(c.attention, c.out_tiles, 1)),
            ("r", lambda c: select(c.attention, c.value_blocks, 1)),
        ],
    )
    def feed_offsets(p: ProcessTrace, c: StructValue, g: Value, j: Value, o: Value, r: Value) -> None:
        p.lock(partials, per=None)
        tile, part = split(o, parts)
        sums = g * c.head_tiles + c.base1 + tile * c.value_blocks + r
        partial = p.load(partials, wrap(sums * parts + part, u(address_bits(partials.depth))))
        total = p.accumulate(partial, clear=first(r), type=i(20)[cfg.lanes])
        p.write(feed, fit((total << 7) - total, offset_type(cfg).elem), when=last(r) & c.attention)
