"""Readers of operators that compute: elementwise, products, norms, softmax, reductions."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.forbidden import forbidden_rows
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node, Op
from edgewright.passes.ops import (
    Add,
    Clip,
    Div,
    Elementwise,
    Erf,
    Exp,
    Gelu,
    HardSwish,
    Linear,
    MatMul,
    Max,
    Min,
    Mul,
    Neg,
    Pow,
    Reciprocal,
    Relu,
    Sigmoid,
    Sign,
    Silu,
    Softmax,
    Sqrt,
    Sub,
    Tanh,
    Where,
    scalar_of,
    value_of,
)
from edgewright.passes.ops.elementwise import FUNCTIONS

_UNARY: dict[str, Op] = {
    "Erf": Erf(),
    "Exp": Exp(),
    "HardSwish": HardSwish(),
    "Neg": Neg(),
    "Reciprocal": Reciprocal(),
    "Relu": Relu(),
    "Sigmoid": Sigmoid(),
    "Sign": Sign(),
    "Sqrt": Sqrt(),
    "Tanh": Tanh(),
}
_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_BINARY: dict[str, Op] = {"Add": Add(), "Div": Div(), "Mul": Mul(), "Pow": Pow(), "Sub": Sub()}


@reads(*_UNARY)
def read_unary(site: Site) -> Results:
    """One operand, no attributes."""
    return site.make(_UNARY[site.node.op_type], site.input(0))


@reads(*_BINARY)
def read_binary(site: Site) -> Results:
    """Two operands, broadcast; an integer exponent becomes a float one."""
    a, b = site.input(0), site.input(1)
    exponent = value_of(b)
    if site.node.op_type == "Pow" and exponent is not None and exponent.dtype.kind in "iu":
        b = site.value(exponent.astype(np.float32))
    return site.make(_BINARY[site.node.op_type], a, b)


@reads("Gelu")
def read_gelu(site: Site) -> Results:
    """Opset 20 and later."""
    return site.make(Gelu(site.text("approximate", "none")), site.input(0))


@reads("Swish")
def read_swish(site: Site) -> Results:
    """x sigmoid(alpha x)."""
    x, alpha = site.input(0), site.real("alpha", 1.0)
    if alpha == 1.0:
        return site.make(Silu(), x)
    return site.make(Mul(), x, site.make(Sigmoid(), site.make(Mul(), x, site.scalar(alpha))))


def clipped(site: Site, x: Node, low: float, high: float) -> Node:
    """x between two bounds, as Relu where that is what they mean; infinite bounds are none.

    The largest float as upper bound is how exporters write none; as lower bound it replaces minus infinity in masks.
    """
    high = math.inf if high >= _LARGEST_FLOAT else high
    if not (low < math.inf and high > -math.inf):
        raise Unsupported(f"its bounds {low} and {high} leave no finite value")
    if (low, high) == (0.0, math.inf):
        return site.make(Relu(), x)
    return x if (low, high) == (-math.inf, math.inf) else site.make(Clip(low, high), x)


@reads("Clip")
def read_clip(site: Site) -> Results:
    """Scalar bounds, either may be missing or computed."""
    x = site.input(0)
    if not x.type.is_float:
        raise Unsupported("it clips integers that are computed at run time")
    given = [site.input(i) if site.has(i) else None for i in (1, 2)]
    values = [None if node is None else value_of(node) for node in given]
    if all(node is None or value is not None for node, value in zip(given, values, strict=True)):
        low, high = (d if v is None else float(v.reshape(())) for v, d in zip(values, (-math.inf, math.inf), strict=True))
        return clipped(site, x, low, high)
    for op, bound in zip((Max(), Min()), given, strict=True):
        x = x if bound is None else site.make(op, x, site.reshape(bound, ()))
    return x


@reads("Max", "Min")
def read_extreme(site: Site) -> Results:
    """The largest or smallest of any number of values; beside a number it is a Clip."""
    largest = site.node.op_type == "Max"
    if any(operand is not None and not operand.type.is_float for operand in site.operands):
        raise Unsupported("it compares integers that are computed at run time")
    result = site.input(0)
    for i in range(1, len(site.operands)):
        operand = site.input(i)
        for x, bound in ((result, scalar_of(operand)), (operand, scalar_of(result))):
            if bound is not None and len(x.shape) >= len(operand.shape if x is result else result.shape):
                result = clipped(site, x, *((bound, math.inf) if largest else (-math.inf, bound)))
                break
        else:
            result = site.make(Max() if largest else Min(), result, operand)
    return result


@reads(*FUNCTIONS)
def read_elementwise(site: Site) -> Results:
    """A function of one value that has a formula and nothing else."""
    name = site.node.op_type
    parameters = FUNCTIONS[name].parameters
    return site.make(Elementwise(name, tuple(site.real(p, default) for p, default in parameters.items())), site.input(0))


@reads("PRelu")
def read_prelu(site: Site) -> Results:
    """relu(x) - slope relu(-x); one slope is a LeakyRelu."""
    x, slope = site.input(0), site.input(1)
    one = scalar_of(slope)
    if one is not None and len(slope.shape) <= len(x.shape):
        return site.make(Elementwise("LeakyRelu", (one,)), x)
    below = site.make(Mul(), site.make(Clip(-math.inf, 0.0), x), slope)
    return site.make(Add(), site.make(Relu(), x), below)


@reads("MatMul")
def read_matmul(site: Site) -> Results:
    """Vectors become matrices around the product."""
    a, b = site.input(0), site.input(1)
    if len(a.shape) < 1 or len(b.shape) < 1:
        raise Unsupported("a scalar operand")
    left = site.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
    right = site.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
    product = site.make(MatMul(), left, right)
    *lead, rows, columns = product.shape
    kept = ([] if len(a.shape) == 1 else [rows]) + ([] if len(b.shape) == 1 else [columns])
    return site.reshape(product, (*lead, *kept))


@reads("Gemm")
def read_gemm(site: Site) -> Results:
    """alpha A B + beta C; a Linear when B and C are weights."""
    a, b = site.input(0), site.input(1)
    if len(a.shape) != 2 or len(b.shape) != 2:
        raise Unsupported(f"its operands {a.shape} and {b.shape} are not matrices")
    alpha, beta = site.real("alpha", 1.0), site.real("beta", 1.0)
    a = site.transpose(a, 1, 0) if site.integer("transA", 0) else a
    weight = value_of(b)
    bias = np.zeros(()) if not site.has(2) else value_of(site.input(2))
    if weight is not None and bias is not None and bias.size in (1, bias.shape[-1] if bias.ndim else 1):
        rows = weight if site.integer("transB", 0) else weight.T
        flat = np.broadcast_to(np.asarray(bias, np.float64).reshape(-1), (rows.shape[0],))
        return site.make(Linear(), a, site.value(rows * np.float32(alpha)), site.value(flat * beta))
    product = site.make(MatMul(), a, site.transpose(b, 1, 0) if site.integer("transB", 0) else b)
    product = product if alpha == 1 else site.make(Mul(), product, site.scalar(alpha))
    if not site.has(2):
        return product
    added = site.input(2) if beta == 1 else site.make(Mul(), site.input(2), site.scalar(beta))
    return site.make(Add(), product, added)


@reads("Softmax")
def read_softmax(site: Site) -> Results:
    """Before opset 13 all axes from `axis` on are one: the same only where the others are 1 long."""
    x = site.input(0)
    rank = len(x.shape)
    axis = site.axis(site.integer("axis", 1 if site.opset < 13 else -1), rank)
    if site.opset < 13:
        long = [i for i in range(axis, rank) if x.shape[i] > 1]
        if len(long) > 1:
            raise Unsupported(f"before opset 13 it runs over all of {x.shape[axis:]}", "export at opset 13 or later")
        axis = long[0] if long else axis
    return site.make(Softmax(axis - rank if axis == rank - 1 else axis), x)


@reads("IsNaN")
def read_is_nan(site: Site) -> Results:
    """Only as the guard Where(IsNaN(p), 0, p) that exporters put behind a softmax: it stands for p itself."""
    (result,) = site.node.outputs
    guards = [use.node for use in result.uses()]
    if result.is_graph_output() or not all(_is_guard(guard, site.node) for guard in guards):
        raise Unsupported("only Where(IsNaN(x), constant, x) is read")
    return site.input(0)


def _is_guard(node: ir.Node, test: ir.Node) -> bool:
    chosen = node.op_type == "Where" and node.inputs[0] is test.outputs[0] and node.inputs[2] is test.inputs[0]
    return chosen and node.inputs[1] is not None and node.inputs[1].const_value is not None


@reads("Where")
def read_where(site: Site) -> Results:
    """The guard of `read_is_nan` stands for what it guards, except in rows of a softmax that constants forbid entirely."""
    producer = site.node.inputs[0].producer() if site.node.inputs[0] is not None else None
    if producer is not None and producer.op_type == "IsNaN" and _is_guard(site.node, producer):
        guarded = site.input(2)
        empty = forbidden_rows(guarded)
        return guarded if not empty.any() else site.make(Where(), site.value(empty), site.input(1), guarded)
    condition, a, b = (site.input(i) for i in range(3))
    if isinstance(condition.op, Where):  # a choice by a choice between two numbers
        inner, one, zero = condition.inputs
        numbers = [scalar_of(one), scalar_of(zero)]
        if numbers in ([1.0, 0.0], [0.0, 1.0]) and condition.shape == inner.shape:
            condition, a, b = (inner, a, b) if numbers[0] else (inner, b, a)
    return site.make(Where(), condition, a, b)
