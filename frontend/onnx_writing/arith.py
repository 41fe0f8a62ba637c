"""Write the functions of `passes.ops.arith` in standard ONNX operators, bit for bit.

Values are int64.  Products use MatMulInteger on uint8 with zero points of 128: int8 operands would meet
saturating instructions on x86 processors without VNNI.  An arithmetic right shift is (x - Mod(x, 2^s)) / 2^s, where
ONNX's Mod takes the divisor's sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from edgewright.frontend.onnx_writing.emit import Emitter
from edgewright.passes.ir import Array, Int, Node
from edgewright.passes.ops import arith, value_of

_TP = onnx.TensorProto
POWERS = 1 << np.arange(63, dtype=np.int64)


def shift_right(emit: Emitter, x: str, power: str) -> str:
    """Write x >> s for power = 2^s, rounding down."""
    return emit("Div", emit("Sub", x, emit("Mod", x, power, fmod=0)), power)


def round_shift(emit: Emitter, x: str, shift: Array | int) -> str:
    """Write arith.round_shift by constants."""
    shift = np.asarray(shift, np.int64)
    half = np.where(shift > 0, np.int64(1) << np.maximum(shift - 1, 0), 0)
    return shift_right(emit, emit("Add", x, emit.ints(half)), emit.ints(np.int64(1) << shift))


def round_shift_by(emit: Emitter, x: str, shift: str, extra: int) -> str:
    """Write arith.round_shift by shift + extra >= 1, where shift is a computed tensor."""
    half = emit("Gather", emit.ints(POWERS), emit("Add", shift, emit.ints(extra - 1)))
    power = emit("Add", half, half)
    return shift_right(emit, emit("Add", x, half), power)


def clip(emit: Emitter, x: str, low: int, high: int) -> str:
    """Write a clip by comparisons: onnxruntime 1.31's int64 Clip, Min, Max and ReduceMax are wrong beyond 2^31 on AVX-512."""
    below = emit("Where", emit("Greater", x, emit.ints(high)), emit.ints(high), x)
    return emit("Where", emit("Less", below, emit.ints(low)), emit.ints(low), below)


def saturate(emit: Emitter, x: str, elem: Int) -> str:
    """Write arith.saturate."""
    high = arith.limit(elem) if elem.signed else elem.highest
    return clip(emit, x, -high if elem.signed else 0, high)


def requantise(emit: Emitter, acc: str, multiplier: Array | int, shift: Array | int, zero_point: int, elem: Int) -> str:
    """Write arith.requantise by constants."""
    shifted = round_shift(emit, emit("Mul", acc, emit.ints(multiplier)), shift)
    return saturate(emit, emit("Add", shifted, emit.ints(zero_point)) if zero_point else shifted, elem)


def constant_of(node: Node, position: int) -> Array:
    """Return the operand at `position`, a constant, as int64."""
    value = value_of(node.inputs[position])
    if value is None:
        raise TypeError(f"operand {position} of {node.op.kind} {node.name} is not a constant")
    return value.astype(np.int64)


def biased(emit: Emitter, x: str) -> str:
    """Write int8 values as uint8 with zero point 128."""
    return emit.cast(emit("Add", x, emit.ints(128)), _TP.UINT8)


def product(emit: Emitter, a: str, b: str, a_zero: int, b_zero: int) -> str:
    """Write the product a b of uint8 tensors minus their zero points, as int64."""
    zeros = (emit.exact(np.asarray(zero, np.uint8)) for zero in (a_zero, b_zero))
    return emit.cast(emit("MatMulInteger", a, b, *zeros), _TP.INT64)


def bit_length(emit: Emitter, x: str, bits: int) -> str:
    """Write arith.bit_length of x (..., 1), 0 <= x < 2^bits: the number of powers of two that it reaches."""
    reached = emit("GreaterOrEqual", x, emit.ints(POWERS[:bits]))
    return emit.sum(emit.cast(reached, _TP.INT64), -1)


def spread(emit: Emitter, squares: str, total: str | None, width: int) -> str:
    """Write what arith.layer_normalise takes the root of, without epsilon; total: the sum of a row, None for 0."""
    n, t = emit.ints(width), arith.dropped_bits(width)
    if not t:
        whole = emit("Mul", n, squares)
        return whole if total is None else emit("Sub", whole, emit("Mul", total, total))
    power, rest, moved = emit.ints(1 << 2 * t), squares, None
    if total is not None:
        remainder = emit("Mod", total, n, fmod=0)
        quotient = emit("Div", emit("Sub", total, remainder), n)
        rest, moved = emit("Sub", squares, emit("Mul", quotient, total)), emit("Mul", remainder, total)
    low = emit("Mul", n, emit("Mod", rest, power, fmod=0))
    low = low if moved is None else emit("Sub", low, moved)
    return emit("Add", emit("Mul", n, shift_right(emit, rest, power)), shift_right(emit, low, power))


