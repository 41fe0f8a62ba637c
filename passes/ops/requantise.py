from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import INTEGERS_ONLY, of_two_numbers
from edgewright.passes.ir.op import Allowed, Op, expect, fixed
from edgewright.passes.ir.types import INT8, Array, Int, Shape, TensorType
from edgewright.passes.ops.arith import SHIFT_MAX, int64, requantise
from edgewright.passes.ops.numeric import expect_count


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
