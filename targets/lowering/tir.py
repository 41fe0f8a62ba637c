"""The words of TVM's builder that the code of every target is written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgewright.targets.lowering.view import StridedView, collapse
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T

__all__ = ["IRBuilder", "T", "tirx"]  # what every target builds with

Expr = Any  # tvm.ir.Expr or a Python number; TVM ships no types for its operators


def i64(value: Any) -> Expr:
    return tirx.IntImm("int64", int(value)) if isinstance(value, int) else cast(value, "int64")


def i32(value: int) -> Expr:
    return tirx.IntImm("int32", value)


def constant(value: float, dtype: str) -> Expr:
    return tirx.FloatImm(dtype, float(value)) if dtype.startswith("float") else tirx.IntImm(dtype, int(value))


def cast(value: Expr, dtype: str) -> Expr:
    """Return `value` as another element type; vectors keep their lanes."""
    return T.cast(value, dtype)


def put(buffer: Any, flat: Expr, value: Expr) -> None:
    """Store buffer[flat] = value."""
    T.buffer_store(buffer, value, [flat])


def row_offset(sizes: Sequence[int], strides: Sequence[int], row: Expr) -> Expr:
    """Return where row number `row` of a walk over axes of these sizes starts, in elements."""
    if len(sizes) == 1:
        return row * strides[0] if strides[0] else 0
    total: Expr = 0
    below = 1
    for axis in range(len(sizes) - 1, -1, -1):
        index = row // below if below > 1 else row
        if axis > 0:
            index = index % sizes[axis]
        if strides[axis]:
            total = total + index * strides[axis]
        below *= sizes[axis]
    return total


def row_start(view: StridedView, row: Expr) -> Expr:
    """Return the offset of the first element of a row, its number counted over all axes but the last."""
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    return row_offset(sizes, strides, row)


def element(view: StridedView, row: Expr, column: Expr) -> Expr:
    """Return the offset of the element (row, column), the row counted over all axes but the last."""
    start = row_start(view, row)
    return start + column * view.strides[-1] if view.strides[-1] else start


def flat_offset(index: Sequence[Expr], strides: Sequence[int]) -> Expr:
    """Return the offset of a multi-index."""
    total: Expr = 0
    for i, stride in zip(index, strides, strict=True):
        total = total + i * stride
    return total
