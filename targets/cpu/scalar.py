"""What each elementwise operator computes for one element, as a TIR expression that vectorises.

Integers are exact: where a product needs more than 32 bits it is formed in float64, which holds it exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Int
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    Cast,
    Clip,
    Dequantise,
    Div,
    Elementwise,
    HardSwish,
    Max,
    Min,
    Mul,
    Neg,
    Pow,
    Quantise,
    Reciprocal,
    Relu,
    Requantise,
    Sign,
    Sqrt,
    Sub,
    Where,
)
from edgewright.passes.ops.add_requantised import IDENTITY
from edgewright.passes.ops.arith import limit
from edgewright.targets.cpu.scalar_functions import FUNCTION_FORMULAS
from edgewright.targets.cpu.tir import Expr, cast, constant, tirx
from edgewright.targets.cpu.view import dtype_of
from tvm.tirx.script import builder as T

Formula = Callable[[Node, Sequence[Expr]], Expr]


def formula_of(op: Op) -> Formula | None:
    """The formula of an elementwise operator; None for any other."""
    return FORMULAS.get(type(op))


def bounds(elem: Int) -> tuple[int, int]:
    """What `arith.saturate` clips to."""
    return (-limit(elem), limit(elem)) if elem.signed else (0, elem.highest)


def clip(value: Expr, low: Expr, high: Expr) -> Expr:
    return T.min(T.max(value, low), high)


def rescaled(value: Expr, factor: Expr, zero_point: int, elem: Int) -> Expr:
    """`arith.requantise` with factor = multiplier * 2^-shift as float64, for |value| < 2^27: int32 lanes.

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
    op = node.op
    assert isinstance(op, AddRequantised)
    terms = []
    for value, pair in zip(operands, ((op.multiplier_a, op.shift_a), (op.multiplier_b, op.shift_b)), strict=True):
        wide = cast(value, "int32")
        if pair != IDENTITY:
            factor = constant(math.ldexp(pair[0], -pair[1]), "float64")
            wide = rescaled(wide, factor, 0, Int(16))
        terms.append(wide)
    low, high = bounds(Int(16))
    total = terms[0] - terms[1] if op.subtract else terms[0] + terms[1]
    return cast(clip(total, constant(low, "int32"), constant(high, "int32")), "int16")


def _quantise(node: Node, operands: Sequence[Expr]) -> Expr:
    """`arith.boundary`: the division is IEEE's, so the bits are numpy's."""
    op = node.op
    assert isinstance(op, Quantise)
    low, high = (bound - op.zero_point for bound in bounds(op.elem))
    real = T.floor(cast(operands[0], "float64") / constant(op.scale, "float64") + constant(0.5, "float64"))
    exact = cast(clip(real, constant(low, "float64"), constant(high, "float64")), "int32")
    return cast(exact + constant(op.zero_point, "int32"), dtype_of(op.elem))


def _dequantise(node: Node, operands: Sequence[Expr]) -> Expr:
    op = node.op
    assert isinstance(op, Dequantise)
    whole = cast(cast(operands[0], "int32") - constant(op.zero_point, "int32"), "float64")
    return cast(whole * constant(op.scale, "float64"), "float32")


def _arithmetic(function: Callable[..., Expr]) -> Formula:
    def formula(node: Node, operands: Sequence[Expr]) -> Expr:
        if isinstance(node.elem, Int):
            operands = [cast(x, dtype_of(node.elem)) for x in operands]
        return function(*operands)

    return formula


def _relu(node: Node, operands: Sequence[Expr]) -> Expr:
    return T.max(operands[0], constant(0, dtype_of(node.elem)))


def _clip(node: Node, operands: Sequence[Expr]) -> Expr:
    op, dtype = node.op, dtype_of(node.elem)
    assert isinstance(op, Clip)
    (x,) = operands
    if math.isfinite(op.low):
        x = T.max(x, constant(op.low if node.type.is_float else int(op.low), dtype))
    if math.isfinite(op.high):
        x = T.min(x, constant(op.high if node.type.is_float else int(op.high), dtype))
    return x


def _elementwise(node: Node, operands: Sequence[Expr]) -> Expr:
    assert isinstance(node.op, Elementwise)
    return FUNCTION_FORMULAS[node.op.function](operands[0], *(constant(p, "float32") for p in node.op.parameters))


def _where(node: Node, operands: Sequence[Expr]) -> Expr:
    condition, a, b = operands
    return tirx.Select(condition != constant(0, dtype_of(node.inputs[0].elem)), a, b)


def _hard_swish(x: Expr) -> Expr:
    gate = clip(x * constant(1 / 6, "float32") + constant(0.5, "float32"), constant(0, "float32"), constant(1, "float32"))
    return x * gate


def _sign(x: Expr) -> Expr:
    zero, one = constant(0, "float32"), constant(1, "float32")
    return tirx.Select(x > zero, one, tirx.Select(x < zero, zero - one, zero))


FORMULAS: dict[type[Op], Formula] = {
    Clip: _clip,
    Elementwise: _elementwise,
    Max: _arithmetic(lambda a, b: T.max(a, b)),
    Min: _arithmetic(lambda a, b: T.min(a, b)),
    Add: _arithmetic(lambda a, b: a + b),
    Sub: _arithmetic(lambda a, b: a - b),
    Mul: _arithmetic(lambda a, b: a * b),
    Div: _arithmetic(lambda a, b: a / b),
    Neg: _arithmetic(lambda a: -a),
    Sign: _arithmetic(_sign),
    Sqrt: _arithmetic(lambda a: T.sqrt(a)),
    Pow: _arithmetic(lambda a, b: T.pow(a, b)),
    Reciprocal: _arithmetic(lambda a: constant(1, "float32") / a),
    Relu: _relu,
    HardSwish: _arithmetic(_hard_swish),
    Where: _where,
    Cast: lambda node, operands: cast(operands[0], "float32"),
    Requantise: _requantise,
    AddRequantised: _add_requantised,
    Quantise: _quantise,
    Dequantise: _dequantise,
}

# Elementwise operators that a micro-kernel computes in place on a row: (dtype, kernel).
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


def row_kernel(op: Op) -> tuple[str, str] | None:
    """(dtype, kernel) of an operator that works on rows in place; None for any other."""
    kind = op.kind
    if kind == "Gelu" and getattr(op, "approximate", "none") == "tanh":
        kind = "GeluTanh"
    return ROW_KERNELS.get(kind)


def is_elementwise(op: Op) -> bool:
    """Whether result and operands correspond element by element (with broadcasting)."""
    return type(op) in FORMULAS or row_kernel(op) is not None
