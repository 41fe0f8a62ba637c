"""Rows by warps: normalisation and softmax, with values in registers and sums by shuffles. Integers as in `arith`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ops import LayerNormalization, RMSNormalization, Softmax
from edgewright.passes.ops.arith import (
    EXP2_TABLE,
    EXPONENT_STEPS,
    LAYER_NORM_EXACT,
    LAYER_NORM_FRACTION,
    RSQRT_TABLE,
    dropped_bits,
)
from edgewright.targets.gpu.formulas import f32, rounded
from edgewright.targets.gpu.step import CudaContext
from edgewright.targets.gpu.tir import (
    WARP,
    Argument,
    Buffers,
    Launch,
    bit_length,
    counted,
    largest_of,
    let,
    loaded,
    quotient,
    registers,
    remainder,
    shift_right,
    total_of,
    unrolled,
    when,
)
from edgewright.targets.lowering.formulas import bounds, clip
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.rows import row_operands
from edgewright.targets.lowering.tir import Expr, T, cast, constant, element, i32, i64, put
from edgewright.targets.lowering.view import StridedView, dtype_of

WARPS = 4  # rows of a block
HELD = 32  # values of a row that a lane keeps in registers; longer rows are read again
LOWEST = -3.4028234663852886e38
assert LAYER_NORM_FRACTION == 12  # the + 4 below is 16 - 12


@dataclass(frozen=True, slots=True)
class WarpRow:
    """One row of `columns` values, spread over the lanes of a warp."""

    lane: Expr
    columns: int

    @property
    def turns(self) -> int:
        return -(-self.columns // WARP)

    @contextmanager
    def each(self) -> Iterator[tuple[Expr, Expr, Expr | None]]:
        """Loop over a lane's values: (turn, column, whether it exists)."""
        with (unrolled if self.turns <= HELD else counted)(self.turns) as turn:
            column = let(turn * WARP + self.lane)
            yield turn, column, None if self.columns % WARP == 0 else column < self.columns

    def hold(self, dtype: str, load: Callable[[Expr, Expr | None], Expr]) -> Callable[[Expr, Expr, Expr | None], Expr]:
        """Load the whole row by `load(column, where)`; the result returns the value of (turn, column, where)."""
        if self.turns > HELD:
            return lambda turn, column, where: load(column, where)
        held = registers(self.turns, dtype)
        with self.each() as (turn, column, where):
            put(held, turn, load(column, where))
        return lambda turn, column, where: held[turn]

    def total(self, dtype: str, term: Callable[[Expr, Expr, Expr | None], Expr]) -> Expr:
        """Return the sum of a term over the row, in every lane."""
        return total_of(self._folded(dtype, 0, term, lambda a, b: a + b), dtype)

    def largest(self, dtype: str, term: Callable[[Expr, Expr, Expr | None], Expr], lowest: float) -> Expr:
        return largest_of(self._folded(dtype, lowest, term, lambda a, b: T.max(a, b)), dtype)

    def _folded(
        self, dtype: str, start: float, term: Callable[[Expr, Expr, Expr | None], Expr], combine: Callable[[Expr, Expr], Expr]
    ) -> Expr:
        held = registers(1, dtype)
        put(held, 0, constant(start, dtype))
        with self.each() as (turn, column, where), when(where):
            put(held, 0, combine(held[0], term(turn, column, where)))
        return held[0]


