"""LayerNorm and RMSNorm in integers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.ir import Int, Node, Quant, make
from edgewright.passes.ops import LayerNormalization, RMSNormalization, constant, value_of
from edgewright.passes.ops.arith import LAYER_NORM_FRACTION, LAYER_NORM_NARROW, LAYER_NORM_SHIFT_MAX, eps_term
from edgewright.passes.quantisation.lowering_products import OutOfRange, number, scale_of

if TYPE_CHECKING:
    from edgewright.passes.quantisation.lowering import IntegerLowering


def normalised(
    lowering: IntegerLowering, node: Node, op: LayerNormalization | RMSNormalization, quant: Quant, elem: Int
) -> Node:
    """Return the normalisation of an int16 value into `quant`, gamma and beta as integers."""
    x = lowering.int16(node.inputs[0])
    gamma, *betas = (np.asarray(value_of(n), np.float64) for n in node.inputs[1:])
    factor = gamma / number(quant.scale)
    offset = sum(betas, np.zeros_like(gamma)) / number(quant.scale) + quant.zero_point
    shift = min(
        LAYER_NORM_SHIFT_MAX,
        _room(float(np.abs(factor).max()), 16) + LAYER_NORM_FRACTION,
        _room(float(np.abs(offset).max()), 47),
    )
    if shift < 1:
        raise OutOfRange(node, "a factor of 2^27 or more")
    multiplier = np.floor(np.ldexp(factor, shift - LAYER_NORM_FRACTION) + 0.5).astype(np.int32)
    whole = np.floor(np.ldexp(offset, shift) + 0.5).astype(np.int64)
    width = node.shape[-1]
    if width > LAYER_NORM_NARROW and all((values == values[0]).all() for values in (multiplier, whole)):
        multiplier, whole = multiplier[:1], whole[:1]  # a group of maps has one factor, however many values
    integer = replace(
        op,
        eps_term=eps_term(op.epsilon, width, scale_of(x)),
        shift=shift,
        zero_point=quant.zero_point,
        elem=elem,
    )
    operands = (constant(multiplier, node.inputs[1].origin), constant(whole, node.inputs[-1].origin))
    return make(integer, x, *operands, origin=node.origin, quant=quant)


def _room(magnitude: float, bits: int) -> int:
    """Return the largest n with round(magnitude * 2^n) < 2^bits."""
    if magnitude == 0:
        return LAYER_NORM_SHIFT_MAX
    room = bits - math.frexp(magnitude)[1]
    return room - 1 if math.floor(math.ldexp(magnitude, room) + 0.5) >= 1 << bits else room
