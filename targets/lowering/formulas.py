"""What each elementwise operator computes for one element, as a TIR expression that vectorises.

What the machines compute in ways of their own is in `targets/cpu/formulas.py` and `targets/gpu/formulas.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from edgewright.passes import ops
from edgewright.passes.ir import Int, Node, Op
from edgewright.passes.ops.arith import limit
from edgewright.targets.lowering.function_formulas import FUNCTION_FORMULAS
from edgewright.targets.lowering.tir import Expr, T, cast, constant, tirx
from edgewright.targets.lowering.view import dtype_of

Formula = Callable[[Node, Sequence[Expr]], Expr]
Rescaled = Callable[[Expr, tuple[int, int]], Expr]
Let = Callable[[Expr], Expr]


def bounds(elem: Int) -> tuple[int, int]:
    """Return the least and the greatest value that `arith.saturate` gives."""
    return (-limit(elem), limit(elem)) if elem.signed else (0, elem.highest)


def clip(value: Expr, low: Expr, high: Expr) -> Expr:
    return T.min(T.max(value, low), high)


def added(node: Node, operands: Sequence[Expr], rescaled: Rescaled, let: Let = lambda value: value) -> Expr:
    """Return `arith.add_requantised` of two int16; rescaled(value, (multiplier, shift)): a term as int32, saturated to 16
    bits. let: computes a value once that is read several times."""
    op = node.op
    assert isinstance(op, ops.AddRequantised)
    a, b = (let(rescaled(value, pair)) for value, pair in zip(operands, op.pairs, strict=True))
    low, high = bounds(Int(16))
    return cast(clip(let(a - b if op.subtract else a + b), constant(low, "int32"), constant(high, "int32")), "int16")


def _quantise(node: Node, operands: Sequence[Expr]) -> Expr:
    """Return `arith.boundary`: the division is IEEE's, so the bits are numpy's."""
    op = node.op
    assert isinstance(op, ops.Quantise)
    low, high = (bound - op.zero_point for bound in bounds(op.elem))
    real = T.floor(cast(operands[0], "float64") / constant(op.scale, "float64") + constant(0.5, "float64"))
    exact = cast(clip(real, constant(low, "float64"), constant(high, "float64")), "int32")
    return cast(exact + constant(op.zero_point, "int32"), dtype_of(op.elem))


def _dequantise(node: Node, operands: Sequence[Expr]) -> Expr:
    op = node.op
    assert isinstance(op, ops.Dequantise)
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
    assert isinstance(op, ops.Clip)
    (x,) = operands
    if math.isfinite(op.low):
        x = T.max(x, constant(op.low if node.type.is_float else int(op.low), dtype))
    if math.isfinite(op.high):
        x = T.min(x, constant(op.high if node.type.is_float else int(op.high), dtype))
    return x


def _elementwise(node: Node, operands: Sequence[Expr]) -> Expr:
    assert isinstance(node.op, ops.Elementwise)
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
    ops.Clip: _clip,
    ops.Elementwise: _elementwise,
    ops.Max: _arithmetic(lambda a, b: T.max(a, b)),
    ops.Min: _arithmetic(lambda a, b: T.min(a, b)),
    ops.Add: _arithmetic(lambda a, b: a + b),
    ops.Sub: _arithmetic(lambda a, b: a - b),
    ops.Mul: _arithmetic(lambda a, b: a * b),
    ops.Neg: _arithmetic(lambda a: -a),
    ops.Sign: _arithmetic(_sign),
    ops.Sqrt: _arithmetic(lambda a: T.sqrt(a)),
    ops.Pow: _arithmetic(lambda a, b: T.pow(a, b)),
    ops.Reciprocal: _arithmetic(lambda a: constant(1, "float32") / a),
    ops.Relu: _relu,
    ops.HardSwish: _arithmetic(_hard_swish),
    ops.Where: _where,
    ops.Cast: lambda node, operands: cast(operands[0], "float32"),
    ops.Quantise: _quantise,
    ops.Dequantise: _dequantise,
}

RESCALING = frozenset({ops.Requantise, ops.AddRequantised, ops.Div})
"""Integers are computed in float64 on CPUs, and in int64 on GPUs."""
ROW_FUNCTIONS = frozenset({ops.Gelu, ops.Sigmoid, ops.Silu, ops.Tanh, ops.Erf, ops.Exp, ops.Table})
"""Computed by a micro-kernel for a whole row on CPUs, and by CUDA's own functions on GPUs."""
ELEMENTWISE = frozenset({*FORMULAS, *RESCALING, *ROW_FUNCTIONS})


def is_elementwise(op: Op) -> bool:
    """Return whether result and operands correspond element by element (with broadcasting)."""
    return type(op) in ELEMENTWISE
