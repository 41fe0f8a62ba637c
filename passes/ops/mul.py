from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_several_values
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.arith import int64
from edgewright.passes.ops.numeric import accumulated, expect_count, float32


@dataclass(frozen=True, slots=True)
class Mul(Op):
    """a * b with numpy broadcasting. Integers: int8 operands, both with zero point 0, into int32."""

    facts = of_several_values(
        affine=True,
        chooses=False,
        carries_integers=False,
        accumulates=True,
        on_host=True,
        levels=BOTH_LEVELS,
        instructions=ONE_OPERATION,
    )

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        return TensorType(np.broadcast_shapes(*(t.shape for t in types)), accumulated(*types))

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return int64(a) * int64(b) if a.dtype.kind in "iu" else float32(np.multiply(a, b))
