"""Float arithmetic shared by several ops: error function, sigmoid, softmax; broadcasting of types."""

from __future__ import annotations

import math

import numpy as np
from edgewright.passes.ir import F32, INT8, INT32, Array, Elem, Shape, TensorType, expect
from edgewright.passes.ops.arith import SHIFT_MAX

_STEP = 1.0 / 512.0
_LIMIT = 6.0  # erf(6) is 1 to within 3e-17
_KNOTS = np.arange(0.0, _LIMIT + 2 * _STEP, _STEP)
_VALUES = np.array([math.erf(x) for x in _KNOTS.tolist()])
_SLOPES = 2.0 / math.sqrt(math.pi) * np.exp(-_KNOTS * _KNOTS) * _STEP


def erf(x: Array) -> Array:
    """Return the error function in float64 to 1e-12 absolute: cubic Hermite between exact knots 1/512 apart."""
    x = np.asarray(x, np.float64)
    position = np.minimum(np.abs(x), _LIMIT) * (1.0 / _STEP)
    index = np.nan_to_num(position).astype(np.int64)
    t = position - index
    y0, y1, d0, d1 = _VALUES[index], _VALUES[index + 1], _SLOPES[index], _SLOPES[index + 1]
    rise = y1 - y0
    value = y0 + t * (d0 + t * (3 * rise - 2 * d0 - d1 + t * (d0 + d1 - 2 * rise)))
    return np.asarray(np.copysign(value, x))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) in float64 without overflow."""
    x = np.asarray(x, np.float64)
    small = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1.0, small) / (1.0 + small))


def softmax(x: Array, axis: int) -> Array:
    """exp(x - max) / sum along an axis, in the precision of x; nan where all of x is minus infinity."""
    with np.errstate(invalid="ignore"):
        e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def float32(x: Array) -> Array:
    return np.asarray(x, np.float32)


def axis_of(axis: int, rank: int) -> int:
    """Return a non-negative axis; InferError when out of range."""
    expect(-rank <= axis < rank, f"axis {axis} outside rank {rank}")
    return axis % rank


def reduced_shape(x: TensorType, axes: tuple[int, ...], keepdims: bool) -> Shape:
    """Return the shape of x without some axes, or with 1 in their place; InferError when they repeat."""
    reduced = {axis_of(axis, x.rank) for axis in axes}
    expect(len(reduced) == len(axes) > 0, f"axes {axes} repeat or are empty")
    if keepdims:
        return tuple(1 if i in reduced else n for i, n in enumerate(x.shape))
    return tuple(n for i, n in enumerate(x.shape) if i not in reduced)


def expect_count(types: tuple[TensorType, ...], *counts: int) -> None:
    expect(len(types) in counts, f"takes {' or '.join(map(str, counts))} operands, got {len(types)}")


def expect_float(*types: TensorType) -> None:
    for t in types:
        expect(t.is_float, f"needs float operands, got {t}")


def expect_factor(name: str, multiplier: int, shift: int) -> None:
    """Raise InferError where multiplier * 2^-shift is not what `arith.requantise` takes."""
    fits = 1 << 15 <= multiplier < 1 << 16 and 1 <= shift <= SHIFT_MAX
    expect(fits, f"{name} {multiplier} >> {shift} out of range")


def broadcast(*types: TensorType) -> TensorType:
    """Return the type of a numpy broadcast of float operands."""
    expect_float(*types)
    return TensorType(np.broadcast_shapes(*(t.shape for t in types)), F32)


def accumulated(*types: TensorType) -> Elem:
    """Return what products of operands are kept in: int32 of int8 ones, float of floats; InferError for a mixture."""
    if all(t.elem == INT8 for t in types):
        return INT32
    expect_float(*types)
    return F32
