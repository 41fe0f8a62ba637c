from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_several_values
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.arith import int64
from edgewright.passes.ops.numeric import expect_count, float32


@dataclass(frozen=True, slots=True)
class Max(Op):
    """The larger of two values, broadcast; integers share one scale and zero point."""

    facts = of_several_values(
        affine=False,
        chooses=True,
        carries_integers=False,
        accumulates=False,
        on_host=True,
        levels=BOTH_LEVELS,
        instructions=ONE_OPERATION,
    )

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        a, b = types
        expect(a.elem == b.elem, f"compares {a} with {b}")
        return TensorType(np.broadcast_shapes(a.shape, b.shape), a.elem)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        integers = a.dtype.kind in "iu"
        return np.maximum(int64(a), int64(b)) if integers else float32(np.maximum(a, b))
