from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import axis_of, expect_count, expect_float, float32, softmax


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """exp(x) / sum exp(x) along an axis."""

    axis: int = -1

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        axis_of(self.axis, types[0].rank)
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        return float32(softmax(arrays[0], self.axis))
