"""Readers of operators that compute: elementwise operators, products and softmax."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.masked_rows import masked_rows
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads, require_floats
from edgewright.passes import ops
from edgewright.passes.ir import Node, Op
from edgewright.passes.ops import scalar_of, value_of
from edgewright.passes.ops.elementwise import FUNCTIONS

_UNARY: dict[str, Op] = {
    op.kind: op
    for op in (
        *(ops.Erf(), ops.Exp(), ops.HardSwish(), ops.Neg(), ops.Reciprocal()),
        *(ops.Relu(), ops.Sigmoid(), ops.Sign(), ops.Sqrt(), ops.Tanh()),
    )
}
_BINARY: dict[str, Op] = {op.kind: op for op in (ops.Add(), ops.Div(), ops.Mul(), ops.Pow(), ops.Sub())}
LINEAR_FROM = 17.0  # log(1 + e^x) is x there to half a unit in float32's last place
_LARGEST_FLOAT = float(np.finfo(np.float32).max)


@reads(*_UNARY)
def read_unary(site: Site) -> Results:
    """Read an operator of one operand without attributes."""
    return site.make(_UNARY[site.node.op_type], site.input(0))


@reads(*_BINARY)
def read_binary(site: Site) -> Results:
    """Read an operator of two broadcast operands; an integer exponent becomes a float."""
    a, b = site.input(0), site.input(1)
    exponent = value_of(b)
    if site.node.op_type == "Pow" and exponent is not None and exponent.dtype.kind in "iu":
        b = site.value(exponent.astype(np.float32))
    return site.make(_BINARY[site.node.op_type], a, b)


@reads("Gelu")
def read_gelu(site: Site) -> Results:
    """Read Gelu, of opset 20 and later."""
    return site.make(ops.Gelu(site.text("approximate", "none")), site.input(0))


@reads("Swish")
def read_swish(site: Site) -> Results:
    """Read x sigmoid(alpha x)."""
    x, alpha = site.input(0), site.real("alpha", 1.0)
    if alpha == 1.0:
        return site.make(ops.Silu(), x)
    return site.make(ops.Mul(), x, site.make(ops.Sigmoid(), site.make(ops.Mul(), x, site.scalar(alpha))))


def clipped(site: Site, x: Node, low: float, high: float) -> Node:
    """Return x clipped to two bounds, which are omitted if infinite; a Relu if that is what they mean.

    Exporters write the largest float for a missing upper bound; as lower bound it replaces minus infinity in masks.
    """
    high = math.inf if high >= _LARGEST_FLOAT else high
    if not (low < math.inf and high > -math.inf):
        raise Unsupported(f"its bounds {low} and {high} leave no finite value")
    if (low, high) == (0.0, math.inf):
        return site.make(ops.Relu(), x)
    return x if (low, high) == (-math.inf, math.inf) else site.make(ops.Clip(low, high), x)


@reads("Clip")
def read_clip(site: Site) -> Results:
    """Read Clip with scalar bounds, either of which may be missing or computed."""
    x = site.input(0)
    require_floats("clips", x)
    bounds = [site.input(i) if site.has(i) else None for i in (1, 2)]
    values = [None if node is None else value_of(node) for node in bounds]
    if all(node is None or value is not None for node, value in zip(bounds, values, strict=True)):
        low, high = (d if v is None else float(v.reshape(())) for v, d in zip(values, (-math.inf, math.inf), strict=True))
        return clipped(site, x, low, high)
    for op, bound in zip((ops.Max(), ops.Min()), bounds, strict=True):
        x = x if bound is None else site.make(op, x, site.reshape(bound, ()))
    return x


@reads("Max", "Min")
def read_extreme(site: Site) -> Results:
    """Read the largest or smallest of any number of values; with a number it is a Clip."""
    operands = [site.input(i) for i in range(len(site.operands))]
    require_floats("compares", *operands)
    largest, result = site.node.op_type == "Max", operands[0]
    for operand in operands[1:]:
        for x, bound in ((result, scalar_of(operand)), (operand, scalar_of(result))):
            if bound is not None and len(x.shape) >= len(operand.shape if x is result else result.shape):
                result = clipped(site, x, *((bound, math.inf) if largest else (-math.inf, bound)))
                break
        else:
            result = site.make(ops.Max() if largest else ops.Min(), result, operand)
    return result


@reads(*FUNCTIONS)
def read_elementwise(site: Site) -> Results:
    """Read a function of one value that is only a formula."""
    name = site.node.op_type
    parameters = FUNCTIONS[name].parameters
    return site.make(ops.Elementwise(name, tuple(site.real(p, default) for p, default in parameters.items())), site.input(0))


@reads("PRelu")
def read_prelu(site: Site) -> Results:
    """Read relu(x) - slope relu(-x); with a scalar slope it is a LeakyRelu."""
    x, slope = site.input(0), site.input(1)
    scalar = scalar_of(slope)
    if scalar is not None and len(slope.shape) <= len(x.shape):
        return site.make(ops.Elementwise("LeakyRelu", (scalar,)), x)
    below = site.make(ops.Mul(), site.make(ops.Clip(-math.inf, 0.0), x), slope)
    return site.make(ops.Add(), site.make(ops.Relu(), x), below)


@reads("MatMul")
def read_matmul(site: Site) -> Results:
    """Read MatMul; a vector becomes a matrix for the product, and its axis is removed from the result."""
    a, b = site.input(0), site.input(1)
    if len(a.shape) < 1 or len(b.shape) < 1:
        raise Unsupported("a scalar operand")
    left = site.reshape(a, (1, *a.shape)) if len(a.shape) == 1 else a
    right = site.reshape(b, (*b.shape, 1)) if len(b.shape) == 1 else b
    product = site.make(ops.MatMul(), left, right)
    *lead, rows, columns = product.shape
    last = ([] if len(a.shape) == 1 else [rows]) + ([] if len(b.shape) == 1 else [columns])
    return site.reshape(product, (*lead, *last))


@reads("Gemm")
def read_gemm(site: Site) -> Results:
    """Read alpha A B + beta C; it is a Linear if B and C are weights."""
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
        return site.make(ops.Linear(), a, site.value(rows * np.float32(alpha)), site.value(flat * beta))
    product = site.make(ops.MatMul(), a, site.transpose(b, 1, 0) if site.integer("transB", 0) else b)
    product = product if alpha == 1 else site.make(ops.Mul(), product, site.scalar(alpha))
    if not site.has(2):
        return product
    added = site.input(2) if beta == 1 else site.make(ops.Mul(), site.input(2), site.scalar(beta))
    return site.make(ops.Add(), product, added)


@reads("Softmax")
def read_softmax(site: Site) -> Results:
    """Read Softmax. Before opset 13 it spans all axes from `axis` on, which is read if only one of them is longer than 1."""
    x = site.input(0)
    rank, axis = len(x.shape), softmax_axis(site)
    return site.make(ops.Softmax(axis - rank if axis == rank - 1 else axis), x)


def softmax_axis(site: Site) -> int:
    """Return the axis of a Softmax or LogSoftmax."""
    x = site.input(0)
    rank = len(x.shape)
    axis = site.axis(site.integer("axis", 1 if site.opset < 13 else -1), rank)
    if site.opset < 13:
        long = [i for i in range(axis, rank) if x.shape[i] > 1]
        if len(long) > 1:
            raise Unsupported(f"before opset 13 it spans all of {x.shape[axis:]}", "export at opset 13 or later")
        axis = long[0] if long else axis
    return axis


@reads("IsNaN")
def read_is_nan(site: Site) -> Results:
    """Read IsNaN only in the guard Where(IsNaN(p), 0, p) that exporters add after a softmax: the result is p itself."""
    (result,) = site.node.outputs
    guards = [use.node for use in result.uses()]
    if result.is_graph_output() or not all(_is_guard(guard, site.node) for guard in guards):
        raise Unsupported("only Where(IsNaN(x), constant, x) is read")
    return site.input(0)


def _is_guard(node: ir.Node, test: ir.Node) -> bool:
    chosen = node.op_type == "Where" and node.inputs[0] is test.outputs[0] and node.inputs[2] is test.inputs[0]
    return chosen and node.inputs[1] is not None and node.inputs[1].const_value is not None


@reads("Greater")
def read_greater(site: Site) -> Results:
    """Read Greater only in Where(x > c, x, Softplus(x)), as exporters write it against overflow: ours does not overflow, and
    from LINEAR_FROM on it gives x itself in float32."""
    (result,) = site.node.outputs
    bound = scalar_of(site.input(1))
    if result.is_graph_output() or not all(_is_linear_end(use.node, site.node) for use in result.uses()):
        raise Unsupported("of comparisons of computed values, only that of Where(x > c, x, Softplus(x)) is read")
    if bound is None or bound < LINEAR_FROM:
        raise Unsupported(f"Softplus(x) is not x from {'a computed bound' if bound is None else bound} on")
    return site.input(0)


def _is_linear_end(node: ir.Node, test: ir.Node) -> bool:
    if node.op_type != "Where" or node.inputs[0] is not test.outputs[0] or node.inputs[1] is not test.inputs[0]:
        return False
    curved = node.inputs[2].producer() if node.inputs[2] is not None else None
    return curved is not None and curved.op_type == "Softplus" and curved.inputs[0] is test.inputs[0]


@reads("Where")
def read_where(site: Site) -> Results:
    """Read Where. The guard of `read_is_nan` is replaced by what it guards, except in rows of a softmax that are masked."""
    producer = site.node.inputs[0].producer() if site.node.inputs[0] is not None else None
    if producer is not None and producer.op_type == "IsNaN" and _is_guard(site.node, producer):
        guarded = site.input(2)
        masked = masked_rows(guarded)
        return guarded if not masked.any() else site.make(ops.Where(), site.value(masked), site.input(1), guarded)
    if producer is not None and producer.op_type == "Greater" and _is_linear_end(site.node, producer):
        return site.input(2)
    condition, a, b = (site.input(i) for i in range(3))
    if isinstance(condition.op, ops.Where):  # whose condition is a choice between two numbers
        inner, *choices = condition.inputs
        numbers = [scalar_of(choice) for choice in choices]
        if numbers in ([1.0, 0.0], [0.0, 1.0]) and condition.shape == inner.shape:
            condition, a, b = (inner, a, b) if numbers[0] else (inner, b, a)
    return site.make(ops.Where(), condition, a, b)
