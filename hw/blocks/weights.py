"""Constants: move the weights, tables and parameters of an operation in one burst, long before anything multiplies them.

A tile of weights is ``outs x ins`` int8.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    i,
    last,
    reinterpret,
    select,
    stack,
    struct,
    u,
    width,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel

ENTRY_WORDS = 8
"""Memory words of an entry of channel or LayerNorm parameters, of which they fill seven and six."""
ENTRY_STEPS = ENTRY_WORDS // op.WEIGHT_PORTS
TABLE_ENTRIES = 256


def row_type(cfg: EngineConfig) -> Array:
    """Return the type of a word as int8 channels."""
    return i(8)[cfg.word_bytes]


def channel_type(cfg: EngineConfig) -> Struct:
    """Return the type of the epilogue's parameters of ``lanes`` channels."""
    return Struct("ChannelParams", bias=i(32)[cfg.lanes], multiplier=u(16)[cfg.lanes], shift=u(8)[cfg.lanes])


def norm_type(cfg: EngineConfig) -> Struct:
    """Return the type of LayerNorm's parameters of ``norm_lanes`` channels."""
    return Struct("NormParams", multiplier=i(32)[cfg.norm_lanes], offset=i(64)[cfg.norm_lanes])


def table_type(cfg: EngineConfig) -> Array:
    """Return the type of a row of a table: the words that come at a time."""
    return i(8)[op.WEIGHT_PORTS * cfg.word_bytes]


def table_rows(cfg: EngineConfig) -> int:
    """Return the rows of a table of int8."""
    return TABLE_ENTRIES // (op.WEIGHT_PORTS * cfg.word_bytes)


def add_load_addresses(b: Block, commands: Channel, go: Channel, requests: Sequence[Channel]) -> None:
    """Request the constants of one operation from memory as soon as they may go, a burst for each port."""

    @b.process(command=commands)
    def load_addresses(p: ProcessTrace, c: StructValue, i: Value) -> None:
        p.read(go)
        for port, channel in enumerate(requests):
            address = wrap(c.blob_address + port * (c.blob_beats << address_bits(op.WORD_BITS // 8)), u(40))
            p.write(channel, struct(addr=address, beats=c.blob_beats, mark=0))


def add_load_route(
    b: Block,
    cfg: EngineConfig,
    commands: Channel,
    words: Sequence[Channel],
    *,
    tiles: Channel,
    table: Channel,
    norm: Channel,
    params: Channel,
) -> None:
    """Route the words of one operation to the memories that they fill, one of each port at a time: the longest part last."""

    @b.process(
        command=commands,
        loops=[
            ("s", 4),
            (
                "w",
                lambda c, s: select(
                    s == 3,
                    c.const_tiles * (cfg.tile_words // op.WEIGHT_PORTS),
                    select(s == 2, c.table_rows, select(s == 0, c.norm_entries, c.param_entries) * ENTRY_STEPS),
                ),
            ),
        ],
    )
    def load_route(p: ProcessTrace, c: StructValue, s: Value, w: Value) -> None:
        pair = stack([p.read(channel) for channel in words])
        p.write(norm, pair, when=s == 0)
        p.write(params, pair, when=s == 1)
        p.write(table, pair, when=s == 2)
        p.write(tiles, pair, when=s == 3)


def add_fill_tiles(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, tiles: Buffer) -> None:
    """Fill a ring of tiles of ``outs`` rows, a row a word."""
    steps = cfg.outs // op.WEIGHT_PORTS

    @b.process(command=commands, loops=[("k", lambda c: c.const_tiles), ("t", steps)])
    def fill_tiles(p: ProcessTrace, c: StructValue, k: Value, t: Value) -> None:
        pair = reinterpret(p.read(words), i(8)[op.WEIGHT_PORTS, cfg.ins])
        p.append(tiles, p.shift_in(pair, steps).reshape(cfg.outs, cfg.ins), when=last(t))


def add_feed_weights(b: Block, commands: Channel, tiles: Buffer, feed: Channel, taps: Channel | None = None) -> None:
    """Feed the array the weights of each block of tokens, tile by tile; ``feed``: i8[outs, ins].

    ``taps``: where the tiles of windows go instead, their first rows only, one of each tile's for each pixel of output."""

    @b.process(
        command=commands,
        loops=[("j", lambda c: c.n_jobs), ("o", lambda c: c.outs0), ("k", lambda c: c.depth0)],
    )
    def feed_weights(p: ProcessTrace, c: StructValue, j: Value, o: Value, k: Value) -> None:
        address = wrap(o * c.depth0 + k, u(address_bits(tiles.window)))
        tile = p.replay(tiles, address, fresh=first(j), free=last(j), last=last(j) & last(o) & last(k))
        if taps is None:
            p.write(feed, tile)
            return
        assert isinstance(taps.type, Array)
        p.write(feed, tile, when=~c.window)
        p.write(taps, tile[: taps.type.shape[0]], when=c.window)


def add_fill_table(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, table: Buffer) -> None:
    """Fill the int8 table of one operation, a row of entries at a time."""

    @b.process(command=commands, loops=[("w", lambda c: c.table_rows)])
    def fill_table(p: ProcessTrace, c: StructValue, w: Value) -> None:
        p.lock(table, per=None)
        p.store(table, wrap(w, u(address_bits(table.depth))), reinterpret(p.read(words), table.type))


def add_fill_norm(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, params: Buffer) -> None:
    """Fill LayerNorm parameters, one entry per ``norm_lanes`` channels."""

    @b.process(command=commands, loops=[("e", lambda c: c.norm_entries), ("w", ENTRY_STEPS)])
    def fill_norm(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        p.lock(params, per=None)
        line = p.shift_in(p.read(words), ENTRY_STEPS).reshape(ENTRY_WORDS)
        entry = unpack(line, norm_type(cfg))
        p.store(params, wrap(e, u(address_bits(params.depth))), entry, when=last(w))


def add_fill_params(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, params: Buffer) -> None:
    """Fill a ring of epilogue parameters, one entry per ``lanes`` channels."""

    @b.process(command=commands, loops=[("e", lambda c: c.param_entries), ("w", ENTRY_STEPS)])
    def fill_params(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        line = p.shift_in(p.read(words), ENTRY_STEPS).reshape(ENTRY_WORDS)
        p.append(params, unpack(line, channel_type(cfg)), when=last(w))


def unpack(line: Value, kind: Struct) -> StructValue:
    """Return the low bits of some words as a struct."""
    packed = reinterpret(line, u(op.WORD_BITS * line.shape[0]))
    entry: StructValue = reinterpret(bits(packed, width(kind) - 1, 0), kind)
    return entry
