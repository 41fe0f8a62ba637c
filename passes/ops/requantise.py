from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import INT8, Array, Int, TensorType
from edgewright.passes.ops.arith import int64, requantise
from edgewright.passes.ops.numeric import expect_count


@dataclass(frozen=True, slots=True)
class Requantise(Op):
    """Requantise(acc (..., O), multiplier (O,) or (1,), shift likewise): accumulators to int8 or int16.

    saturate(round_shift(acc * multiplier, shift) + zero_point).
    """

    zero_point: int = 0
    elem: Int = INT8

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        acc, multiplier, shift = types
        expect(not any(t.is_float for t in types), "all operands are integers")
        expect(
            multiplier.shape == shift.shape and multiplier.shape in ((1,), acc.shape[-1:]),
            f"multiplier {multiplier.shape} and shift {shift.shape} do not fit {acc.shape}",
        )
        return TensorType(acc.shape, self.elem)

    def eval(self, *arrays: Array) -> Array:
        acc, multiplier, shift = arrays
        return requantise(acc, int64(multiplier), int64(shift), self.zero_point, self.elem)
