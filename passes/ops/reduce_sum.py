from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import INT32, Array, TensorType
from edgewright.passes.ops.numeric import axis_of, expect_count


@dataclass(frozen=True, slots=True)
class ReduceSum(Op):
    """Sum of integers along one axis into int32; with a Requantise behind it, the mean."""

    axis: int
    keepdims: bool = False

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        (x,) = types
        expect(not x.is_float, f"needs an integer, got {x}")
        axis = axis_of(self.axis, x.rank)
        kept = (1,) if self.keepdims else ()
        return TensorType(x.shape[:axis] + kept + x.shape[axis + 1 :], INT32)

    def eval(self, *arrays: Array) -> Array:
        result: Array = arrays[0].sum(axis=self.axis, keepdims=self.keepdims, dtype=np.int64)
        return result
