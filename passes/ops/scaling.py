"""Between real numbers and integers, and between scales."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT8, INT16, Allowed, Array, Int, Op, Quant, Shape, TensorType, expect, fixed
from edgewright.passes.ir.facts import FLOAT_ONLY, INTEGERS_ONLY, ONE_OPERATION, of_one_value, of_two_numbers
from edgewright.passes.ops.arith import SHIFT_MAX, add_requantised, boundary, int64, requantise
from edgewright.passes.ops.numeric import expect_count, expect_factor, float32


@dataclass(frozen=True, slots=True)
class Cast(Op):
    """An integer as float32, rounded to nearest beyond 24 bits."""

    facts = of_one_value(
        affine=True, accumulates=False, table=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION
    )

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect(not types[0].is_float, f"takes integers, got {types[0]}")
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(x)


@dataclass(frozen=True, slots=True)
class Quantise(Op):
    """Real to integer at the input, on the host: saturate(floor(x / scale + 1/2) + zero_point)."""

    facts = of_one_value(
        affine=False, accumulates=False, table=False, on_host=False, levels=INTEGERS_ONLY, instructions=ONE_OPERATION
    )

    scale: float
    zero_point: int = 0
    elem: Int = INT8

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect(types[0].is_float, f"needs a float, got {types[0]}")
        expect(self.scale > 0, f"scale {self.scale}")
        return TensorType(types[0].shape, self.elem, Quant(self.scale, self.zero_point))

    def eval(self, *arrays: Array) -> Array:
        return boundary(arrays[0], self.scale, self.zero_point, self.elem)


@dataclass(frozen=True, slots=True)
class Dequantise(Op):
    """Integer to real on the host, for comparison with the float graph: scale * (q - zero_point)."""

    facts = of_one_value(
        affine=True, accumulates=False, table=False, on_host=False, levels=INTEGERS_ONLY, instructions=ONE_OPERATION
    )

    scale: float
    zero_point: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect(not types[0].is_float, f"needs an integer, got {types[0]}")
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        return float32(Quant(self.scale, self.zero_point).real(arrays[0]))


@dataclass(frozen=True, slots=True)
class Requantise(Op):
    """Requantise(acc, multiplier, shift): accumulators, or integers of another scale, to int8 or int16.

    saturate(round_shift(acc * multiplier, shift) + zero_point). Multiplier and shift have one shape, which broadcasts to
    acc's and varies along one axis at most: (1,), (O,) for products, (O, 1, 1) for maps; () for a single number.
    """

    facts = of_two_numbers(affine=False, accumulates=False, on_host=False, levels=INTEGERS_ONLY, instructions=(3.3, 3.3))

    zero_point: int = 0
    elem: Int = INT8

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        acc, multiplier, shift = types
        expect(not any(t.is_float for t in types), "all operands are integers")
        expect(
            multiplier.shape == shift.shape and _fits(multiplier.shape, acc.shape),
            f"multiplier {multiplier.shape} and shift {shift.shape} do not fit {acc.shape}",
        )
        return TensorType(acc.shape, self.elem)

    def eval(self, *arrays: Array) -> Array:
        acc, multiplier, shift = arrays
        return requantise(acc, int64(multiplier), int64(shift), self.zero_point, self.elem)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield Allowed("zero point", np.array(self.zero_point), -127, 127)
        yield fixed("multiplier", values[1], 1 << 15, (1 << 16) - 1)
        yield fixed("shift", values[2], 1, SHIFT_MAX)


def _fits(factors: Shape, acc: Shape) -> bool:
    """Return whether factors broadcast to accumulators and vary along one axis at most."""
    along = [(n, m) for n, m in zip(factors[::-1], acc[::-1], strict=False) if n != 1]
    return min(1, len(acc)) <= len(factors) <= len(acc) and len(along) <= 1 and all(n == m for n, m in along)


IDENTITY = (1 << 15, 15)


@dataclass(frozen=True, slots=True)
class AddRequantised(Op):
    """Residual sum of two int16 (broadcasting), each brought to the result's scale and saturated first.

    With `subtract`, their difference: `arith.add_requantised`.
    """

    facts = of_two_numbers(affine=False, accumulates=False, on_host=False, levels=INTEGERS_ONLY, instructions=(3.0, 3.0))

    multiplier_a: int
    shift_a: int
    multiplier_b: int
    shift_b: int
    subtract: bool = False

    @property
    def pairs(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """(multiplier, shift) of each operand."""
        return (self.multiplier_a, self.shift_a), (self.multiplier_b, self.shift_b)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        a, b = types
        expect(a.elem == INT16 and b.elem == INT16, f"needs int16, got {a} and {b}")
        for pair in self.pairs:
            expect_factor("multiplier", *pair)
        return TensorType(np.broadcast_shapes(a.shape, b.shape), INT16)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return add_requantised(a, b, *self.pairs, self.subtract)
