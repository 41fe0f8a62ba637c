"""Weights side: move a constant matrix in one burst, or the keys and values of one head row by row, into tiles.

A tile is ``outs x ins`` int8. Values arrive one key per word but are consumed one channel per output, so their tiles are
transposed when stored; the same rows are summed, because the array reads attention weights minus 127.
"""

from __future__ import annotations

from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.kernel import (
    Array,
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

ENTRY_WORDS = 8
"""Memory words of an entry of channel or LayerNorm parameters, of which they fill seven and six."""
TABLE_ENTRIES = 256


def row_type(cfg: EngineConfig) -> Array:
    """Return the type of a word as int8 channels."""
    return i(8)[cfg.word_bytes]


def channel_type(cfg: EngineConfig) -> Struct:
    """Return the type of the epilogue's parameters of ``outs`` channels."""
    return Struct("ChannelParams", bias=i(32)[cfg.outs], multiplier=u(16)[cfg.outs], shift=u(8)[cfg.outs])


def norm_type(cfg: EngineConfig) -> Struct:
    """Return the type of LayerNorm's parameters of ``norm_lanes`` channels."""
    return Struct("NormParams", multiplier=i(32)[cfg.norm_lanes], offset=i(64)[cfg.norm_lanes])


def table_words(cfg: EngineConfig) -> int:
    """Return the memory words of a table of int8."""
    return TABLE_ENTRIES // cfg.word_bytes


def add_load_addresses(b: Block, cfg: EngineConfig, commands: Channel, requests: Channel) -> None:
    """Request the words of one operation from memory: keys, then values, then the constant blob."""

    @b.process(
        command=commands,
        loops=[
            ("s", 3),
            ("a", lambda c, s: select(s == 0, c.key_blocks, select(s == 1, c.value_depth, 1))),
            ("b", lambda c, s, a: select(s == 0, c.key_depth, select(s == 1, c.value_blocks, 1))),
            ("t", lambda c, s, a, b: select(last(s), 1, cfg.outs)),
        ],
    )
    def load_addresses(p: ProcessTrace, c: StructValue, s: Value, a: Value, b: Value, t: Value) -> None:
        token = select(s == 0, a, b) * cfg.outs + t
        column = select(s == 0, b, a) * cfg.word_bytes
        row = select(s == 0, c.key_address, c.value_address) + token * c.key_pitch + column
        request = struct(
            addr=select(last(s), c.blob_address, wrap(row, u(40))),
            beats=select(last(s), c.blob_beats, 1),
            mark=0,
        )
        p.write(requests, request, when=last(s) | (token < c.n_keys))


def add_load_route(
    b: Block,
    cfg: EngineConfig,
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
                    select(s == 1, table_words(cfg), select(s == 2, c.norm_entries, c.param_entries) * ENTRY_WORDS),
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
    """Fill tiles of ``outs`` rows; keys beyond the last are zero rows. ``sums``: i22[outs] per tile row of values."""

    @b.process(
        command=commands,
        loops=[
            ("s", 2),
            ("a", lambda c, s: select(first(s), select(c.attention, c.key_blocks, 1), c.value_depth)),
            (
                "b",
                lambda c, s, a: select(first(s), select(c.attention, c.key_depth, c.const_tiles), c.value_blocks),
            ),
            ("t", cfg.outs),
        ],
    )
    def fill_tiles(p: ProcessTrace, c: StructValue, s: Value, a: Value, b: Value, t: Value) -> None:
        p.lock(tiles, per=None)
        constant = first(s) & ~c.attention
        token = select(first(s), a, b) * cfg.outs + t
        valid = constant | (token < c.n_keys)
        word = reinterpret(p.read(words, when=valid, absent=True), row_type(cfg))
        row = select(valid, word, 0)
        rows = p.shift_in(row, cfg.outs)  # i8[outs][ins], row t of the tile last
        address = select(first(s), a * c.key_depth, c.base1 + a * c.value_blocks) + b
        p.store(tiles, wrap(address, u(address_bits(cfg.weight_tiles))), select(first(s), rows, rows.T), when=last(t))
        total = p.accumulate(row, clear=first(b) & first(t), type=i(22)[cfg.outs])
        p.write(sums, total, when=~first(s) & last(b) & last(t) & c.attention)


def add_fill_table(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, table: Buffer) -> None:
    """Fill the int8 table of one operation, a word of entries at a time."""

    @b.process(command=commands, loops=[("w", table_words(cfg))])
    def fill_table(p: ProcessTrace, c: StructValue, w: Value) -> None:
        p.lock(table, per=None)
        p.store(table, w, reinterpret(p.read(words), row_type(cfg)))


def add_fill_norm(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, params: Buffer) -> None:
    """Fill LayerNorm parameters, one entry per ``norm_lanes`` channels."""

    @b.process(command=commands, loops=[("e", lambda c: c.norm_entries), ("w", ENTRY_WORDS)])
    def fill_norm(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        p.lock(params, per=None)
        line = p.shift_in(p.read(words), ENTRY_WORDS)
        entry = unpack(line, norm_type(cfg))
        p.store(params, wrap(e, u(address_bits(params.depth))), entry, when=last(w))


def add_fill_params(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, sums: Channel, params: Buffer) -> None:
    """Fill epilogue parameters, one entry per ``outs`` channels. For attention the bias is 127 times the sum of the values."""

    @b.process(command=commands, loops=[("e", lambda c: c.param_entries), ("w", ENTRY_WORDS)])
    def fill_params(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        p.lock(params, per=None)
        line = p.shift_in(p.read(words), ENTRY_WORDS)
        entry = unpack(line, channel_type(cfg))
        offset = p.read(sums, when=last(w) & c.attention, absent=True)  # i22[outs]
        bias = select(c.attention, fit(offset * 127, i(32)), entry.bias)
        p.store(params, wrap(e, u(address_bits(params.depth))), entry._replace(bias=bias), when=last(w))


def unpack(line: Value, kind: Struct) -> StructValue:
    """Return the low bits of some words as a struct."""
    packed = reinterpret(line, u(op.WORD_BITS * line.shape[0]))
    entry: StructValue = reinterpret(bits(packed, width(kind) - 1, 0), kind)
    return entry
