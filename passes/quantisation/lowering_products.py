"""The int32 accumulators of each product, and the real value of their units."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes import ops
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import INT8, INT16, Array, Int, Node, Quant, make
from edgewright.passes.ops import array_of, constant, value_of
from edgewright.passes.ops.arith import ATTENTION_FRACTION, SCORE_BIAS, SCORE_BIAS_MAX, boundary, limit, multiplier_shift
from edgewright.passes.ops.groups import ACCUMULATING, WEIGHTED
from edgewright.passes.ops.scaling import IDENTITY
from edgewright.passes.quantisation.lowering_channels import weighed
from edgewright.passes.quantisation.lowering_structure import VIEWS, carried, channel_axis, is_wide, pools_wide, scaled_wide
from edgewright.passes.quantisation.quantise_weights import integer_product

if TYPE_CHECKING:
    from edgewright.passes.quantisation.lowering import IntegerLowering

NOTHING = 1e-30  # a factor that sends every int16 to 0
FADED = 8.0  # e^-8 of the largest weight rounds to 0


class OutOfRange(Exception):
    """A scale ratio or an offset that the integer arithmetic cannot hold."""

    def __init__(self, node: Node, need: str, because: str = "", help_text: str = "") -> None:
        super().__init__(need)
        self.diagnostic = Diagnostic(
            "Q007",
            f"{node.op.kind} needs {need}",
            node.name,
            because or "multipliers have 16 bits and shifts at most 47",
            help_text or "check the calibration samples and the weights of this layer, or use --precision fp32 on a CPU",
        )


def ratio_out_of_range(node: Node, source: Node, unit: float, target: float, elem: Int) -> OutOfRange:
    """Return the refusal of integers in steps of `unit`, those of `source`, as integers of `elem` in steps of `target`."""
    name = "its accumulators" if source.name == node.name else f"{source.op.kind} {source.name}"
    if not (math.isfinite(unit) and math.isfinite(target)):
        because = f"one step of {name} stands for {unit:.3g}, one of the result for {target:.3g}"
    else:
        because = (
            f"its values stay within {target * limit(elem):.3g} of 0 on the samples, less than what one integer step of "
            f"{name} stands for, {unit:.3g}"
        )
    return OutOfRange(
        node,
        f"a factor of {unit / target:.3g}, and factors are below 2^15",
        because,
        f"find out why {node.name} is nearly 0 compared with what it is computed from: samples unlike those that the model "
        "will see, or weights that vanish; --precision fp32 on a CPU needs no factors",
    )


def scale_of(node: Node) -> float:
    """Return the one scale of an integer value."""
    assert node.quant is not None and isinstance(node.quant.scale, float), "one scale per tensor"
    return node.quant.scale


def number(scale: float | tuple[float, ...]) -> float:
    """Return the scale of a tensor that has one."""
    assert isinstance(scale, float), "one scale per tensor"
    return scale


def accumulate(lowering: IntegerLowering, node: Node) -> tuple[Node, Array]:
    """Return the accumulators, and the real value of their LSB: an array that broadcasts against them."""
    op = node.op
    if isinstance(op, WEIGHTED):
        return _weighted(lowering, node)
    if isinstance(op, ops.Attention):
        return _attention(lowering, node, op)
    if isinstance(op, ops.HashAttention):
        codes, v = lowering.int8(node.inputs[0], Quant(1.0)), lowering.int8(node.inputs[1])
        scale = math.ldexp(scale_of(v), -ATTENTION_FRACTION)
        return make(op, codes, v, origin=node.origin, quant=Quant(scale)), np.array([scale])
    if isinstance(op, ops.ReduceMean):
        x = lowering.int16(node.inputs[0]) if pools_wide(node) else lowering.int8(node.inputs[0])
        scale = scale_of(x) / (x.type.size // node.type.size)
        return make(ops.ReduceSum(op.axes, op.keepdims), x, origin=node.origin, quant=Quant(scale)), np.array([scale])
    if isinstance(op, ops.Neg):
        return _scaled(lowering, node, node.inputs[0], np.array(-1.0))
    if isinstance(op, ops.Div):
        return _scaled(lowering, node, node.inputs[0], 1.0 / array_of(node.inputs[1]).astype(np.float64))
    if isinstance(op, ops.Mul):
        for x, factor in (node.inputs, node.inputs[::-1]):
            value = value_of(factor)
            if value is not None:
                return _scaled(lowering, node, x, value.astype(np.float64))
    assert isinstance(op, (ops.Mul, ops.MatMul))
    a, b = (lowering.int8(x) for x in node.inputs)
    scale = scale_of(a) * scale_of(b)
    return make(op, a, b, origin=node.origin, quant=Quant(scale)), np.array([scale])


def _weighted(lowering: IntegerLowering, node: Node) -> tuple[Node, Array]:
    op = node.op
    x = lowering.int8(node.inputs[0])
    weight = array_of(node.inputs[1])
    bias = array_of(node.inputs[2]) if node.inputs[2:] else np.zeros(len(weight), np.float32)
    assert x.quant is not None
    operand = x.quant
    if isinstance(operand.scale, tuple):  # per channel: into the weights, so that the operand counts in units of 1
        weight, operand = weighed(node, weight.astype(np.float64), np.asarray(operand.scale)), Quant(1.0, operand.zero_point)
    product = integer_product(weight.reshape(len(weight), -1), bias, operand, lowering.weight_clip)
    operands = (
        constant(product.weight.reshape(weight.shape), node.inputs[1].origin),
        constant(product.bias, node.inputs[2].origin if node.inputs[2:] else ()),
    )
    if isinstance(op, ops.Conv):
        op = replace(op, pad_value=x.quant.zero_point)
    lowering.events["products"] += 1
    quant = Quant(tuple(product.scale.tolist()), axis=channel_axis(node))
    return make(op, x, *operands, origin=node.origin, quant=quant), quant.scales


def _scaled(lowering: IntegerLowering, node: Node, x: Node, factor: Array) -> tuple[Node, Array]:
    """x times constants: one positive factor only changes what the integers stand for."""
    if scaled_wide(node) is x:
        return _scaled_by_channel(lowering, node, x, factor)
    shape = x.shape == node.shape
    if shape and factor.size == 1 and float(factor.reshape(())) > 0:
        if isinstance(x.op, ACCUMULATING):
            acc, real = lowering.accumulators(x)
        else:
            acc = lowering.int16(x) if is_wide(x) else lowering.int8(x)
            real = np.array([scale_of(acc)])
        return acc, real * float(factor.reshape(()))
    left = lowering.int8(x)
    whole = factor.reshape(*[1] * (node.type.rank - factor.ndim), *factor.shape)
    varying = [axis for axis, n in enumerate(whole.shape) if n > 1]
    axis = varying[0] if len(varying) == 1 else node.type.rank - 1
    largest = np.abs(whole).max(axis=tuple(a for a in range(whole.ndim) if a != axis or len(varying) > 1))
    scales = np.maximum(largest / 127, 1e-30).reshape(-1)
    quant = Quant(tuple(scales.tolist()), axis=axis - node.type.rank) if scales.size > 1 else Quant(float(scales[0]))
    right = constant(boundary(whole / quant.scales, 1.0, 0, INT8).astype(np.int8))
    real = quant.scales.reshape(quant.scales.shape or (1,)) * scale_of(left)
    return make(ops.Mul(), left, right, origin=node.origin), real


def _scaled_by_channel(lowering: IntegerLowering, node: Node, x: Node, factor: Array) -> tuple[Node, Array]:
    """A sum or norm at 16 bits times a constant for each channel; by factors of both signs a difference with one side 0."""
    wide = lowering.int16(x)
    axis = next(i for i, n in enumerate(factor.shape) if n > 1)
    unit = scale_of(wide) * factor.reshape(-1, *factor.shape[axis + 1 :])  # (C, 1, ...)
    if (unit >= 0).all():
        return wide, np.maximum(unit, NOTHING)
    quant = Quant(lowering.scale16(node))
    sides = (lowering.requantised(node, wide, np.maximum(side, NOTHING), quant, INT16) for side in (unit, -unit))
    difference = make(ops.AddRequantised(*IDENTITY, *IDENTITY, subtract=True), *sides, origin=node.origin, quant=quant)
    return difference, np.array([scale_of(difference)])


def _attention(lowering: IntegerLowering, node: Node, op: ops.Attention) -> tuple[Node, Array]:
    q, k, v = (lowering.int8(n) for n in node.inputs[:3])
    if node.inputs[3:]:
        least = _least_unit(lowering, node, op)
        if scale_of(q) * scale_of(k) * op.scale < least:  # a coarser q, so that masks and biases fit their range
            q = lowering.int8(node.inputs[0], Quant(least / (scale_of(k) * op.scale)))
    unit = scale_of(q) * scale_of(k) * op.scale
    try:
        multiplier, shift = multiplier_shift(unit * math.log2(math.e) * 256)
    except ValueError as error:
        steps = f"queries are in steps of {scale_of(q):.3g}, keys of {scale_of(k):.3g}"
        because = f"{steps}, and the scale is {op.scale:.3g}: {error}"
        raise OutOfRange(node, f"scores in steps of {unit:.3g}", because) from error
    integer = replace(op, score_multiplier=multiplier, score_shift=shift)
    scale = math.ldexp(scale_of(v), -ATTENTION_FRACTION)
    biases = (score_bias(lowering, bias, unit) for bias in node.inputs[3:])
    return make(integer, q, k, v, *biases, origin=node.origin, quant=Quant(scale)), np.array([scale])


def _least_unit(lowering: IntegerLowering, node: Node, op: ops.Attention) -> float:
    """Return the smallest real value of one score step with which a mask of -SCORE_BIAS_MAX silences a key whatever the
    scores are, and every bias that does not silence fits."""
    room = SCORE_BIAS_MAX - 2 * 127 * 127 * (node.inputs[0].shape[2] // op.heads)
    if room <= 0:
        raise OutOfRange(node, f"scores of {node.inputs[0].shape[2] // op.heads} products beside a bias")
    bias = node.inputs[3]
    value = value_of(bias)
    if value is None and bias in lowering.calibration.observed:
        high = max(lowering.calibration[bias].high, 0.0)
    else:
        high = 0.0 if value is None else max(float(value.max()), 0.0)
    return max(FADED, 2 * high) / room


def score_bias(lowering: IntegerLowering, node: Node, unit: float) -> Node:
    """Return what is added to scores, in their steps: a constant, what the host makes of a mask, or a computed value."""
    if isinstance(node.op, ops.Constant):
        return constant(boundary(node.op.value, unit, 0, SCORE_BIAS).astype(np.int32), node.origin)
    if node in lowering.hosted:
        if isinstance(node.op, VIEWS):
            chosen = {i: score_bias(lowering, node.inputs[i], unit) for i in carried(node)}
            if len({n.elem for n in chosen.values()}) == 1:  # rather moves of integers than floats on the host
                return make(node.op, *(chosen.get(i, n) for i, n in enumerate(node.inputs)), origin=node.origin)
        return make(ops.Quantise(unit, 0, SCORE_BIAS), node, origin=node.origin)
    if isinstance(node.op, ACCUMULATING):
        acc, real = lowering.accumulators(node)
    else:
        acc = lowering.int16(node)
        real = np.array([scale_of(acc)])
    return lowering.requantised(node, acc, real, Quant(unit), SCORE_BIAS)
