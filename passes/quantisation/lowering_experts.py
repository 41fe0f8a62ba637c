"""A mixture of experts in integers: each expert's constants, and one scale for what all of them add."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import INT8, INT16, Array, Node, Quant, make
from edgewright.passes.ops import Linear, MoE, Reshape, array_of, constant, value_of
from edgewright.passes.ops.arith import boundary, limit, multiplier_shift, multipliers_shifts
from edgewright.passes.ops.arith_experts import CHOSEN_MAX, EXPERT_FRACTION
from edgewright.passes.ops.groups import ACCUMULATING
from edgewright.passes.quantisation.calibrate import affine_range, positive
from edgewright.passes.quantisation.lowering_products import OutOfRange, accumulate
from edgewright.passes.quantisation.quantise_weights import integer_product

if TYPE_CHECKING:
    from edgewright.passes.quantisation.lowering import IntegerLowering

HEADROOM = 2.0  # as for every int16 value: one bit of sixteen against saturation
FADED = 24.0  # so far below another logit, an expert's gate is 0 and twice that far it may be rounded


def experts(lowering: IntegerLowering, node: Node, op: MoE) -> tuple[Node, Array]:
    """Return the int32 sum of gated experts, and the real value of its LSB.

    The first product is requantised per (expert, unit) to the one int8 range of the layer's activation, the second per
    (expert, channel) to one int16 scale. Ranges are those that tokens of each expert's queue reached on the samples; an
    expert that no sample chose shares them, and saturates beyond.
    """
    x = lowering.int8(node.inputs[0])
    w1, b1, w2, b2 = (array_of(n) for n in node.inputs[2:])
    seen = lowering.calibration.experts[node]
    count, hidden, _ = w1.shape
    outs = w2.shape[1]
    assert x.quant is not None and isinstance(x.quant.scale, float)
    before = lowering.calibration.affine_of(seen.entered, symmetric=False, through=op.activated)  # by the error after it
    after = _activated_range(before, op)
    assert isinstance(after.scale, float)
    table = boundary(op.activated(before.real(np.arange(-128, 128))), after.scale, after.zero_point, INT8)
    first = integer_product(w1.reshape(count * hidden, -1), b1.reshape(-1), x.quant, lowering.weight_clip)
    second = integer_product(w2.reshape(count * outs, -1), b2.reshape(-1), after, lowering.weight_clip)
    unit = positive(HEADROOM * seen.largest / limit(INT16))
    logits, gate = _logits(lowering, node)
    try:
        m1, s1 = multipliers_shifts(first.scale / before.scale)
        m2, s2 = multipliers_shifts(second.scale / unit)
        multiplier, shift = multiplier_shift(gate * math.log2(math.e) * 256)
    except ValueError as error:
        raise OutOfRange(node, str(error)) from error
    values = {
        2: first.weight.reshape(w1.shape),
        3: first.bias.reshape(b1.shape),
        4: second.weight.reshape(w2.shape),
        5: second.bias.reshape(b2.shape),
    }
    operands = [constant(value, node.inputs[i].origin) for i, value in values.items()]
    scaling = (m1.reshape(b1.shape), s1.reshape(b1.shape), table.astype(np.int8), m2.reshape(b2.shape), s2.reshape(b2.shape))
    integer = replace(op, gate_multiplier=multiplier, gate_shift=shift, zero_point=before.zero_point)
    lowering.events["mixtures of experts"] += 1
    scale = math.ldexp(unit, -EXPERT_FRACTION)
    made = make(integer, x, logits, *operands, *map(constant, scaling), origin=node.origin, quant=Quant(scale))
    return made, np.array([scale])


def refused(node: Node, op: MoE) -> Iterator[Diagnostic]:
    """Yield what the integer form cannot hold: weights that are computed or not finite, too many experts a token."""
    for operand in node.inputs[2:]:
        value = value_of(operand)
        if value is None:
            why = "integer weights are prepared before the graph runs"
            yield Diagnostic("Q002", "MoE with weights that are computed", node.name, why, "make them constants of the model")
        elif not bool(np.isfinite(value).all()):
            why = "no integer stands for them"
            help_text = "export the model again from a sound checkpoint"
            yield Diagnostic("Q005", "MoE has weights that are nan or infinite", node.name, why, help_text)
    if op.top_k > CHOSEN_MAX:
        why = f"gated sums fit 32 bits up to {CHOSEN_MAX}"
        yield Diagnostic("Q001", f"each token chooses {op.top_k} experts", node.name, why, "choose fewer")


def _activated_range(before: Quant, op: MoE) -> Quant:
    """Return int8 over what the activation gives for everything its input can be."""
    values = op.activated(before.real(np.arange(-127, 128)))
    return affine_range(float(values.min()), float(values.max()), symmetric=False)


def _logits(lowering: IntegerLowering, node: Node) -> tuple[Node, float]:
    """Return int16 logits and their scale. Logits so far below others that their gates are 0 may saturate: a router may hold
    experts off with a bias of -1e9."""
    logits = node.inputs[1]
    seen = lowering.calibration[logits]
    lowest = max(seen.low, float(seen.channels.low.max()) - FADED)
    scale = positive(HEADROOM * max(seen.high, -lowest) / limit(INT16))
    return _at_scale(lowering, logits, scale, seen.channels.high < lowest, lowest), scale


def _at_scale(lowering: IntegerLowering, node: Node, scale: float, off: Array, lowest: float) -> Node:
    """Return the value in int16 under a scale, through reshapes straight from its product. The logits of experts that are
    `off`, always below the range, are its `lowest` value: what holds them off would not fit an accumulator."""
    if isinstance(node.op, Reshape) and isinstance(node.inputs[0].op, (Reshape, *ACCUMULATING)):
        inner = _at_scale(lowering, node.inputs[0], scale, off, lowest)
        return make(node.op, inner, origin=node.origin, quant=Quant(scale))
    if isinstance(node.op, Linear) and off.any():
        weight, bias = (array_of(n) for n in node.inputs[1:])
        rows = np.where(off[:, None], 0, weight).astype(np.float32), np.where(off, lowest, bias).astype(np.float32)
        node = make(node.op, node.inputs[0], *map(constant, rows), origin=node.origin)
        return lowering.requantised(node, *accumulate(lowering, node), Quant(scale), INT16)
    return lowering.int16(node, scale)
