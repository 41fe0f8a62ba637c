from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir import F32, INT16, Array, Op, TensorType, expect
from edgewright.passes.ir.facts import BOTH_LEVELS, of_rows
from edgewright.passes.ops import arith
from edgewright.passes.ops.numeric import axis_of, expect_count, expect_factor, float32, softmax


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """exp(x) / sum exp(x) along an axis.

    Integers: int16 to int16 with 15 fractional bits, attributes multiplier and shift as in `arith.softmax`.
    """

    facts = of_rows(per_token=False, accumulates=False, on_host=False, levels=BOTH_LEVELS, instructions=(10.0, 4.9))

    axis: int = -1
    multiplier: int = 0
    shift: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        (x,) = types
        axis = axis_of(self.axis, x.rank)
        if x.is_float:
            return TensorType(x.shape, F32)
        expect(x.elem == INT16, f"needs int16, got {x}")
        expect_factor("multiplier", self.multiplier, self.shift)
        expect(x.shape[axis] <= 1 << 15, f"{x.shape[axis]} values share a sum")
        return TensorType(x.shape, INT16)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.dtype.kind in "iu":
            return arith.softmax(x, self.multiplier, self.shift, self.axis)
        return float32(softmax(x, self.axis))
