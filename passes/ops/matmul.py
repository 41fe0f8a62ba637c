from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """(..., M, K) x (..., K, N) -> (..., M, N), leading axes broadcast; both operands may be activations."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        expect_float(*types)
        a, b = types
        expect(a.rank >= 2 and b.rank >= 2, f"needs matrices, got {a.shape} and {b.shape}")
        expect(a.shape[-1] == b.shape[-2], f"{a.shape} and {b.shape} do not chain")
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return TensorType((*lead, a.shape[-2], b.shape[-1]), F32)

    def eval(self, *arrays: Array) -> Array:
        return float32(np.matmul(*arrays))

    def macs(self, *types: TensorType) -> int:
        return math.prod(self.infer(*types).shape) * types[0].shape[-1]
