"""LayerNorm on the int16 residual stream, one word of channels per cycle: one pass for the sums, one to normalise.

The next token's row is summed while the previous one is normalised, so the rate is one word per cycle.
Arithmetic: ``passes/ops/arith.py``; the mean and the division by N cancel, y = (N x - S) / sqrt(V).
"""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.operation import Loops
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    bit_length,
    bits,
    clamp,
    first,
    fit,
    i,
    last,
    reinterpret,
    round_shift,
    sat_shift,
    select,
    shr,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel
from edgewright.passes.ops.arith import RSQRT_TABLE

TOTAL, SQUARES, VARIANCE, CENTRED = i(28), u(42), u(54), i(28)
"""Sums of a row of up to 2,048 int16, and what is computed of them."""
Sums = Struct("RowSums", total=TOTAL, squares=SQUARES)
Scale = Struct("RowScale", total=TOTAL, root=u(17), exponent=u(6))


def add_norm(
    b: Block,
    commands: Sequence[Channel],
    words: Channel,
    params: Buffer,
    normed: Channel,
    passed: Channel,
    *,
    cfg: EngineConfig,
) -> None:
    """``words`` (``norm_lanes`` int16) in, ``normed`` i8[ins] out, or i16[lanes] ``passed`` where rows go past the array;
    ``params`` of type ``NormParams``, one per word."""
    lanes = cfg.norm_lanes
    stats_cmds, scale_cmds, apply_cmds = commands
    rows = b.channel("norm_rows", u(8 * cfg.word_bytes), depth=2 * cfg.norm_width // lanes)
    sums = b.channel("norm_sums", Sums, depth=2)
    scales = b.channel("norm_scales", Scale, depth=2)
    table = b.rom("norm_rsqrt", u(16), RSQRT_TABLE)
    loops: Loops = [("r", lambda c: c.n_tokens), ("w", lambda c, r: c.norm_row_words)]

    @b.process(command=stats_cmds, loops=loops)
    def norm_stats(p: ProcessTrace, c: StructValue, r: Value, w: Value) -> None:
        word = p.read(words)
        x = reinterpret(word, i(16)[lanes])
        total = p.accumulate(x.sum(), clear=first(w), type=TOTAL)
        squares = p.accumulate(wrap((x * x).sum(), u(34)), clear=first(w), type=SQUARES)
        p.write(rows, word)
        p.write(sums, struct(total=total, squares=squares), when=last(w))

    @b.process(command=scale_cmds, loops=[("r", lambda c: c.n_tokens)])
    def norm_scale(p: ProcessTrace, c: StructValue, r: Value) -> None:
        row = p.read(sums)
        variance = fit(c.norm_n * row.squares - row.total * row.total + c.norm_eps, VARIANCE)
        half = wrap((bit_length(variance) - 1) >> 1, u(5))  # the variance is m * 4^half, m in [1, 4)
        wide = variance << 16
        m = fit(shr(wide, half << 1), u(18))
        y0 = p.lookup(table, m >> 10)
        square = fit((y0 * y0) >> 14, u(17))
        error = fit((m * square) >> 16, u(18))
        y1 = fit(round_shift(y0 * fit(3 * 2**16 - error, u(18)), 16), u(17))
        p.write(scales, struct(total=row.total, root=y1, exponent=half + 4))

    @b.process(command=apply_cmds, loops=loops)
    def norm_apply(p: ProcessTrace, c: StructValue, r: Value, w: Value) -> None:
        p.lock(params, per=None)
        x = reinterpret(p.read(rows), i(16)[lanes])
        scale = p.read(scales, when=first(w))
        entry = p.load(params, wrap(w, u(address_bits(params.depth))))
        centred = fit(c.norm_n * x - scale.total, CENTRED)
        z = wrap(round_shift(centred * scale.root, scale.exponent), i(20))  # more only where a row's last word is padded
        y = fit(z * wrap(entry.multiplier, i(17)) + wrap(entry.offset, i(48)), i(49))
        rounded = sat_shift(y, c.norm_shift, i(16))
        out = select(c.norm_wide, sat_symmetric(rounded, 16), sat_symmetric(rounded, 8))
        pair = p.shift_in(wrap(out, i(16)), 2).reshape(2 * lanes)
        complete = bits(w, 0, 0) == 1
        p.write(normed, wrap(pair, i(8)), when=complete & ~c.direct)
        p.write(passed, pair, when=complete & c.direct)


def sat_symmetric(x: Value, width: int) -> Value:
    """Saturate to +-(2^(width-1) - 1): the most negative code is unused, so that two products share a DSP."""
    return clamp(x, -(2 ** (width - 1)) + 1, 2 ** (width - 1) - 1)
