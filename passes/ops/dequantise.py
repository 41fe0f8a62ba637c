from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import INTEGERS_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, Quant, TensorType
from edgewright.passes.ops.numeric import expect_count, float32


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
