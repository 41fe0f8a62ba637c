from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import INTEGERS_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import INT8, Array, Int, Quant, TensorType
from edgewright.passes.ops.arith import boundary
from edgewright.passes.ops.numeric import expect_count


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
