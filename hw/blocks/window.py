"""Windows over a feature map, channel by channel: depthwise convolution, maximum and sum, ``TAPS`` taps of ``lanes`` channels a
cycle.

Pixels come in raster order, all words of a pixel before the next, once each. The pixel to the left is as many words ago as a
pixel has, the pixel above as many as a line has, so a delay line with a tap for each of them holds the window: no address, and
no pixel that is read twice. A window beyond the end of a line holds pixels of the next line, and one above the map what was
there before; both are masked, so nothing is stored for padding, and a line needs no cycle for it.

The ``SIDE x SIDE`` window is worked through in phases: the newest 3 x 3 pixels, the others of the newest 5 x 5 in two, those of
7 x 7 in three more. A kernel of any sides lies in its newest corner, and takes one, three or six phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgewright.hw.blocks import operation as op
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.gemm import ACCUMULATOR
from edgewright.hw.blocks.weights import row_type
from edgewright.hw.kernel import (
    Array,
    Block,
    ProcessTrace,
    StructValue,
    Value,
    bits,
    concat,
    first,
    i,
    index,
    last,
    multiply,
    reinterpret,
    select,
    stack,
    wrap,
)
from edgewright.hw.kernel.ir import Channel

SIDE = 7
"""The longest side of a kernel."""
TAPS = 9
"""Products of each channel in a cycle."""
MOST_WORDS = 32
"""Words of a pixel: what the delays from one pixel to the next hold."""
LEAST_LINE = 3
"""Words of a line, which a delay in block RAM needs."""
MOST_STRIDE = 4
"""Pixels from one window to the next."""

FIELDS = {name: kind for name, kind in op.FIELDS.items() if name.startswith("win_")}
"""Fields of the commands."""


Place = tuple[int, int]
"""Lines above the newest pixel of a window, and pixels left of it."""


def places() -> list[list[Place]]:
    """Return the pixels of a window that each phase works on, ``TAPS`` or fewer."""
    phases: list[list[Place]] = []
    for side, inner in ((3, 0), (5, 3), (7, 5)):
        ring = [(r, c) for r in range(side) for c in range(side) if max(r, c) >= inner]
        count = -(-len(ring) // TAPS)
        each = -(-len(ring) // count)
        phases += [ring[at : at + each] for at in range(0, len(ring), each)]
    return phases


PLACES = places()
"""By phase and tap."""


def phases_of(kernel: tuple[int, int]) -> int:
    """Return the cycles that a word of output takes."""
    return {3: 1, 5: 3, 7: 6}[max(3, max(kernel) | 1)]


def taps_type(cfg: EngineConfig) -> Array:
    """Return the type of the weights of a phase: i8[taps, channels of a word]."""
    return i(8)[TAPS, cfg.lanes]


def rows_type(cfg: EngineConfig) -> Array:
    """Return the type of a row of results: of what the epilogue takes past the array."""
    return ACCUMULATOR[cfg.lanes]


def add_window(
    b: Block,
    cfg: EngineConfig,
    commands: Sequence[Channel],
    words: Channel,
    weights: Channel,
    rows: Channel,
) -> None:
    """Give the accumulators of each word of each output pixel, in raster order. ``commands``: of ``WindowLines``, of
    ``Window``.

    ``words``: u128, those of the map. ``weights``: ``taps_type``, for each word of each pixel of output one in each phase; none
    for a maximum. ``rows``: ``rows_type``."""
    lines = b.channel("window_words", words.type, depth=4)
    add_lines(b, commands[0], words, lines)
    add_taps(b, cfg, commands[1], lines, weights, rows)


def add_lines(b: Block, commands: Channel, words: Channel, lines: Channel) -> None:
    """Pass the words of a map on, up to the last that a window needs. Where windows reach below the map, or a line is longer
    than the map is wide, any word stands for the pixels that are missing."""

    @b.process(command=commands, loops=[("y", lambda c: c.win_lines), ("w", lambda c, y: c.win_line)])
    def window_lines(p: ProcessTrace, c: StructValue, y: Value, w: Value) -> None:
        word = p.read(words, when=(y < c.win_height) & (w < c.win_row), absent=True)
        p.write(lines, word, when=(y < c.win_last) | ((y == c.win_last) & (w < c.win_end)))


def times(x: Value, stride: Value) -> Value:
    """Return x * stride without a multiplier."""
    total: Value = select(bits(stride, 0, 0), x, 0)
    for n in range(1, stride.bits):
        total = total + select(bits(stride, n, n), x << n, 0)
    return total


def inside(newest: Value, size: Value, side: Value) -> Value:
    """Return which lines (or columns) of a window are on the map and in the kernel, u1[SIDE], from the newest on."""
    later = ((n <= newest) & (newest < size + n) & (n < side) for n in range(1, SIDE))
    return stack([(newest < size) & (side > 0), *later])


def add_taps(b: Block, cfg: EngineConfig, commands: Channel, lines: Channel, weights: Channel, rows: Channel) -> None:
    """Multiply and add the pixels of each window, or find the largest, a phase a cycle."""
    even = min(len(taps) for taps in PLACES)  # the taps that every phase has

    def gap(c: StructValue, y: Value, x: Value) -> Any:
        return select(first(x), select(first(y), c.win_lead, c.win_turn), c.win_stride_cols)

    @b.process(
        command=commands,
        loops=[
            ("y", lambda c: c.win_rows),
            ("x", lambda c, y: c.win_cols),
            ("g", gap),
            ("w", lambda c, y, x, g: c.win_words),
            ("q", lambda c, y, x, g, w: select(last(g), c.win_phases, 1)),
        ],
    )
    def window(p: ProcessTrace, c: StructValue, y: Value, x: Value, g: Value, w: Value, q: Value) -> None:
        pixel = reinterpret(p.read(lines, when=first(q)), row_type(cfg))
        begins = first(y) & first(x) & first(g) & first(w)
        above = p.delay(pixel, c.win_line, cfg.window_words, count=SIDE - 1, clear=begins, when=first(q))
        column = concat([pixel.reshape(1, cfg.lanes), above])
        left = p.delay(column, c.win_words, MOST_WORDS, count=SIDE - 1, clear=begins, when=first(q))
        held = concat([column.reshape(1, SIDE, cfg.lanes), left])  # i8[columns, lines, lanes], the newest first

        there_rows = inside(times(y, c.win_stride_rows) + c.win_down, c.win_height, c.win_kernel_rows)
        there_cols = inside(times(x, c.win_stride_cols) + c.win_across, c.win_width, c.win_kernel_cols)
        there = [[there_rows[r] & there_cols[s] for r, s in taps] for taps in PLACES]
        valid = index(stack([stack(phase[:even]) for phase in there]), q)
        missing = reinterpret(c.win_missing, i(8)).broadcast_to((cfg.lanes,))
        chosen = []
        for tap in range(even):  # what is missing is one more choice, which takes no more logic than those of the phases
            of_phases = [held[s, r] for r, s in (taps[tap] for taps in PLACES)]
            chosen.append(index(stack([*of_phases, missing]), select(valid[tap], q, len(PLACES))))
        for tap, (r, s) in enumerate(PLACES[0][even:], even):  # only the first phase has more
            chosen.append(select(there[0][tap] & first(q), held[s, r], missing))
        pixels = stack(chosen)

        taps = p.read(weights, when=last(g) & ~c.win_maximum, absent=True)
        products = multiply(pixels, taps, luts=True)
        total = p.accumulate(products.sum(0), clear=first(q), type=i(21)[cfg.lanes])
        largest = p.accumulate(pixels.max(0), clear=first(q), op="max")
        p.write(rows, wrap(select(c.win_maximum, largest, total), ACCUMULATOR), when=last(g) & last(q))
