"""Epilogue: convert ``outs`` accumulators of one token per cycle to as many integers of the next tensor.

Bias, for attention the row's reciprocal, requantisation per channel, a table (such as GELU) or the residual sum.
"""

from __future__ import annotations

from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.layernorm import sat_symmetric
from edgewright.hw.blocks.weights import TABLE_ENTRIES
from edgewright.hw.kernel import (
    Array,
    Block,
    ProcessTrace,
    StructValue,
    Value,
    first,
    fit,
    i,
    index,
    reinterpret,
    round_shift,
    select,
    stack,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Buffer, Channel


def result_type(cfg: EngineConfig) -> Array:
    """Return the type of a row of results before they are narrowed: i16[outs]."""
    return i(16)[cfg.outs]


def add_epilogue(
    b: Block,
    cfg: EngineConfig,
    commands: Channel,
    sums: Channel,
    row_scales: Channel,
    params: Buffer,
    offsets: Channel,
    table: Buffer,
    residual: Buffer,
    results: Buffer,
) -> None:
    """``sums``: ACCUMULATOR[tokens, outs]; ``offsets``: per tile of sums of products with computed operands; ``residual``:
    i16[outs] per valid row; ``results``: i16[outs] per valid row."""

    @b.process(
        command=commands,
        loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles), ("t", cfg.tokens)],
    )
    def epilogue(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        p.lock(params, per=None)
        p.lock(table, per=None)
        valid = (j * cfg.tokens + t) < c.n_tokens
        tile = p.read(sums, when=first(t))
        scale = p.read(row_scales, when=c.attention, absent=True)
        adds = c.residual & valid
        other = p.replay(residual, 0, fresh=adds, free=adds, last=adds)
        entry = p.load(params, wrap(o, u(address_bits(params.depth))))
        offset = p.read(offsets, when=c.computed & first(t), absent=True)
        total = fit(index(tile, t) + select(c.attention, offset, entry.bias), i(27))
        weighted = wrap(round_shift(total * scale.reciprocal, scale.shift), i(27))
        value = select(c.attention, weighted, total)
        scaled = round_shift(value * entry.multiplier, wrap(entry.shift, u(6)))
        shifted = scaled + reinterpret(c.zero_point, i(8))
        narrow = sat_symmetric(shifted, 8)
        entries = fit(narrow + 128, u(8))
        within = address_bits(TABLE_ENTRIES // table.depth)  # of an entry in a row of the table
        looked_up = (index(p.load(table, entries[n] >> within), wrap(entries[n], u(within))) for n in range(cfg.outs))
        mapped = stack(list(looked_up))  # i8[outs]
        wide = sat_symmetric(shifted, 16)
        carried = sat_symmetric(round_shift(other * c.res_multiplier, c.res_shift), 16)
        added = sat_symmetric(wide + select(c.residual, carried, 0), 16)
        result = select(c.out16, added, select(c.table, mapped, narrow))
        p.append(results, wrap(result, i(16)), when=valid)
