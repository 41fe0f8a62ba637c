from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import FLOAT_ONLY, ONE_OPERATION, of_rows
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32, reduced_shape


@dataclass(frozen=True, slots=True)
class ReduceMean(Op):
    """Mean over axes, accumulated in float64."""

    facts = of_rows(per_token=False, accumulates=True, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION)

    axes: tuple[int, ...]
    keepdims: bool = True

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        (x,) = types
        return TensorType(reduced_shape(x, self.axes, self.keepdims), F32)

    def eval(self, *arrays: Array) -> Array:
        return float32(arrays[0].mean(axis=self.axes, keepdims=self.keepdims, dtype=np.float64))
