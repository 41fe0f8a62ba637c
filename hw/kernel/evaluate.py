"""Evaluate pure ops on many iterations at once: values are rows (n, *shape), constants may have one row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import positions
from edgewright.hw.kernel.tokens import NARROW, Rows, dtype_of, in_range, reinterpret_rows, settle
from edgewright.hw.kernel.types import Int, Struct, elem_of, shape_of, size_of


class KernelError(Exception):
    """A rule of the kernel language was broken at run time; the message names process, source line and rule."""


def align(rows: Rows, rank: int) -> Rows:
    """Insert axes after the first, so that elementwise broadcasting aligns at the last axis."""
    missing = rank + 1 - rows.ndim
    return rows.reshape(rows.shape[0], *([1] * missing), *rows.shape[1:]) if missing > 0 else rows


def spread(rows: Rows, n: int) -> Rows:
    return rows if len(rows) == n else np.broadcast_to(rows, (n, *rows.shape[1:]))


def wrap_rows(rows: Rows, e: Int) -> Rows:
    if in_range(rows, e):
        return settle(rows, e)
    mask = (1 << e.bits) - 1
    if e.bits > NARROW:
        rows = rows.astype(object)
    low = rows & mask
    if e.signed:
        sign = 1 << (e.bits - 1)
        low = (low ^ sign) - sign
    return settle(low, e)


def bit_length_rows(rows: Rows) -> Rows:
    if rows.dtype == object:
        return np.asarray(np.frompyfunc(lambda v: int(v).bit_length(), 1, 1)(rows)).astype(np.int64)
    high = rows >> 31
    _, upper = np.frexp(high.astype(np.float64))
    _, lower = np.frexp((rows & 0x7FFFFFFF).astype(np.float64))
    return np.where(high > 0, upper.astype(np.int64) + 31, lower.astype(np.int64))


def shift_left(a: Rows, n: Rows, wide: bool) -> Rows:
    return a.astype(object) << n.astype(object) if wide else a << n


def shift_right(a: Rows, n: Rows | int) -> Rows:
    if a.dtype == object:
        return a >> (n.astype(object) if isinstance(n, np.ndarray) else n)
    return np.asarray(a >> np.minimum(n, 63))


ELEMENTWISE: dict[type[ir.Op], Callable[..., Rows]] = {
    ir.Add: np.add,
    ir.Sub: np.subtract,
    ir.Mul: np.multiply,
    ir.And: np.bitwise_and,
    ir.Or: np.bitwise_or,
    ir.Xor: np.bitwise_xor,
    ir.Min: np.minimum,
    ir.Max: np.maximum,
    ir.Neg: np.negative,
    ir.Abs: np.abs,
}
COMPARE: dict[str, Callable[[Rows, Rows], Rows]] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
REDUCE: dict[str, Any] = {
    "add": np.add,
    "max": np.maximum,
    "min": np.minimum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
}


def evaluate(node: ir.Node, args: list[Rows], where: str) -> Rows:
    """Return the rows of a pure node (no counter, no state, no effect)."""
    op = node.op
    assert not isinstance(node.type, Struct)
    e, shape = elem_of(node.type), shape_of(node.type)
    if isinstance(op, ir.Const):
        return np.array(op.values, dtype=dtype_of(e)).reshape(1, *shape)
    kinds = [elem_of(a.type) for a in node.args]
    wide = e.bits > NARROW or any(k.bits > NARROW for k in kinds)
    function = ELEMENTWISE.get(type(op))
    if function is not None:
        parts = [align(a.astype(object) if wide else a, len(shape)) for a in args]
        return settle(np.asarray(function(*parts)), e)
    if isinstance(op, ir.Not):
        return wrap_rows(~args[0], e)
    if isinstance(op, ir.Compare):
        parts = [align(a.astype(object) if wide else a, len(shape)) for a in args]
        return np.asarray(COMPARE[op.kind](*parts)).astype(np.int64)
    if isinstance(op, ir.Select):
        c, a, b = (align(x, len(shape)) for x in args)
        return np.where(c != 0, settle(a, e), settle(b, e))
    if isinstance(op, ir.Shl):
        return settle((args[0].astype(object) if wide else args[0]) << op.amount, e)
    if isinstance(op, ir.Shr):
        return settle(shift_right(args[0], op.amount), e)
    if isinstance(op, ir.ShlBy):
        a, n = (align(x, len(shape)) for x in args)
        shifted = shift_left(a, n, kinds[0].bits + kinds[1].high > NARROW)
        if not in_range(shifted, e):
            raise KernelError(f"{where}: a left shift leaves {node.type}")
        return settle(shifted, e)
    if isinstance(op, ir.ShrBy):
        a, n = (align(x, len(shape)) for x in args)
        return settle(shift_right(a, n), e)
    if isinstance(op, ir.BitLength):
        return bit_length_rows(args[0])
    if isinstance(op, ir.Bits):
        return settle(shift_right(args[0], op.low) & ((1 << (op.high - op.low + 1)) - 1), e)
    if isinstance(op, ir.CatBits):
        total, at = None, 0
        for a, k in zip(args, kinds, strict=True):
            part = align((a.astype(object) if wide else a) & ((1 << k.bits) - 1), len(shape)) << at
            total = part if total is None else total | part
            at += k.bits
        assert total is not None
        return settle(total, e)
    if isinstance(op, ir.Cast):
        return cast_rows(op.mode, args[0], e, where)
    if isinstance(op, ir.Strided):
        return view_rows(op, args[0], shape)
    if isinstance(op, ir.Concat):
        count = max(len(a) for a in args)
        return np.concatenate([spread(a, count) for a in args], axis=op.axis + 1)
    if isinstance(op, ir.Index):
        return index_rows(args[0], args[1], where)
    if isinstance(op, ir.Reinterpret):
        old = node.args[0].type
        assert not isinstance(old, Struct)
        return reinterpret_rows(args[0], old, node.type)
    if isinstance(op, ir.Reduce):
        return settle(np.asarray(REDUCE[op.kind].reduce(settle(args[0], e), axis=tuple(a + 1 for a in op.axes))), e)
    if isinstance(op, ir.Dot):
        return dot_rows(args[0], args[1], e, where)
    if isinstance(op, ir.Lookup):
        table = np.array(op.rom.values, dtype=dtype_of(e)).reshape(len(op.rom.values), *shape_of(op.rom.type))
        if args[0].max(initial=0) >= len(table):
            raise KernelError(f"{where}: lookup({op.rom.name}) at {args[0].max()} of {len(table)}")
        return np.asarray(table[args[0]])
    raise AssertionError(op)


def cast_rows(mode: ir.CastMode, rows: Rows, e: Int, where: str) -> Rows:
    if mode == "wrap":
        return wrap_rows(rows, e)
    if mode == "sat":
        return (
            settle(np.clip(rows, e.low, e.high), e)
            if rows.dtype != object
            else settle(np.minimum(np.maximum(rows, e.low), e.high), e)
        )
    if not in_range(rows, e):
        raise KernelError(f"{where}: fit to {e} of values {rows.min()}..{rows.max()}")
    return settle(rows, e)


def view_rows(op: ir.Strided, rows: Rows, shape: tuple[int, ...]) -> Rows:
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1)[:, op.offset :]
    row, step = flat.strides
    strides = (row, *(step * s for s in op.strides))
    if min(op.strides, default=0) < 0:
        return np.ascontiguousarray(rows).reshape(len(rows), -1)[:, positions(op, shape)]
    return np.lib.stride_tricks.as_strided(flat, (len(rows), *shape), strides, writeable=False)


def index_rows(rows: Rows, at: Rows, where: str) -> Rows:
    if at.max(initial=0) >= rows.shape[1]:
        raise KernelError(f"{where}: index {at.max()} of {rows.shape[1]} elements")
    n = max(len(rows), len(at))
    line = np.arange(n).reshape(n, *([1] * (at.ndim - 1)))
    return spread(rows, n)[line, spread(at, n)]


def dot_rows(a: Rows, w: Rows, e: Int, where: str) -> Rows:
    for x in (a, w):
        if x.size and x.min() < -127:
            raise KernelError(f"{where}: dot of -128; operands must lie within [-127, 127]")
    kind = np.float32 if e.bits <= 25 else np.float64
    n = max(len(a), len(w))
    product = np.matmul(spread(a, n).astype(kind), spread(w, n).astype(kind).swapaxes(1, 2))
    return np.asarray(product).astype(np.int64)


def max_elements(nodes: list[ir.Node]) -> int:
    """Return the largest number of elements of any value, which bounds how many iterations are worth evaluating at once."""
    return max((size_of(shape_of(n.type)) for n in nodes if not isinstance(n.type, Struct)), default=1)
