from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import FLOAT_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, float32


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
