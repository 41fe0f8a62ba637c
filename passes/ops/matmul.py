from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_a_product
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.arith import exact_matmul
from edgewright.passes.ops.numeric import accumulated, expect_count, float32


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """(..., M, K) x (..., K, N) -> (..., M, N), leading axes broadcast; both operands may be activations.

    Integers: int8 operands, both with zero point 0, into int32.
    """

    facts = of_a_product(per_token=False, weighted=False, levels=BOTH_LEVELS, instructions=ONE_OPERATION)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        elem = accumulated(*types)
        a, b = types
        expect(a.rank >= 2 and b.rank >= 2, f"needs matrices, got {a.shape} and {b.shape}")
        expect(a.shape[-1] == b.shape[-2], f"{a.shape} and {b.shape} do not chain")
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return TensorType((*lead, a.shape[-2], b.shape[-1]), elem)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return exact_matmul(a, b) if a.dtype.kind in "iu" else float32(np.matmul(a, b))

    def macs(self, *types: TensorType) -> int:
        return math.prod(self.infer(*types).shape) * types[0].shape[-1]

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return types[0].shape[-1] * 127 * 127
