from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import INTEGERS_ONLY, of_two_numbers
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import INT16, Array, TensorType
from edgewright.passes.ops.arith import SHIFT_MAX, add_requantised
from edgewright.passes.ops.numeric import expect_count

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

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        a, b = types
        expect(a.elem == INT16 and b.elem == INT16, f"needs int16, got {a} and {b}")
        for m, s in ((self.multiplier_a, self.shift_a), (self.multiplier_b, self.shift_b)):
            expect(1 << 15 <= m < 1 << 16 and 1 <= s <= SHIFT_MAX, f"multiplier {m} >> {s} out of range")
        return TensorType(np.broadcast_shapes(a.shape, b.shape), INT16)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        pairs = (self.multiplier_a, self.shift_a), (self.multiplier_b, self.shift_b)
        return add_requantised(a, b, *pairs, self.subtract)
