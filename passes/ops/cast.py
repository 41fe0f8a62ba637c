from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, float32


@dataclass(frozen=True, slots=True)
class Cast(Op):
    """An integer as float32, rounded to nearest beyond 24 bits."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect(not types[0].is_float, f"takes integers, got {types[0]}")
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(x)
