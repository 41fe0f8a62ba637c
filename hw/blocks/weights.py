"""Weights side: move a constant matrix in one burst, or the keys and values of one head row by row, into tiles.

A tile is ``outs x ins`` int8. Values arrive one key per word but are consumed one channel per output, so their tiles are
transposed when stored; the same rows are summed, because the array reads attention weights minus 127.
"""

from __future__ import annotations

from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    bits,
    first,
    fit,
    i,
    last,
    reinterpret,
    select,
    struct,
    u,
    width,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel

ROW = i(8)[16]
CHANNEL = Struct("ChannelParams", bias=i(32)[16], multiplier=u(16)[16], shift=u(8)[16])
"""Epilogue parameters of 16 output channels; seven of an entry's eight words in memory."""
NORM = Struct("NormParams", multiplier=i(32)[8], offset=i(64)[8])
"""LayerNorm parameters of eight channels; six of an entry's eight words in memory."""
ENTRY_WORDS = 8
TABLE_WORDS = 16


def add_load_addresses(b: Block, commands: Channel, requests: Channel) -> None:
    """Request the words of one operation from memory: keys, then values, then the constant blob."""

    @b.process(
        command=commands,
        loops=[
            ("s", 3),
            ("a", lambda c, s: select(s == 0, c.key_blocks, select(s == 1, c.value_depth, 1))),
            ("b", lambda c, s, a: select(s == 0, c.key_depth, select(s == 1, c.value_blocks, 1))),
            ("t", lambda c, s, a, b: select(last(s), 1, 16)),
        ],
    )
    def load_addresses(p: ProcessTrace, c: StructValue, s: Value, a: Value, b: Value, t: Value) -> None:
        token = select(s == 0, a, b) * 16 + t
        column = select(s == 0, b, a) * 16
        row = select(s == 0, c.key_address, c.value_address) + token * c.key_pitch + column
        request = struct(
            addr=select(last(s), c.blob_address, wrap(row, u(40))),
            beats=select(last(s), c.blob_beats, 1),
            mark=0,
        )
        p.write(requests, request, when=last(s) | (token < c.n_keys))


def add_load_route(
    b: Block,
    commands: Channel,
    words: Channel,
    *,
    tiles: Channel,
    table: Channel,
    norm: Channel,
    params: Channel,
) -> None:
    """Route the words of one operation to the memories that they fill, in the order of arrival."""

    @b.process(
        command=commands,
        loops=[
            ("s", 4),
            (
                "w",
                lambda c, s: select(
                    s == 0,
                    c.tile_words,
                    select(s == 1, TABLE_WORDS, select(s == 2, c.norm_entries, c.param_entries) * ENTRY_WORDS),
                ),
            ),
        ],
    )
    def load_route(p: ProcessTrace, c: StructValue, s: Value, w: Value) -> None:
        word = p.read(words)
        p.write(tiles, word, when=s == 0)
        p.write(table, word, when=s == 1)
        p.write(norm, word, when=s == 2)
        p.write(params, word, when=s == 3)


def add_fill_tiles(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, tiles: Buffer, sums: Channel) -> None:
    """Fill tiles of sixteen rows; keys beyond the last are zero rows. ``sums``: i22[16] per tile row of values."""

    @b.process(
        command=commands,
        loops=[
            ("s", 2),
            ("a", lambda c, s: select(first(s), select(c.attention, c.key_blocks, 1), c.value_depth)),
            (
                "b",
                lambda c, s, a: select(first(s), select(c.attention, c.key_depth, c.const_tiles), c.value_blocks),
            ),
            ("t", 16),
        ],
    )
    def fill_tiles(p: ProcessTrace, c: StructValue, s: Value, a: Value, b: Value, t: Value) -> None:
        p.lock(tiles, per=None)
        constant = first(s) & ~c.attention
        token = select(first(s), a, b) * 16 + t
        valid = constant | (token < c.n_keys)
        word = reinterpret(p.read(words, when=valid, absent=True), ROW)
        row = select(valid, word, 0)
        rows = p.shift_in(row, 16)  # i8[16][16], row t of the tile last
        address = select(first(s), a * c.key_depth, c.base1 + a * c.value_blocks) + b
        p.store(tiles, wrap(address, u(address_bits(cfg.weight_tiles))), select(first(s), rows, rows.T), when=last(t))
        total = p.accumulate(row, clear=first(b) & first(t), type=i(22)[16])
        p.write(sums, total, when=~first(s) & last(b) & last(t) & c.attention)


def add_fill_table(b: Block, commands: Channel, words: Channel, table: Buffer) -> None:
    """Fill the 256-entry int8 table of one operation, sixteen entries per word."""

    @b.process(command=commands, loops=[("w", TABLE_WORDS)])
    def fill_table(p: ProcessTrace, c: StructValue, w: Value) -> None:
        p.lock(table, per=None)
        p.store(table, w, reinterpret(p.read(words), ROW))


def add_fill_norm(b: Block, commands: Channel, words: Channel, params: Buffer) -> None:
    """Fill LayerNorm parameters, one entry per eight channels."""

    @b.process(command=commands, loops=[("e", lambda c: c.norm_entries), ("w", ENTRY_WORDS)])
    def fill_norm(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        p.lock(params, per=None)
        line = p.shift_in(p.read(words), ENTRY_WORDS)
        entry = unpack(line, NORM)
        p.store(params, wrap(e, u(address_bits(params.depth))), entry, when=last(w))


def add_fill_params(b: Block, commands: Channel, words: Channel, sums: Channel, params: Buffer) -> None:
    """Fill epilogue parameters, one entry per sixteen outputs. For attention the bias is 127 times the sum of the values."""

    @b.process(command=commands, loops=[("e", lambda c: c.param_entries), ("w", ENTRY_WORDS)])
    def fill_params(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        p.lock(params, per=None)
        line = p.shift_in(p.read(words), ENTRY_WORDS)
        entry = unpack(line, CHANNEL)
        offset = p.read(sums, when=last(w) & c.attention, absent=True)  # i22[16]
        bias = select(c.attention, fit(offset * 127, i(32)), entry.bias)
        p.store(params, wrap(e, u(address_bits(params.depth))), entry._replace(bias=bias), when=last(w))


def unpack(line: Value, kind: Struct) -> StructValue:
    """Return the low bits of some words (u128[n]) as a struct."""
    packed = reinterpret(line, u(op.WORD_BITS * line.shape[0]))
    found: StructValue = reinterpret(bits(packed, width(kind) - 1, 0), kind)
    return found
