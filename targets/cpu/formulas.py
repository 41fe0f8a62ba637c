"""What CPUs compute in a way of their own: rescaling in float64, and functions by a micro-kernel for a whole row.

Integers are exact: a product that needs more than 32 bits is formed in float64, which holds it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgewright.passes.ir import Int, Node, Op
from edgewright.passes.ops import AddRequantised, Div, Gelu, Requantise
from edgewright.passes.ops.arith import ACCUMULATOR_LIMIT
from edgewright.passes.ops.scaling import IDENTITY
from edgewright.targets.lowering.formulas import FORMULAS, Formula, added, bounds, clip
from edgewright.targets.lowering.tir import Expr, T, cast, constant, tirx
from edgewright.targets.lowering.view import dtype_of


def rescaled(value: Expr, factor: Expr, zero_point: int, elem: Int) -> Expr:
    """Return `arith.requantise` with factor = multiplier * 2^-shift as float64, for |value| < 2^27: int32 lanes.

    value * factor has at most 43 significant bits above 2^-47, the sum with 1/2 at most 52: both are exact, so floor
    gives round_shift. Clipping before the conversion keeps it inside int32.
    """
    low, high = bounds(elem)
    rounded = T.floor(cast(value, "float64") * factor + constant(0.5, "float64"))
    inside = clip(rounded, constant(low - zero_point, "float64"), constant(high - zero_point, "float64"))
    exact = cast(inside, "int32")
    return exact + constant(zero_point, "int32") if zero_point else exact


def _requantise(node: Node, operands: Sequence[Expr]) -> Expr:
    op = node.op
    assert isinstance(op, Requantise)
    value, factor = operands
    return cast(rescaled(value, factor, op.zero_point, op.elem), dtype_of(op.elem))


def _add_requantised(node: Node, operands: Sequence[Expr]) -> Expr:
    def term(value: Expr, pair: tuple[int, int]) -> Expr:
        wide = cast(value, "int32")
        return wide if pair == IDENTITY else rescaled(wide, constant(math.ldexp(pair[0], -pair[1]), "float64"), 0, Int(16))

    return added(node, operands, term)


def _div(node: Node, operands: Sequence[Expr]) -> Expr:
    """Return a quotient; of integers `arith.quotient`.

    |b| < 2^28: the power of two above it fits int32. Its reciprocal's quotient is below 2^17 and differs from a whole number by
    2^-28 at least, so the division rounds down right; a times it has 48 bits, and the sum with 1/2 no more than 49.
    """
    op, (a, b) = node.op, operands
    assert isinstance(op, Div)
    if node.type.is_float:
        return a / b
    divisor = cast(b, "int32") + constant(op.offset, "int32")
    zero, one = constant(0, "int32"), constant(1, "int32")
    magnitude = T.max(T.max(divisor, zero - divisor), one)
    power = cast(T.shift_left(one, constant(32, "int32") - T.clz(magnitude)), "float64")
    reciprocal = T.floor(power * constant(2.0**15, "float64") / cast(magnitude, "float64"))
    factor = reciprocal * constant(math.ldexp(1.0, op.fraction - 15), "float64") / power
    signed = tirx.Select(divisor < zero, constant(0, "float64") - factor, factor)
    limit = constant(ACCUMULATOR_LIMIT - 1, "float64")
    whole = T.floor(cast(a, "float64") * signed + constant(0.5, "float64"))
    return cast(clip(whole, constant(0, "float64") - limit, limit), "int32")


_OWN: dict[type[Op], Formula] = {Requantise: _requantise, AddRequantised: _add_requantised, Div: _div}
# of the operators that a micro-kernel computes on a row in place: (dtype, kernel)
ROW_KERNELS: dict[str, tuple[str, str]] = {
    "Gelu": ("float32", "ew_gelu_f32"),
    "GeluTanh": ("float32", "ew_gelu_tanh_f32"),
    "Sigmoid": ("float32", "ew_sigmoid_f32"),
    "Silu": ("float32", "ew_silu_f32"),
    "Tanh": ("float32", "ew_tanh_f32"),
    "Erf": ("float32", "ew_erf_f32"),
    "Exp": ("float32", "ew_exp_f32"),
    "Table": ("int8", "ew_table_s8"),
}


def formula_of(op: Op) -> Formula:
    """Return the formula of an elementwise operator without a row kernel."""
    return _OWN.get(type(op)) or FORMULAS[type(op)]


def row_kernel(op: Op) -> tuple[str, str] | None:
    """Return (dtype, kernel) of an operator that works on rows in place; None for any other."""
    return ROW_KERNELS.get("GeluTanh" if isinstance(op, Gelu) and op.approximate == "tanh" else op.kind)