def row_step(context: CudaContext, group: Group) -> None:
    """Add the launch of a LayerNormalization, RMSNormalization or Softmax: a warp per row, then the tail."""
    anchor, op = group.head, group.head.op
    order, source, tables = row_operands(context, anchor)
    tail = context.tail(group, lambda view: view.transpose(order))
    integer = not anchor.type.is_float
    if integer:
        tables.append(context.keep((EXP2_TABLE if isinstance(op, Softmax) else RSQRT_TABLE).astype(np.int32)))
    count, columns = math.prod(source.shape[:-1]), source.shape[-1]

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        number = let(block * WARPS + quotient(thread, WARP))
        with when(number < count):
            row = WarpRow(let(remainder(thread, WARP)), columns)
            result = _result(op, integer, row, buffers, source, tables, number, dtype_of(anchor.elem))
            with row.each() as (turn, column, where), when(where):
                tail.emit(buffers, number, column, result(turn, column, where))

    arguments = [Argument(view) for view in (source, *tables)]
    context.add(group, [*arguments, *tail.arguments], Launch(-(-count // WARPS), WARPS * WARP), body)


Normalization = LayerNormalization | RMSNormalization
Term = Callable[[Expr, Expr, Expr | None], Expr]


def _result(
    op: object,
    integer: bool,
    row: WarpRow,
    buffers: Buffers,
    source: StridedView,
    tables: list[StridedView],
    number: Expr,
    dtype: str,
) -> Term:
    def load(column: Expr, where: Expr | None) -> Expr:
        return loaded(buffers[source], element(source, number, column), where)

    if isinstance(op, Softmax):
        return _integer_softmax(op, row, buffers, load, tables[0]) if integer else _float_softmax(row, load)
    assert isinstance(op, Normalization)
    if integer:
        return _integer_norm(op, row, buffers, load, tables, dtype)
    return _float_norm(op, row, buffers, load, tables)


def _float_norm(
    op: Normalization, row: WarpRow, buffers: Buffers, load: Callable[..., Expr], tables: list[StridedView]
) -> Term:
    value = row.hold("float32", load)
    centred = isinstance(op, LayerNormalization)
    mean = let(row.total("float32", value) * f32(1 / row.columns)) if centred else f32(0)

    def square(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        distance = let(value(turn, column, where) - mean)
        return distance * distance

    variance = row.total("float32", square) * f32(1 / row.columns)
    inverse = let(f32(1) / T.sqrt(variance + f32(op.epsilon)))
    gamma = buffers[tables[0]]

    def result(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        scaled = (value(turn, column, where) - mean) * inverse * gamma[column]
        return scaled + buffers[tables[1]][column] if centred else scaled

    return result


def _float_softmax(row: WarpRow, load: Callable[..., Expr]) -> Term:
    value = row.hold("float32", load)
    highest = let(row.largest("float32", value, LOWEST))

    def power(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        return T.exp(value(turn, column, where) - highest)

    inverse = let(f32(1) / row.total("float32", power))
    return lambda turn, column, where: power(turn, column, where) * inverse


def _integer_norm(
    op: Normalization, row: WarpRow, buffers: Buffers, load: Callable[..., Expr], tables: list[StridedView], dtype: str
) -> Term:
    """Return `arith.layer_normalization`, or without the mean `arith.rms_normalization`."""
    multiplier, offset, roots = (buffers[view] for view in tables)
    value = row.hold("int32", lambda column, where: cast(load(column, where), "int32"))
    centred = isinstance(op, LayerNormalization)

    def wide_value(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        return cast(value(turn, column, where), "int64")

    total: Expr = i64(0)
    if centred:
        exact = row.columns <= LAYER_NORM_EXACT  # 2^15 values below 2^15
        total = let(cast(row.total("int32", value), "int64") if exact else row.total("int64", wide_value))

    def square(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        wide = let(cast(value(turn, column, where), "int64"))
        return wide * wide

    n, dropped = row.columns, dropped_bits(row.columns)
    v = let(_spread(n, let(row.total("int64", square)), total) + i64(op.eps_term))
    e = let(T.shift_right(bit_length(v) - i64(1), i64(1)))
    left = let(T.max(i64(16) - e * i64(2), i64(0)))
    right = let(T.max(e * i64(2) - i64(16), i64(0)))
    m16 = let(shift_right(T.shift_left(v, left), right))
    y0 = let(cast(roots[cast(shift_right(m16, 10), "int32")], "int64"))
    q0 = let(shift_right(y0 * y0, 14))
    t = i64(3 << 16) - shift_right(m16 * q0, 16)
    y = let(rounded(y0 * t, i64(16)))
    low, high = bounds(op.elem)

    def result(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        distance = i64(n) * cast(value(turn, column, where), "int64") - total
        z = let(rounded(distance * y, e + i64(dropped + 4)))
        place = column if tables[0].shape[0] > 1 else 0  # wide rows may have one factor for all
        whole = rounded(z * cast(multiplier[place], "int64") + offset[place], i64(op.shift))
        return cast(clip(let(whole), i64(low), i64(high)), dtype)

    return result


def _spread(n: int, squares: Expr, total: Expr) -> Expr:
    """Return what `arith.layer_normalise` takes the root of, without epsilon."""
    t = dropped_bits(n)
    if not t:
        return i64(n) * squares - total * total
    truncated = let(T.truncdiv(total, i64(n)))
    quotient = let(truncated - cast(truncated * i64(n) > total, "int64"))  # rounded down
    rest = let(squares - quotient * total)
    low = T.bitwise_and(rest, i64((1 << 2 * t) - 1))
    moved = i64(n) * low - (total - quotient * i64(n)) * total
    return i64(n) * shift_right(rest, 2 * t) + shift_right(let(moved), 2 * t)


def _integer_softmax(op: Softmax, row: WarpRow, buffers: Buffers, load: Callable[..., Expr], table: StridedView) -> Term:
    """Return `arith.softmax`."""
    value = row.hold("int32", lambda column, where: cast(load(column, where), "int32"))
    highest = let(row.largest("int32", value, -(1 << 15)))

    def power(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        return exponential(buffers, table, highest - value(turn, column, where), op.multiplier, op.shift)

    total = let(cast(row.total("int32", power), "int64"))
    bits = let(bit_length(total))
    reciprocal = let(T.truncdiv(T.shift_left(i64(1), bits + i64(15)), total))

    def result(turn: Expr, column: Expr, where: Expr | None) -> Expr:
        share = let(rounded(cast(power(turn, column, where), "int64") * reciprocal, bits))
        return cast(T.min(share, i64(32767)), "int16")

    return result


def exponential(buffers: Buffers, table: StridedView, distance: Expr, multiplier: int, shift: int) -> Expr:
    """Return `arith.exponentials` of one distance from the maximum, as int32."""
    steps = rounded(cast(distance, "int64") * i64(multiplier), i64(shift))
    u = let(cast(T.min(steps, i64(16 * EXPONENT_STEPS - 1)), "int32"))
    return let(T.shift_right(buffers[table][T.bitwise_and(u, i32(EXPONENT_STEPS - 1))], T.shift_right(u, i32(8))))
