"""Activations side: move rows of tokens from memory, LayerNorm or softmax into tiles of the array, or past the array.

A tile holds ``ins`` channels of ``tokens`` rows. A token begins where the grid that it is on, or a list, says; it consists of
taps, which are runs of words. Patches of an image are gathered by address: each line of a patch is padded to one word
(``word_bytes``), and the weights of the padding are zero. Taps of a window that lie outside of the value are read at
``pad_address``.
"""

from __future__ import annotations

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.operation import rows_of
from edgewright.hw.blocks.weights import list_type
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    StructValue,
    Value,
    bits,
    cat_bits,
    const,
    first,
    i,
    index,
    last,
    reinterpret,
    select,
    shr,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel

RECIPROCAL_BITS = 20
"""Fraction bits of 1 / grid width, from which a token's row on the patch grid is computed."""


def add_fetch_addresses(
    b: Block, cfg: EngineConfig, commands: Channel, go: Channel, requests: Channel, offsets: Channel, listed: Buffer
) -> None:
    """Request the rows of each block of tokens from memory, token by token or in one run, as soon as it may go; ``offsets`` is
    each line's first byte, ``listed`` the list of rows."""
    entries = list_type(cfg).shape[0]
    lane = address_bits(entries)

    def inside(counter: Value, shift: Value, tap: Value, pad: Value, size: Value) -> Value:
        at = wrap((counter << shift) + tap - pad, u(16))  # a negative one wraps to a large one
        within: Value = at < size
        return within

    @b.process(
        command=commands,
        loops=[
            ("j", lambda c: c.act_blocks),
            ("t", lambda c, j: select(c.act_packed, 1, rows_of(cfg.tokens)(c, j))),
            ("plane", lambda c, j, t: c.act_planes),
            ("line", lambda c, j, t, plane: c.act_rows),
        ],
    )
    def fetch_addresses(p: ProcessTrace, c: StructValue, j: Value, t: Value, plane: Value, line: Value) -> None:
        p.read(go, when=first(t) & first(plane) & first(line), absent=True)
        token = select(c.single, j, j * cfg.tokens + t)
        row = wrap((token * c.grid_recip) >> RECIPROCAL_BITS, u(16))
        column = wrap(token - row * c.grid_width, u(16))
        place = wrap(token, u(lane))
        begins, ends = first(plane) & first(line), last(plane) & last(line)
        final = (place == entries - 1) | (last(j) & last(t))
        given = p.replay(
            listed, 0, fresh=c.listed & begins & (place == 0), free=c.listed & ends & final, last=c.listed & ends & final
        )
        grid = row * c.stride_row + column * c.stride_col
        begin = select(c.listed, index(given, place), wrap(grid, u(40)))
        address = wrap(c.act_address + begin + plane * c.stride_plane + line * c.stride_line, u(40))
        seen = inside(row, c.step_y, plane, c.pad_top, c.in_height) & inside(column, c.step_x, line, c.pad_left, c.in_width)
        address = select(c.padded & ~seen, c.pad_address, address)
        within = address_bits(cfg.word_bytes)
        word = (address >> within) << within
        beats = select(c.act_packed & last(j), c.act_last, c.act_beats)
        p.write(requests, struct(addr=word, beats=wrap(beats, u(16)), mark=0))
        p.write(offsets, bits(address, within - 1, 0), when=c.patch)


def add_route(
    b: Block, commands: Channel, words: Channel, *, norm: Channel, tiles: Channel, direct: Channel, window: Channel | None
) -> None:
    """Route one operation's words to LayerNorm, to the tiles or past the array, there to the windows or on their own."""

    @b.process(command=commands, loops=[("w", lambda c: c.act_words)])
    def route(p: ProcessTrace, c: StructValue, w: Value) -> None:
        word = p.read(words)
        p.write(norm, word, when=c.norm)
        p.write(tiles, word, when=~c.norm & ~c.direct)
        p.write(direct, word, when=~c.norm & c.direct & ~c.window)
        if window is not None:
            p.write(window, word, when=c.window)


def add_fill(
    b: Block,
    cfg: EngineConfig,
    commands: Channel,
    *,
    words: Channel,
    offsets: Channel,
    normed: Channel,
    weights: Channel,
    tiles: Buffer,
) -> None:
    """Fill one bank per job: ``depth`` tiles of the rows' words, or of attention weights.

    ``weights``: i8[tokens, ins] attention weights minus 127, one tile per stream token. Rows beyond the last are what the first
    of a tile is: nobody reads their products, but they must not be what was there before.
    """
    lanes = const(list(range(cfg.tokens)), u(8)[cfg.tokens])

    def tokens(c: StructValue, j: Value) -> Value:
        rows: Value = select(jobs.reads_rows(c, j), select(jobs.ends_rows(c, j), c.last_tokens, cfg.tokens), 1)
        return rows

    @b.process(
        command=commands,
        loops=[
            ("j", lambda c: c.n_jobs),
            ("t", tokens),
            ("k", lambda c, j, t: jobs.depth(c, j)),
            ("h", lambda c, j, t, k: select(c.straddle, 2, 1)),
        ],
    )
    def fill(p: ProcessTrace, c: StructValue, j: Value, t: Value, k: Value, h: Value) -> None:
        p.lock(tiles, per=j)
        rows = jobs.reads_rows(c, j)
        from_memory = rows & ~c.norm & ~c.ones
        word = p.read(words, when=from_memory, absent=True)  # a word
        offset = p.read(offsets, when=from_memory & c.patch & first(h), absent=True)
        pair = p.shift_in(word, 2)  # two words
        both = cat_bits(select(c.straddle, pair[0], pair[1]), select(c.straddle, pair[1], 0))  # one after the other
        line = wrap(shr(both, select(c.patch, offset, 0) << 3), u(8 * cfg.word_bytes))
        normal = p.read(normed, when=rows & c.norm, absent=True)  # i8[ins]
        row = select(c.norm, normal, select(c.ones, 1, reinterpret(line, i(8)[cfg.ins])))
        tile = p.read(weights, when=~rows, absent=True)  # i8[tokens, ins]
        value = select(rows, row.broadcast_to((cfg.tokens, cfg.ins)), tile)
        mask = ~rows | first(t) | (lanes == t)
        p.store(tiles, wrap(k, u(address_bits(tiles.depth))), value, mask=mask, when=last(h))
