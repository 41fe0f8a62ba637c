"""Constants: move the weights, tables and parameters of an operation in one burst, long before anything multiplies them.

A tile of weights is ``outs x ins`` int8. Parts that a ring holds for a while come last, in the order in which they are used up:
whoever uses them has all that it needs besides.
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
BIAS_ROWS = 2
"""Tokens whose scores are biased in a cycle."""
ROW_BITS = 32
"""Bits of an entry of a list of rows: bytes from an operation's first row."""


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


def bias_type(cfg: EngineConfig) -> Array:
    """Return the type of an entry of score biases: of ``BIAS_ROWS`` tokens, for ``outs`` keys."""
    return i(24)[BIAS_ROWS, cfg.outs]


def bias_words(cfg: EngineConfig) -> int:
    """Return the memory words of an entry of score biases, each of which takes 32 bits."""
    return BIAS_ROWS * cfg.outs * 4 // cfg.word_bytes


def list_type(cfg: EngineConfig) -> Array:
    """Return the type of the entries of a list of rows that come at a time."""
    return i(ROW_BITS)[op.WEIGHT_PORTS * op.WORD_BITS // ROW_BITS]


def add_load_addresses(b: Block, commands: Channel, go: Channel, requests: Sequence[Channel]) -> None:
    """Request the constants of one operation from memory as soon as they may go, then its score biases: a burst for each
    port."""

    @b.process(command=commands, loops=[("s", lambda c: select(c.bias_beats == 0, 1, 2))])
    def load_addresses(p: ProcessTrace, c: StructValue, s: Value) -> None:
        p.read(go, when=first(s), absent=True)
        begin, beats = select(first(s), c.blob_address, c.bias_address), select(first(s), c.blob_beats, c.bias_beats)
        for port, channel in enumerate(requests):
            address = wrap(begin + port * (beats << address_bits(op.WORD_BITS // 8)), u(40))
            p.write(channel, struct(addr=address, beats=beats, mark=0))


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
    biases: Channel,
    rows: Channel,
) -> None:
    """Route the words of one operation to the memories that they fill, one of each port at a time."""

    def count(c: StructValue, s: Value) -> Value:
        steps: Value = select(
            s < 3,
            select(s == 2, c.table_rows, select(s == 0, c.norm_entries, c.param_entries) * ENTRY_STEPS),
            select(
                s == 3,
                c.const_tiles * (cfg.tile_words // op.WEIGHT_PORTS),
                select(s == 4, c.row_entries, c.bias_entries * (bias_words(cfg) // op.WEIGHT_PORTS)),
            ),
        )
        return steps

    @b.process(command=commands, loops=[("s", 6), ("w", count)])
    def load_route(p: ProcessTrace, c: StructValue, s: Value, w: Value) -> None:
        pair = stack([p.read(channel) for channel in words])
        p.write(norm, pair, when=s == 0)
        p.write(params, pair, when=s == 1)
        p.write(table, pair, when=s == 2)
        p.write(tiles, pair, when=s == 3)
        p.write(rows, pair, when=s == 4)
        p.write(biases, pair, when=s == 5)


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


def add_fill_biases(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, biases: Buffer) -> None:
    """Fill a ring of score biases, of which the low 24 of 32 bits are taken."""
    steps = bias_words(cfg) // op.WEIGHT_PORTS

    @b.process(command=commands, loops=[("e", lambda c: c.bias_entries), ("w", steps)])
    def fill_biases(p: ProcessTrace, c: StructValue, e: Value, w: Value) -> None:
        pair = wrap(reinterpret(p.read(words), i(32)[op.WEIGHT_PORTS, cfg.word_bytes // 4]), i(24))
        p.append(biases, p.shift_in(pair, steps).reshape(BIAS_ROWS, cfg.outs), when=last(w))


def add_fill_rows(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, rows: Buffer) -> None:
    """Fill a ring of a list of rows, as many entries as come at a time."""

    @b.process(command=commands, loops=[("e", lambda c: c.row_entries)])
    def fill_rows(p: ProcessTrace, c: StructValue, e: Value) -> None:
        p.append(rows, reinterpret(p.read(words), list_type(cfg)))


def unpack(line: Value, kind: Struct) -> StructValue:
    """Return the low bits of some words as a struct."""
    packed = reinterpret(line, u(op.WORD_BITS * line.shape[0]))
    entry: StructValue = reinterpret(bits(packed, width(kind) - 1, 0), kind)
    return entry
