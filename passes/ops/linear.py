from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_a_product
from edgewright.passes.ir.op import expect
from edgewright.passes.ir.types import F32, INT32, Array, TensorType
from edgewright.passes.ops.arith import exact_matmul, int64
from edgewright.passes.ops.numeric import expect_count, float32
from edgewright.passes.ops.weighted import Weighted


@dataclass(frozen=True, slots=True)
class Linear(Weighted):
    """Linear(x (..., K), w (O, K), b (O,)) = x w^T + b. On integers: int8, int8, int32 -> int32."""

    facts = of_a_product(per_token=True, weighted=True, levels=BOTH_LEVELS, instructions=ONE_OPERATION)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        x, w, b = types
        expect(w.rank == 2 and x.rank >= 1, f"weight {w.shape} is no matrix")
        expect(x.shape[-1] == w.shape[1], f"x {x.shape} does not fit weight {w.shape}")
        expect(b.shape == (w.shape[0],), f"bias {b.shape} does not fit weight {w.shape}")
        expect(x.is_float == w.is_float == b.is_float, f"mixed float and integer: {x}, {w}, {b}")
        return TensorType((*x.shape[:-1], w.shape[0]), F32 if x.is_float else INT32)

    def eval(self, *arrays: Array) -> Array:
        x, w, b = arrays
        rows = x.reshape(-1, x.shape[-1])  # one product of matrices, not one per sample
        is_float = x.dtype.kind == "f"
        out = float32(np.matmul(rows, w.T) + b) if is_float else exact_matmul(rows, w.T) + int64(b)
        return out.reshape(*x.shape[:-1], w.shape[0])

    def macs(self, *types: TensorType) -> int:
        x, w, _ = types
        return math.prod(x.shape[:-1]) * math.prod(w.shape)
