"""Computed operands: move the keys and values of one head, or rows to add up, from memory into tiles, row by row.

A tile is ``outs x ins`` int8. Values arrive one key per word but are consumed one channel per output, so their tiles are
transposed when stored. The same rows are added up: the array reads attention weights minus 127, so a sum of products lacks 127
times the sum of the values. Constants have a path of their own (`weights`), because these here wait for results.
"""

from __future__ import annotations

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.weights import row_type
from edgewright.hw.kernel import (
    Array,
    Block,
    ProcessTrace,
    StructValue,
    Value,
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


def offset_type(cfg: EngineConfig) -> Array:
    """Return the type of what is added to sums of products with attention weights: 127 times up to 4,095 int8 values."""
    return i(27)[cfg.outs]


def add_operand_addresses(b: Block, cfg: EngineConfig, commands: Channel, requests: Channel) -> None:
    """Request the words of one operation from memory: keys, then values."""

    @b.process(
        command=commands,
        loops=[
            ("s", 2),
            ("a", lambda c, s: select(first(s), c.key_blocks, c.value_depth)),
            ("b", lambda c, s, a: select(first(s), c.key_depth, c.value_blocks)),
            ("t", cfg.outs),
        ],
    )
    def operand_addresses(p: ProcessTrace, c: StructValue, s: Value, a: Value, b: Value, t: Value) -> None:
        token = select(first(s), a, b) * cfg.outs + t
        column = select(first(s), b, a) * cfg.word_bytes
        row = select(first(s), c.key_address, c.value_address) + token * c.key_pitch + column
        p.write(requests, struct(addr=wrap(row, u(40)), beats=1, mark=0), when=token < c.n_keys)


def add_fill_operands(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, tiles: Buffer, offsets: Buffer) -> None:
    """Fill tiles of ``outs`` rows; keys beyond the last are zero rows. ``offsets``: per tile row of values."""

    @b.process(
        command=commands,
        loops=[
            ("s", 2),
            ("a", lambda c, s: select(first(s), c.key_blocks, c.value_depth)),
            ("b", lambda c, s, a: select(first(s), c.key_depth, c.value_blocks)),
            ("t", cfg.outs),
        ],
    )
    def fill_operands(p: ProcessTrace, c: StructValue, s: Value, a: Value, b: Value, t: Value) -> None:
        p.lock(tiles, per=None)
        p.lock(offsets, per=None)
        token = select(first(s), a, b) * cfg.outs + t
        valid = token < c.n_keys
        word = reinterpret(p.read(words, when=valid, absent=True), row_type(cfg))
        row = select(valid, word, 0)
        rows = p.shift_in(row, cfg.outs)  # i8[outs][ins], row t of the tile last
        address = select(first(s), a * c.key_depth, c.base1 + a * c.value_blocks) + b
        p.store(tiles, wrap(address, u(address_bits(tiles.depth))), select(first(s), rows, rows.T), when=last(t))
        total = p.accumulate(row, clear=first(b) & first(t), type=i(20)[cfg.outs])
        offset = fit((total << 7) - total, offset_type(cfg).elem)
        p.store(offsets, wrap(a, u(address_bits(offsets.depth))), offset, when=~first(s) & last(b) & last(t))


def add_feed_operands(b: Block, commands: Channel, tiles: Buffer, feed: Channel) -> None:
    """Feed the array the keys and values of each block of tokens, tile by tile; ``feed``: i8[outs, ins]."""

    @b.process(
        command=commands,
        loops=[
            ("j", lambda c: c.n_jobs),
            ("o", lambda c, j: jobs.outs(c, j)),
            ("k", lambda c, j, o: jobs.depth(c, j)),
        ],
    )
    def feed_operands(p: ProcessTrace, c: StructValue, j: Value, o: Value, k: Value) -> None:
        p.lock(tiles, per=None)
        first_tile = select(jobs.reads_rows(c, j), o * c.depth0, c.base1 + o * c.depth1)
        p.write(feed, p.load(tiles, wrap(first_tile + k, u(address_bits(tiles.depth)))))


def add_feed_offsets(b: Block, commands: Channel, offsets: Buffer, feed: Channel) -> None:
    """Feed the epilogue the offsets of each block of tokens; ``feed``: ``offset_type`` per tile of outputs."""

    @b.process(command=commands, loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles)])
    def feed_offsets(p: ProcessTrace, c: StructValue, j: Value, o: Value) -> None:
        p.lock(offsets, per=None)
        p.write(feed, p.load(offsets, wrap(o, u(address_bits(offsets.depth)))))
