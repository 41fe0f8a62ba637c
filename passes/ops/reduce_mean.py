from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import axis_of, expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class ReduceMean(Op):
    """Mean over axes, accumulated in float64."""

    axes: tuple[int, ...]
    keepdims: bool = True

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        (x,) = types
        axes = {axis_of(a, x.rank) for a in self.axes}
        expect(len(axes) == len(self.axes) > 0, f"axes {self.axes} repeat or are empty")
        if self.keepdims:
            return TensorType(tuple(1 if i in axes else n for i, n in enumerate(x.shape)), F32)
        return TensorType(tuple(n for i, n in enumerate(x.shape) if i not in axes), F32)

    def eval(self, *arrays: Array) -> Array:
        return float32(arrays[0].mean(axis=self.axes, keepdims=self.keepdims, dtype=np.float64))
