"""A computed value divided by a computed value, in integers: both as the widest integers that there are of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.ir import Array, Node, Quant, make
from edgewright.passes.ops import Add, Div, Mul, scalar_of
from edgewright.passes.ops.arith import ACCUMULATOR_LIMIT, QUOTIENT_FRACTION_MAX
from edgewright.passes.ops.groups import ACCUMULATING
from edgewright.passes.quantisation.lowering_products import scale_of
from edgewright.passes.quantisation.lowering_structure import accumulated

if TYPE_CHECKING:
    from edgewright.passes.quantisation.lowering import IntegerLowering

HEADROOM = 4.0  # accumulators beyond what the samples showed: two bits of 26


def divided(lowering: IntegerLowering, node: Node) -> tuple[Node, Array]:
    """Return the quotient in int32, and the real value of its unit: an array that broadcasts against it.

    A constant that a model adds to the divisor against division by 0 is added in the divisor's own units, where it may be 0:
    the integer quotient is defined for every divisor.
    """
    numerator, divisor = node.inputs
    a, real_a = _units(lowering, numerator)
    b, real_b, offset = _divisor(lowering, divisor)
    unit = np.asarray(real_a / real_b)
    reach = lowering.calibration[node].magnitude * HEADROOM
    room = ACCUMULATOR_LIMIT * float(unit.min()) / max(reach, 1e-30)
    fraction = min(max(math.floor(math.log2(max(room, 1e-30))), 0), QUOTIENT_FRACTION_MAX)
    lowering.events["quotients"] += 1
    real = np.ldexp(unit, -fraction)
    quant = Quant(float(real.reshape(-1)[0])) if real.size == 1 else None
    return make(Div(fraction, offset), a, b, origin=node.origin, quant=quant), real


def _units(lowering: IntegerLowering, node: Node) -> tuple[Node, Array]:
    """Return the accumulators of a value, through moves, or its int16 form; and the real value of its units."""
    product = accumulated(node)
    if product is not None and product not in lowering.hosted:
        acc, real = lowering.accumulators(product)
        if product is node or real.size == 1:
            return _moved(node, product, _named(lowering, product, acc, real)), real
    wide = lowering.int16(node)
    return wide, np.array([scale_of(wide)])


def _named(lowering: IntegerLowering, product: Node, acc: Node, real: Array) -> Node:
    """Return accumulators as those of a product with a number, which left them as they were: reports compare what they stand
    for. Not where something else reads them, which would compute them twice."""
    source = product.inputs[0]
    alone = isinstance(product.op, Mul) and all(len(lowering.users[n]) == 1 for n in (source, product))
    if not alone or not isinstance(source.op, ACCUMULATING) or real.size > 1 or acc.quant is None:
        return acc
    return make(acc.op, *acc.inputs, origin=product.origin, quant=Quant(float(real[0])))


def _moved(node: Node, product: Node, acc: Node) -> Node:
    """Return the moves between a product and a value, of its accumulators."""
    if node is product:
        return acc
    return make(node.op, _moved(node.inputs[0], product, acc), origin=node.origin, quant=acc.quant)


def _divisor(lowering: IntegerLowering, node: Node) -> tuple[Node, Array, int]:
    """Return a divisor, its unit, and what is added to it in that unit."""
    if isinstance(node.op, Add):
        for x, added in (node.inputs, node.inputs[::-1]):
            number = scalar_of(added)
            if number is None or x.shape != node.shape or accumulated(x) is None:
                continue
            b, unit = _units(lowering, x)
            if unit.size == 1 and abs(number / float(unit[0])) < ACCUMULATOR_LIMIT / 2:
                return b, unit, math.floor(number / float(unit[0]) + 0.5)
    b, unit = _units(lowering, node)
    if unit.size > 1:  # a scale for each channel would vary along axes of the quotient
        b = lowering.int16(node)
        unit = np.array([scale_of(b)])
    return b, unit, 0
