from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_one_value
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array, TensorType
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
