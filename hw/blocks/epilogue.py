"""Epilogue: convert ``lanes`` accumulators of one token per cycle to as many integers of the next tensor.

Bias, for attention the row's reciprocal, requantisation per channel, the residual sum; a table, such as GELU, in a process of
its own, so that operations without one need no place for it.
"""

from __future__ import annotations

from edgewright.hw.blocks.config import EngineConfig, address_bits
from edgewright.hw.blocks.layernorm import sat_symmetric
from edgewright.hw.blocks.operands import split
from edgewright.hw.blocks.operation import rows_of
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
    last,
    reinterpret,
    sat_shift,
    select,
    stack,
    u,
    wrap,
    wrap_shift,
)
from edgewright.hw.kernel.ir import Buffer, Channel


def result_type(cfg: EngineConfig) -> Array:
    """Return the type of a row of results before they are narrowed: i16[lanes]."""
    return i(16)[cfg.lanes]


def add_epilogue(
    b: Block,
    cfg: EngineConfig,
    commands: Channel,
    sums: Channel,
    direct: Channel,
    windows: Channel | None,
    row_scales: Channel,
    params: Buffer,
    offsets: Channel,
    residual: Buffer,
    results: Buffer,
    turned: Channel,
    entries: Channel,
) -> None:
    """``sums``: ACCUMULATOR[tokens, outs], or ``direct`` and ``windows``: ACCUMULATOR[lanes] per row, past the array;
    ``offsets``: per ``lanes`` sums of products with computed operands; ``residual``: i16[lanes] per row, the second operand;
    ``results``: i16[lanes] per row, or ``turned`` where they are stored by rows, or ``entries`` of the operation's table,
    u8[lanes]."""
    parts, lanes = cfg.outs // cfg.lanes, cfg.lanes

    @b.process(
        command=commands,
        loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles), ("t", rows_of(cfg.tokens))],
    )
    def epilogue(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        _, part = split(o, parts)
        tile = p.read(sums, when=~c.direct & first(t) & (part == 0), absent=True)
        passed = p.read(direct, when=c.direct & ~c.window, absent=True)
        if windows is not None:
            passed = select(c.window, p.read(windows, when=c.window, absent=True), passed)
        row = select(c.direct, passed, index(index(tile, t).reshape(parts, lanes), part))
        scale = p.read(row_scales, when=c.attention, absent=True)
        other = p.replay(residual, 0, fresh=c.residual, free=c.residual, last=c.residual)
        fresh, ends = first(j) & first(t), last(j) & last(t)
        entry = p.replay(params, wrap(o, u(address_bits(params.window))), fresh=fresh, free=ends, last=ends & last(o))
        offset = p.read(offsets, when=c.attention & first(t), absent=True)
        total = fit(row + select(c.attention, offset, entry.bias), i(27))
        factor = select(c.multiplied, other, scale.reciprocal)
        weighted = wrap_shift(total * factor, select(c.multiplied, 0, scale.shift), i(27))
        value = select(c.attention | c.multiplied, weighted, total)
        # a number beyond i17 is beyond i16 with any zero point too
        scaled = sat_shift(value * entry.multiplier, wrap(entry.shift, u(6)), i(17))
        shifted = scaled + reinterpret(c.zero_point, i(8))
        narrow = sat_symmetric(shifted, 8)
        wide = sat_symmetric(shifted, 16)
        carried = sat_symmetric(sat_shift(other * c.res_multiplier, c.res_shift, i(16)), 16)
        other_term = select(c.residual & ~c.multiplied, carried, 0)
        added = sat_symmetric(select(c.subtracted, wide - other_term, wide + other_term), 16)
        result = wrap(select(c.out16, added, narrow), i(16))
        row = select(c.rectified & (result < 0), 0, result)
        p.append(results, row, when=~c.table & ~c.by_rows)
        p.write(turned, row, when=~c.table & c.by_rows)
        p.write(entries, fit(narrow + 128, u(8)), when=c.table)


def add_tabulate(
    b: Block, cfg: EngineConfig, commands: Channel, entries: Channel, table: Buffer, results: Buffer, turned: Channel
) -> None:
    """Look up the results of an operation in its table; ``results``, or ``turned`` where they are stored by rows: i8[lanes] per
    row."""

    @b.process(
        command=commands,
        loops=[("j", lambda c: c.n_blocks), ("o", lambda c, j: c.out_tiles), ("t", rows_of(cfg.tokens))],
    )
    def tabulate(p: ProcessTrace, c: StructValue, j: Value, o: Value, t: Value) -> None:
        p.lock(table, per=None)
        entry = p.read(entries)
        within = address_bits(TABLE_ENTRIES // table.depth)  # of an entry in a row of the table
        looked_up = (index(p.load(table, entry[n] >> within), wrap(entry[n], u(within))) for n in range(cfg.lanes))
        row = stack(list(looked_up))
        p.append(results, row, when=~c.by_rows)
        p.write(turned, row, when=c.by_rows)
