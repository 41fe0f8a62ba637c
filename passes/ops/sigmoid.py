from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32, sigmoid


@dataclass(frozen=True, slots=True)
class Sigmoid(Op):
    """1 / (1 + exp(-x))."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(sigmoid(x))