def inverse_square_root(emit: Emitter, v: str, bits: int) -> tuple[str, str]:
    """Write arith.inverse_square_root of v (..., 1) below 2^bits: (y, e)."""
    two = emit.ints(2)
    e = emit("Div", emit("Sub", bit_length(emit, v, bits), emit.ints(1)), two)
    exponents = 2 * np.arange((bits + 1) // 2, dtype=np.int64)
    up = emit("Gather", emit.ints(np.int64(1) << np.maximum(16 - exponents, 0)), e)
    down = emit("Gather", emit.ints(np.int64(1) << np.maximum(exponents - 16, 0)), e)
    m16 = emit("Div", emit("Mul", v, up), down)  # non-negative: Div rounds down
    y0 = emit("Gather", emit.ints(arith.RSQRT_TABLE), emit("Div", m16, emit.ints(1 << 10)))
    q0 = emit("Div", emit("Mul", y0, y0), emit.ints(1 << 14))
    t = emit("Sub", emit.ints(3 << 16), emit("Div", emit("Mul", m16, q0), emit.ints(1 << 16)))
    return round_shift(emit, emit("Mul", y0, t), 16), e


def power_of_two(emit: Emitter, u: str) -> str:
    """Write 2^15 2^-(u / 256) for u in [0, 4095], rounding down."""
    step = emit("Gather", emit.ints(arith.EXP2_TABLE), emit("Mod", u, emit.ints(256), fmod=0))
    octave = emit("Gather", emit.ints(POWERS[:16]), emit("Div", u, emit.ints(256)))
    return emit("Div", step, octave)


def normalised(emit: Emitter, acc: str, total: str) -> str:
    """Write arith.attention_normalise: acc / total with 8 fractional bits, total in [1, 2^40)."""
    return _divided(emit, acc, total, 40, 7)


def _divided(emit: Emitter, x: str, total: str, bits: int, extra: int) -> str:
    """Write x times a reciprocal of total (..., 1) below 2^bits, shifted right by bit_length(total) + extra."""
    n = bit_length(emit, total, bits)
    reciprocal = emit("Div", emit("Gather", emit.ints(POWERS), emit("Add", n, emit.ints(15))), total)
    return round_shift_by(emit, emit("Mul", x, reciprocal), n, extra)


def quotient(emit: Emitter, a: str, b: str, shape: Sequence[int], fraction: int) -> str:
    """Write arith.quotient; shape: that of b."""
    zero, one, below = emit.ints(0), emit.ints(1), emit("Less", b, emit.ints(0))
    positive = emit("Where", below, emit("Sub", zero, b), b)
    magnitude = emit("Where", emit("Less", positive, one), one, positive)
    n = emit.reshape(bit_length(emit, emit.reshape(magnitude, (*shape, 1)), 29), shape)
    reciprocal = emit("Div", emit("Gather", emit.ints(POWERS), emit("Add", n, emit.ints(15))), magnitude)
    product = emit("Mul", emit("Where", below, emit("Sub", zero, a), a), reciprocal)
    shifts = np.arange(29) + 15 - fraction  # by n
    left, right = (emit.ints(np.int64(1) << np.maximum(x, 0)) for x in (-shifts, shifts))
    product = emit("Mul", product, emit("Gather", left, n))
    half = emit("Gather", emit.ints((np.int64(1) << np.maximum(shifts, 0)) >> 1), n)
    whole = shift_right(emit, emit("Add", product, half), emit("Gather", right, n))
    return clip(emit, whole, 1 - arith.ACCUMULATOR_LIMIT, arith.ACCUMULATOR_LIMIT - 1)


def exponentials(emit: Emitter, x: str, multiplier: int, shift: int) -> str:
    """Write arith.exponentials over the last axis, in [0, 2^15]."""
    d = emit("Sub", emit("ReduceMax", x, emit.ints([-1]), keepdims=1), x)
    rounded = round_shift(emit, emit("Mul", d, emit.ints(multiplier)), shift)
    u = clip(emit, rounded, 0, 16 * arith.EXPONENT_STEPS - 1)
    return power_of_two(emit, u)


def softmax_last(emit: Emitter, x: str, multiplier: int, shift: int) -> str:
    """Write arith.softmax over the last axis."""
    e = exponentials(emit, x, multiplier, shift)
    return saturate(emit, _divided(emit, e, emit.sum(e, -1), 32, 0), Int(16))
