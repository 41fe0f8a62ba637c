"""The way around the array: rows go to the epilogue as they are, summed over their taps, or normalised."""

from __future__ import annotations

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.gemm import ACCUMULATOR
from edgewright.hw.kernel import Array, Block, ProcessTrace, StructValue, Value, first, i, last, reinterpret, select
from edgewright.hw.kernel.ir import Channel


def direct_type(cfg: EngineConfig) -> Array:
    """Return the type of a row of ``lanes`` channels that goes past the array."""
    return ACCUMULATOR[cfg.lanes]


def normed_type(cfg: EngineConfig) -> Array:
    """Return the type of a row of ``lanes`` normalised channels that goes past the array."""
    return i(16)[cfg.lanes]


def add_direct(b: Block, cfg: EngineConfig, commands: Channel, words: Channel, normed: Channel, rows: Channel) -> None:
    """``words``: a word of int8 channels, or two of int16; ``normed``: instead of them where rows are normalised; ``rows``: the
    sum of as many of them as there are taps."""

    @b.process(
        command=commands,
        loops=[
            ("r", lambda c: c.direct_tiles),
            ("s", lambda c, r: c.direct_taps),
            ("h", lambda c, r, s: select(c.direct_wide, 2, 1)),
        ],
    )
    def direct_rows(p: ProcessTrace, c: StructValue, r: Value, s: Value, h: Value) -> None:
        word = p.read(words, when=~c.norm, absent=True)
        normal = p.read(normed, when=c.norm, absent=True)
        pair = reinterpret(p.shift_in(word, 2), i(16)[cfg.lanes])
        row = select(c.direct_wide, pair, reinterpret(word, i(8)[cfg.lanes]))
        tap = select(c.norm, normal, select(last(h), row, 0))
        total = p.accumulate(tap, clear=first(s) & first(h), type=ACCUMULATOR)
        p.write(rows, total, when=last(s) & last(h))
