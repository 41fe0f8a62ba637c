from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, INT32, Array, TensorType
from edgewright.passes.ops.arith import SHIFT_MAX, attention
from edgewright.passes.ops.numeric import expect_count, float32, softmax


@dataclass(frozen=True, slots=True)
class Attention(Op):
    """Attention(q (1, T, H dh), k (1, S, H dh), v (1, S, H dh)) -> (1, T, H dh): heads side by side.

    Float: softmax(scale q k^T) v per head.
    Integers: int8 operands, attributes score_multiplier and score_shift (`arith.attention_weights`); the
    result is the weighted mean of v with 8 fractional bits (type Int(32), 16 bits of value).
    """

    heads: int
    scale: float = 1.0
    score_multiplier: int = 0
    score_shift: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        q, k, v = types
        expect(all(t.rank == 3 for t in types), "q, k, v are (1, tokens, heads * dim)")
        expect(q.shape[2] == k.shape[2] == v.shape[2], f"widths differ: {q.shape}, {k.shape}, {v.shape}")
        expect(k.shape[1] == v.shape[1], f"k {k.shape} and v {v.shape} have different tokens")
        expect(q.shape[2] % self.heads == 0, f"width {q.shape[2]} does not divide into {self.heads} heads")
        expect(q.is_float == k.is_float == v.is_float, f"mixed float and integer: {q}, {k}, {v}")
        if q.is_float:
            return TensorType(q.shape, F32)
        expect(
            1 << 15 <= self.score_multiplier < 1 << 16 and 1 <= self.score_shift <= SHIFT_MAX,
            f"score multiplier {self.score_multiplier} >> {self.score_shift} out of range",
        )
        return TensorType(q.shape, INT32)

    def eval(self, *arrays: Array) -> Array:
        q, k, v = arrays
        if q.dtype.kind != "f":
            return attention(q, k, v, self.heads, self.score_multiplier, self.score_shift)
        q, k, v = (x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2) for x in arrays)
        weights = softmax(np.matmul(q, k.swapaxes(-1, -2)) * np.float32(self.scale), -1)
        out = np.matmul(weights, v).swapaxes(1, 2)
        return float32(np.ascontiguousarray(out).reshape(*out.shape[:2], -1))

    def macs(self, *types: TensorType) -> int:
        q, k, _ = types
        return 2 * math.prod(q.shape) * k.shape[1]
