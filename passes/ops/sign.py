from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class Sign(Op):
    """1 above zero, -1 below, 0 at zero."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(np.sign(x))
