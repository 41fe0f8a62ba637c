"""What GPUs compute in a way of their own: rescaling in int64, and functions by those of CUDA.

Integers are exact in int64: factors are (multiplier, shift) pairs, since float64 is slow on every Jetson.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgewright.passes.ir import Int, Node, Op
from edgewright.passes.ops import AddRequantised, Div, Erf, Exp, Gelu, Requantise, Sigmoid, Silu, Tanh
from edgewright.passes.ops.arith import ACCUMULATOR_LIMIT
from edgewright.passes.ops.scaling import IDENTITY
from edgewright.targets.gpu.tir import bit_length, let, shift_right
from edgewright.targets.lowering.formulas import FORMULAS, Formula, added, bounds, clip
from edgewright.targets.lowering.tir import Expr, T, cast, constant, tirx
from edgewright.targets.lowering.view import dtype_of


def f32(value: float) -> Expr:
    return constant(value, "float32")


def rounded(product: Expr, shift: Expr) -> Expr:
    """Return `arith.round_shift` of an int64 by 1 or more."""
    half = T.shift_left(constant(1, "int64"), shift - 1)
    return shift_right(product + half, shift)


def rescaled(value: Expr, multiplier: Expr, shift: Expr, zero_point: int, elem: Int) -> Expr:
    """Return `arith.requantise` as int32; |value * multiplier| < 2^62."""
    low, high = bounds(elem)
    whole = rounded(cast(value, "int64") * cast(multiplier, "int64"), cast(shift, "int64"))
    if zero_point:
        whole = whole + constant(zero_point, "int64")
    return cast(clip(let(whole), constant(low, "int64"), constant(high, "int64")), "int32")


def _requantise(node: Node, operands: Sequence[Expr]) -> Expr:
    op = node.op
    assert isinstance(op, Requantise)
    value, multiplier, shift = operands
    return cast(rescaled(value, multiplier, shift, op.zero_point, op.elem), dtype_of(op.elem))


def _add_requantised(node: Node, operands: Sequence[Expr]) -> Expr:
    def term(value: Expr, pair: tuple[int, int]) -> Expr:
        if pair == IDENTITY:  # saturation alone, which -32768 needs
            low, high = bounds(Int(16))
            return clip(cast(value, "int32"), constant(low, "int32"), constant(high, "int32"))
        return rescaled(value, constant(pair[0], "int64"), constant(pair[1], "int64"), 0, Int(16))

    return added(node, operands, term, let)


def _div(node: Node, operands: Sequence[Expr]) -> Expr:
    """Return a quotient; of integers `arith.quotient`."""
    op, (a, b) = node.op, operands
    assert isinstance(op, Div)
    if node.type.is_float:
        return a / b
    zero = constant(0, "int64")
    divisor = let(cast(b, "int64") + constant(op.offset, "int64"))
    magnitude = let(T.max(T.max(divisor, zero - divisor), constant(1, "int64")))
    bits = let(bit_length(magnitude))
    reciprocal = T.truncdiv(T.shift_left(constant(1, "int64"), bits + constant(15, "int64")), magnitude)
    product = cast(a, "int64") * reciprocal
    signed = let(tirx.Select(divisor < zero, zero - product, product))
    shift = let(bits + constant(15 - op.fraction, "int64"))
    right = T.max(shift, zero)
    half = shift_right(T.shift_left(constant(1, "int64"), right), 1)
    left = T.shift_left(constant(1, "int64"), T.max(zero - shift, zero))
    whole = shift_right(signed * left + half, right)
    limit = constant(ACCUMULATOR_LIMIT - 1, "int64")
    return cast(clip(let(whole), zero - limit, limit), "int32")


def _gelu(node: Node, operands: Sequence[Expr]) -> Expr:
    op = node.op
    assert isinstance(op, Gelu)
    (x,) = operands
    half = f32(0.5) * x
    if op.approximate == "tanh":
        return half * (f32(1) + T.tanh(f32(math.sqrt(2 / math.pi)) * (x + f32(0.044715) * x * x * x)))
    return half * (f32(1) + T.erf(x * f32(math.sqrt(0.5))))


def _sigmoid(x: Expr) -> Expr:
    return f32(1) / (f32(1) + T.exp(f32(0) - x))  # exp overflows to infinity, whose reciprocal is the limit


_OWN: dict[type[Op], Formula] = {
    Div: _div,
    Requantise: _requantise,
    AddRequantised: _add_requantised,
    Gelu: _gelu,
    Sigmoid: lambda node, x: _sigmoid(x[0]),
    Silu: lambda node, x: x[0] * _sigmoid(x[0]),
    Tanh: lambda node, x: T.tanh(x[0]),
    Erf: lambda node, x: T.erf(x[0]),
    Exp: lambda node, x: T.exp(x[0]),
}


def formula_of(op: Op) -> Formula:
    """Return the formula of an elementwise operator other than Table, which reads memory."""
    return _OWN.get(type(op)) or FORMULAS[type(op)]
