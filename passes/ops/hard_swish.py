from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class HardSwish(Op):
    """x * clip(x / 6 + 1 / 2, 0, 1)."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(x * np.clip(np.asarray(x, np.float64) / 6 + 0.5, 0, 1))
