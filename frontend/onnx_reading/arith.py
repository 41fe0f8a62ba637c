"""Readers of operators that compute: elementwise, products, norms, softmax, reductions."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir
from edgewright.frontend.canonical.fuse import scalar_of
from edgewright.frontend.onnx_reading.bits import LOWEST
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node, Op
from edgewright.passes.ops import (
    Add,
    BatchNormalization,
    Clip,
    Conv,
    Div,
    Elementwise,
    Erf,
    Exp,
    Gelu,
    HardSwish,
    LayerNormalization,
    Linear,
    MatMul,
    Max,
    Min,
    Mul,
    Neg,
    Pow,
    Reciprocal,
    ReduceMean,
    Relu,
    RMSNormalization,
    Sigmoid,
    Sign,
    Silu,
    Softmax,
    Sqrt,
    Sub,
    Tanh,
    Where,
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


@reads("Conv")
def read_conv(site: Site) -> Results:
    """Two-dimensional, explicit or automatic padding."""
    x, w = site.input(0), site.input(1)
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise Unsupported(f"only two-dimensional convolutions are read, not {len(w.shape) - 2}-dimensional ones")
    strides = site.ints("strides") or (1, 1)
    dilations = site.ints("dilations") or (1, 1)
    pads = site.ints("pads") or (0, 0, 0, 0)
    mode = site.text("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0, 0, 0, 0)
    elif mode != "NOTSET":
        total = [
            max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            for n, s, d, k in zip(x.shape[2:], strides, dilations, w.shape[2:], strict=True)
        ]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        pads = tuple(small + large) if mode == "SAME_UPPER" else tuple(large + small)
    if min(pads) < 0:
        raise Unsupported(f"negative padding {pads}")
    op = Conv(
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilations[0], dilations[1]),
        site.integer("group", 1),
    )
    return site.make(op, x, w, *([site.input(2)] if site.has(2) else []))


@reads("BatchNormalization")
def read_batch_normalization(site: Site) -> Results:
    """With stored statistics."""
    if site.integer("training_mode", 0):
        raise Unsupported("it computes batch statistics (training mode)", "export the model after model.eval()")
    site.only_first_output()
    return site.make(BatchNormalization(site.real("epsilon", 1e-5)), *(site.input(i) for i in range(5)))


@reads("LayerNormalization")
def read_layer_normalization(site: Site) -> Results:
    """Over the last axis; a missing bias is zero."""
    x, gamma = site.input(0), site.input(1)
    axis = site.axis(site.integer("axis", -1), len(x.shape))
    if axis != len(x.shape) - 1:
        raise Unsupported(f"it normalises over several axes (from axis {axis} of {x.shape})")
    site.only_first_output()
    beta = site.input(2) if site.has(2) else site.value(np.zeros(x.shape[-1], np.float32))
    width = (x.shape[-1],)
    return site.make(
        LayerNormalization(site.real("epsilon", 1e-5)), x, *(_widened(site, p, width) for p in (gamma, beta))
    )


@reads("RMSNormalization")
def read_rms_normalization(site: Site) -> Results:
    """Over the last axis."""
    x = site.input(0)
    axis = site.axis(site.integer("axis", -1), len(x.shape))
    if axis != len(x.shape) - 1:
        raise Unsupported(f"it normalises over several axes (from axis {axis} of {x.shape})")
    gamma = _widened(site, site.input(1), (x.shape[-1],))
    return site.make(RMSNormalization(site.real("epsilon", 1e-5)), x, gamma)


def _widened(site: Site, parameter: Node, width: tuple[int]) -> Node:
    """A constant scale or bias of fewer or other axes, as (width,)."""
    array = value_of(parameter)
    if array is None or parameter.shape == width:
        return parameter
    return site.value(np.broadcast_to(array.reshape(-1), width))


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


@reads("ReduceMean")
def read_reduce_mean(site: Site) -> Results:
    """Axes by attribute before opset 18."""
    x, axes = site.input(0), site.axes(1, since=18)
    if not axes:
        if site.integer("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(len(x.shape)))
    axes = tuple(sorted(site.axis(a, len(x.shape)) for a in axes))
    return site.make(ReduceMean(axes, bool(site.integer("keepdims", 1))), x)


@reads("ReduceSum")
def read_reduce_sum(site: Site) -> Results:
    """A mean times the count."""
    x, axes = site.input(0), site.axes(1, since=13)
    if not axes:
        if site.integer("noop_with_empty_axes", 0):
            return x
        axes = tuple(range(len(x.shape)))
    axes = tuple(sorted(site.axis(a, len(x.shape)) for a in axes))
    count = math.prod(x.shape[a] for a in axes)
    mean = site.make(ReduceMean(axes, bool(site.integer("keepdims", 1))), x)
    return site.make(Mul(), mean, site.scalar(count))


@reads("GlobalAveragePool")
def read_global_average_pool(site: Site) -> Results:
    """Mean over all axes behind the channels."""
    x = site.input(0)
    return site.make(ReduceMean(tuple(range(2, len(x.shape))), True), x)


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
    """The guard of `read_is_nan` stands for what it guards: a value computed from finite inputs is finite."""
    producer = site.node.inputs[0].producer() if site.node.inputs[0] is not None else None
    if producer is not None and producer.op_type == "IsNaN" and _is_guard(site.node, producer):
        return site.input(2)
    condition, a, b = (site.input(i) for i in range(3))
    if isinstance(condition.op, Where):  # a choice by a choice between two numbers
        inner, one, zero = condition.inputs
        numbers = [scalar_of(one), scalar_of(zero)]
        if numbers in ([1.0, 0.0], [0.0, 1.0]) and condition.shape == inner.shape:
            condition, a, b = (inner, a, b) if numbers[0] else (inner, b, a)
    return site.make(Where(), condition, a, b)


def _attention_bias(site: Site, queries: int, keys: int) -> Node | None:
    """What the operator Attention adds to its scores: a mask of booleans or numbers, and what causality forbids."""
    bias = site.input(3) if site.has(3) else None
    if bias is not None and not bias.type.is_float:
        kept = [scalar_of(n) for n in bias.inputs[1:]] if isinstance(bias.op, Where) else []
        zero, never = site.scalar(0.0), site.scalar(LOWEST)
        known = value_of(bias)
        if known is not None:
            bias = site.value(np.where(known, np.float32(0), np.float32(LOWEST)))
        elif kept in ([1.0, 0.0], [0.0, 1.0]):
            bias = site.make(Where(), bias.inputs[0], *((zero, never) if kept[0] else (never, zero)))
        else:
            bias = site.make(Where(), bias, zero, never)
    if site.integer("is_causal", 0):
        later = np.triu(np.full((queries, keys), LOWEST, np.float32), 1)
        bias = site.value(later) if bias is None else site.make(Add(), bias, site.value(later))
    return bias


@reads("Attention")
def read_attention(site: Site) -> Results:
    """Opset 23, written out in plain operators (which are then recognised like any others); no caches."""
    for index, what in ((4, "past keys"), (5, "past values")):
        if site.has(index):
            raise Unsupported(f"it takes {what}", "export the model for a whole image or text at once")
    if site.real("softcap", 0.0):
        raise Unsupported("it caps the scores (softcap)")
    site.only_first_output()
    q, k, v = (site.input(i) for i in range(3))
    flat = len(q.shape) == 3
    if flat:
        heads, kv_heads = site.integer("q_num_heads", 0), site.integer("kv_num_heads", 0)
        if heads < 1 or kv_heads < 1 or q.shape[2] % heads or k.shape[2] % kv_heads or v.shape[2] % kv_heads:
            raise Unsupported(f"{heads} and {kv_heads} heads do not divide widths {q.shape[2]} and {k.shape[2]}")
        q, k, v = (
            site.transpose(site.reshape(x, (*x.shape[:2], n, x.shape[2] // n)), 0, 2, 1, 3)
            for x, n in ((q, heads), (k, kv_heads), (v, kv_heads))
        )
    if q.shape[1] != k.shape[1] or k.shape[1] != v.shape[1]:
        raise Unsupported(f"{q.shape[1]} query heads share {k.shape[1]} key heads (grouped queries)")
    scale = site.real("scale", 0.0) or 1.0 / math.sqrt(q.shape[-1])
    scores = site.make(Mul(), site.make(MatMul(), q, site.transpose(k, 0, 1, 3, 2)), site.scalar(scale))
    bias = _attention_bias(site, q.shape[2], k.shape[2])
    scores = scores if bias is None else site.make(Add(), scores, bias)
    mixed = site.make(MatMul(), site.make(Softmax(-1), scores), v)  # (batch, heads, tokens, dim)
    if not flat:
        return mixed
    batch, heads, tokens, dim = mixed.shape
    return site.reshape(site.transpose(mixed, 0, 2, 1, 3), (batch, tokens, heads * dim))
