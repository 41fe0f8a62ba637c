"""Codes and attention by codes: heads and bits of odd numbers, one token, codes that are all alike."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT8, INT16
from edgewright.passes.ops import Add, HashAttention, HashCodes, Slice, Table, Transpose, constant, value_of
from edgewright.passes.ops.arith_hashing import kernels

from tests.targets.cpu.case_layers import Cases, linear, requantise
from tests.targets.cpu.lowered import Draw

CASES = Cases()
case = CASES.case


def codes(d: Draw, u: Node, heads: int, bits: int, supports: int, sigma: float = 0.8) -> Node:
    """Anchors of about unit length; thresholds near the mean, so that codes vary."""
    width = u.shape[2] // heads
    anchors, coefficients = d.real(heads, supports, width, scale=width**-0.5), d.real(heads, bits, supports)
    rows = value_of(coefficients)
    assert rows is not None
    threshold = constant((rows.sum(axis=2) * 0.3).astype(np.float32))
    return d(HashCodes(heads, sigma), u, anchors, coefficients, threshold)


def integer_codes(d: Draw, u: Node, heads: int, bits: int, supports: int) -> Node:
    """Offsets such that distances go from 0 to beyond the table's end; thresholds in the middle of the margins."""
    width = u.shape[2] // heads
    anchors, coefficients = d.integers(heads, supports, width), d.integers(heads, bits, supports)
    op = HashCodes(heads, 1.0, int(d.rng.integers(1 << 15, 1 << 16)), 18)
    offset = d.integers(heads, supports, low=0, high=2000, dtype="int32")
    example = d.rng.integers(-127, 128, (1, 64, u.shape[2]))
    values = [np.asarray(value_of(node)) for node in (anchors, coefficients, offset)]
    found = kernels(example, values[0], values[2], op.multiplier, op.shift)
    margins = np.einsum("bhtm,hrm->bthr", found, values[1].astype(np.int64))
    return d(op, u, anchors, coefficients, constant(np.median(margins[0], axis=0).astype(np.int32)), offset)


# windows, tokens, heads, bits, head width, value width, supports
SHAPES = (
    (1, 1, 1, 16, 16, 16, 25),
    (1, 49, 2, 16, 16, 16, 25),
    (2, 37, 3, 7, 5, 11, 9),
    (1, 70, 1, 33, 24, 40, 40),
    (1, 5, 4, 1, 8, 3, 1),
    (3, 33, 2, 12, 32, 64, 25),
)

for sizes in SHAPES:

    @case("hashing", f"windows, tokens, heads, bits, d, dv, supports = {sizes}")
    def _(d: Draw, sizes: tuple[int, ...] = sizes) -> tuple[Node, ...]:
        windows, tokens, heads, bits, width, values, supports = sizes
        u, v = d.input(windows, tokens, heads * width), d.input(windows, tokens, heads * values)
        made = codes(d, u, heads, bits, supports)
        found = [d(HashAttention(heads, bits, constant), made, v) for constant in ("sum", "own")]
        return made, *found, linear(d, d(HashAttention(heads, bits), made, v), 9)

    @case("hashing", f"integers, windows, tokens, heads, bits, d, dv, supports = {sizes}")
    def _(d: Draw, sizes: tuple[int, ...] = sizes) -> tuple[Node, ...]:
        windows, tokens, heads, bits, width, values, supports = sizes
        u, v = d.input(windows, tokens, heads * width, elem=INT8), d.input(windows, tokens, heads * values, elem=INT8)
        made = integer_codes(d, u, heads, bits, supports)
        found = [d(HashAttention(heads, bits, constant), made, v) for constant in ("sum", "own")]
        kinds = ((1, INT8), (heads * values, INT16))
        narrow = [requantise(d, d(HashAttention(heads, bits), made, v), (n,), elem) for n, elem in kinds]
        return made, *found, *narrow


@case("hashing", "integers, more tokens than 16-bit sums hold, between views, no direction")
def _(d: Draw) -> tuple[Node, ...]:
    turned = d(Transpose((0, 2, 1)), d.input(1, 32, 601, elem=INT8))
    zero = d(Table(), turned, constant(np.zeros(256, np.int8)))
    found = [integer_codes(d, u, 2, 16, 25) for u in (turned, zero)]
    same = constant(np.full((1, 601, 32), 127, np.int8))
    y = [d(HashAttention(2, 16, kind), codes, v) for codes in found for v in (turned, same) for kind in ("sum", "own")]
    return *found, *y, d(Transpose((0, 2, 1)), d(HashAttention(2, 16), found[0], turned))


@case("hashing", "between views, codes that are alike")
def _(d: Draw) -> tuple[Node, ...]:
    joined = d.input(1, 40, 96)
    u, v = d(Slice(2, 0, 32), joined), d(Slice(2, 64, 96), joined)
    made = codes(d, u, 2, 16, 25)
    y = d(HashAttention(2, 16), made, v)
    turned = d(Transpose((0, 2, 1)), d.input(1, 32, 40))
    z = d(HashAttention(2, 16, "own"), codes(d, turned, 2, 16, 25), turned)
    alike = constant(np.sign(d.rng.standard_normal((1, 1, 32)).repeat(40, 1)).astype(np.float32))
    return d(Add(), y, d.input(1, 40, 32)), d(Transpose((0, 2, 1)), z), d(HashAttention(2, 16), alike, v)
