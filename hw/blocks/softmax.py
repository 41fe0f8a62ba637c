"""Softmax without the division: attention weights relative to the row's maximum, and one reciprocal per row.

Arithmetic: ``passes/ops/arith.py``. Scores of one block of tokens are buffered until their maximum is known, while the
previous block is exponentiated; its weights return to the array as activations of the value product.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.operands import split
from edgewright.hw.blocks.operation import rows_of
from edgewright.hw.blocks.weights import BIAS_ROWS
from edgewright.hw.kernel import (
    Block,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    bit_length,
    cat_bits,
    const,
    first,
    fit,
    i,
    index,
    last,
    minimum,
    sat_shift,
    select,
    shl,
    shr,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel
from edgewright.passes.ops.arith import EXP2_TABLE

SCORE = i(24)
LOWEST = const(-(2**23), SCORE)
TOTAL = u(20)
RowScale = Struct("RowWeight", reciprocal=u(17), shift=u(5))
"""For one row: R = floor(2^(n+15) / s), and n + 7, where n is the bit length of the sum s of its weights."""


def add_softmax(
    b: Block,
    cfg: EngineConfig,
    commands: Sequence[Channel],
    scores: Channel,
    biases: Buffer,
    weights: Channel,
    row_scales: Channel,
) -> None:
    """``scores``: ACCUMULATOR[tokens, outs]; ``biases``: i24[BIAS_ROWS, outs] that are added to them; ``weights``:
    i8[tokens, ins], minus 127; ``row_scales``: per output row."""
    max_cmds, exp_cmds, recip_cmds = commands
    tokens, outs, keys = cfg.tokens, cfg.outs, cfg.softmax_keys
    parts, steps = outs // cfg.ins, cfg.ins // keys
    parts_of_tile, lane = outs // keys, u(address_bits(outs))
    store = b.buffer("softmax_scores", SCORE[tokens, outs], depth=cfg.key_tiles, banks=max(2, cfg.scores_ahead))
    maxima = b.channel("softmax_maxima", SCORE[tokens], depth=2)
    totals = b.channel("softmax_totals", TOTAL[tokens], depth=4)
    table = b.rom("softmax_exp2", u(16), EXP2_TABLE)
    lanes = const(list(range(outs)), lane[outs])

    groups = tokens // BIAS_ROWS  # the exponentials take at least as long for a tile

    def repeated(rows: Value) -> Value:
        """Return BIAS_ROWS rows once for each group, [tokens, ..]."""
        return rows.broadcast_to((groups, *rows.shape)).reshape(tokens, *rows.shape[1:])

    group_of = const([row // BIAS_ROWS for row in range(tokens)], u(8)[tokens])

    @b.process(
        command=max_cmds,
        loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.outs0), ("t", groups)],
    )
    def softmax_max(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        p.lock(store, per=j)
        entry = select(c.bias_shared, o, (j * c.outs0 + o) * groups + t)
        ends = last(j) & last(o) & last(t)
        bias = p.replay(
            biases,
            select(c.bias_kept, wrap(entry, u(address_bits(biases.window))), 0),
            fresh=c.biased & c.bias_fresh & (~c.bias_shared | (first(j) & first(t))),
            free=c.biased & c.bias_free & (~c.bias_shared | (last(j) & last(t))),
            last=c.biased & c.bias_free & (ends | ~c.bias_kept),
        )  # SCORE[BIAS_ROWS, outs]
        tile = fit(p.read(scores, when=first(t)), SCORE)
        group = index(tile.reshape(groups, BIAS_ROWS, outs), wrap(t, u(address_bits(groups))))
        score = wrap(group + select(c.biased, bias, 0), SCORE)  # the planner bounds it
        valid = (o * outs + lanes) < c.n_keys  # u1[outs]
        largest = select(valid[None, :], score, LOWEST).max(axis=1)  # SCORE[BIAS_ROWS]
        here = group_of == t  # u1[tokens]
        top = p.accumulate(select(here, repeated(largest), LOWEST), clear=first(o) & first(t), op="max", type=SCORE[tokens])
        p.store(store, wrap(o, u(address_bits(store.depth))), repeated(score), mask=here)
        p.write(maxima, top, when=last(o) & last(t))

    @b.process(command=exp_cmds, loops=[("j", lambda c: c.n_blocks), ("k", lambda c, j: c.depth1), ("q", steps)])
    def softmax_exp(p: ProcessTrace, c: StructValue, j: Value, k: Value, q: Value) -> None:
        p.lock(store, per=j)
        top = p.read(maxima, when=first(k) & first(q))  # SCORE[tokens]
        outer, _ = split(k, parts)
        tile = p.load(store, wrap(outer, u(address_bits(store.depth))))
        place = wrap(k * steps + q, u(address_bits(parts_of_tile)))
        part = index(tile.reshape(tokens, parts_of_tile, keys).transpose(1, 0, 2), place)  # SCORE[tokens, keys]
        valid = (k * cfg.ins + q * keys + const(list(range(keys)), lane[keys])) < c.n_keys  # u1[keys]
        distance = fit(select(valid[None, :], top[:, None] - part, 0), u(23))
        power = sat_shift(distance * c.score_multiplier, c.score_shift, u(12))
        mantissa = p.lookup(table, wrap(power, u(8)).reshape(tokens * keys)).reshape(tokens, keys)
        scaled = shr(mantissa, power >> 8)
        weight = fit(minimum((scaled + 64) >> 7, 254), u(8))
        weight = select(valid[None, :], weight, 0)
        total = p.accumulate(weight.sum(axis=1), clear=first(k) & first(q), type=TOTAL[tokens])
        row = p.shift_in(fit(weight - 127, i(8)), steps)  # i8[steps, tokens, keys]
        p.write(weights, row.transpose(1, 0, 2).reshape(tokens, cfg.ins), when=last(q))
        p.write(totals, total, when=last(k) & last(q))

    @b.process(
        command=recip_cmds,
        loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles), ("t", rows_of(tokens, single=False))],
    )
    def softmax_recip(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        total = index(p.read(totals, when=first(o) & first(t)), t)  # u20
        length = bit_length(total)
        divisor = wrap(shl(total, fit(20 - length, u(5)), 40), u(20))  # top bit set; R = floor(2^35 / divisor)
        remainder = const(2**19, u(20))
        digits = []
        for position in range(17):
            if position:
                remainder = remainder << 1
            digit = remainder >= divisor
            remainder = select(digit, wrap(remainder - divisor, u(20)), wrap(remainder, u(20)))
            digits.append(digit)
        p.write(row_scales, struct(reciprocal=cat_bits(*digits[::-1]), shift=fit(length + 7, u(5))))
