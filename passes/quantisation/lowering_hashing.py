"""Codes of a hashed attention in integers: +1 and -1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import INT8, Node, Quant, make
from edgewright.passes.ops import HashCodes, array_of, constant
from edgewright.passes.ops.arith_hashing import HEAD_WIDTH_MAX, SUPPORTS_MAX, integer_anchors, integer_coefficients
from edgewright.passes.quantisation.lowering_products import OutOfRange

if TYPE_CHECKING:
    from edgewright.passes.quantisation.lowering import IntegerLowering

SIZES = {"anchors": SUPPORTS_MAX, "channels a head": HEAD_WIDTH_MAX}
CODE = Quant(1.0)  # +1 and -1 stand for themselves


def codes(lowering: IntegerLowering, node: Node, op: HashCodes, quant: Quant | None) -> Node:
    """Return the codes in int8; the scale of u is not part of them, for only its direction counts."""
    u = lowering.int8(node.inputs[0])
    anchors, coefficients, threshold = (array_of(n) for n in node.inputs[1:])
    try:
        whole, offset, multiplier, shift = integer_anchors(anchors, op.sigma)
    except ValueError as error:
        raise OutOfRange(node, str(error)) from error
    factors, limits = integer_coefficients(coefficients, threshold)
    values = (whole, factors, limits)
    operands = [constant(x, n.origin) for x, n in zip(values, node.inputs[1:], strict=True)]
    lowering.events["hash codes"] += 1
    integer = replace(op, multiplier=multiplier, shift=shift)
    made = make(integer, u, *operands, constant(offset, node.inputs[1].origin), origin=node.origin, quant=CODE)
    if quant is None or quant == CODE:
        return made
    return lowering.requantised(node, made, np.array([1.0]), quant, INT8)


def too_many(node: Node) -> Iterator[Diagnostic]:
    """Yield H007 for hash functions beyond what the sums of the integer form hold."""
    _, supports, width = node.inputs[1].shape
    for (unit, most), count in zip(SIZES.items(), (supports, width), strict=True):
        if count > most:
            yield Diagnostic(
                "H007",
                f"hash functions of {count:,} {unit}",
                node.name,
                f"their integer form is exact up to {most:,}",
                "hash with fewer support samples (--hash-supports), or leave this layer's attention as it is",
            )
