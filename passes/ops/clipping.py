"""Values cut off at bounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Op, TensorType
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_one_value
from edgewright.passes.ops.arith import int64
from edgewright.passes.ops.numeric import expect_count, float32


@dataclass(frozen=True, slots=True)
class Relu(Op):
    """max(x, 0); integers have zero point 0 and keep their scale."""

    facts = of_one_value(
        affine=False, accumulates=False, table=True, on_host=False, levels=BOTH_LEVELS, instructions=ONE_OPERATION
    )

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        return TensorType(types[0].shape, types[0].elem)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return np.maximum(int64(x), 0) if x.dtype.kind in "iu" else float32(np.maximum(x, 0))


@dataclass(frozen=True, slots=True)
class Clip(Op):
    """min(max(x, low), high), as in ONNX also where low > high: the result is then high.

    Infinite bounds are none. Integers have bounds in their own units, whole numbers or infinite, and keep their scale.
    """

    facts = of_one_value(
        affine=False, accumulates=False, table=True, on_host=True, levels=BOTH_LEVELS, instructions=(1.0, 0.75)
    )

    low: float = -math.inf
    high: float = math.inf

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        return TensorType(types[0].shape, types[0].elem)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        if x.dtype.kind not in "iu":
            low, high = np.float32(self.low), np.float32(self.high)
            return np.asarray(np.minimum(np.maximum(np.asarray(x, np.float32), low), high))
        result = int64(x)
        if math.isfinite(self.low):
            result = np.maximum(result, int(self.low))
        return np.minimum(result, int(self.high)) if math.isfinite(self.high) else result
