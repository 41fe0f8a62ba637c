from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT32, Allowed, Array, Op, TensorType, expect
from edgewright.passes.ir.facts import BOTH_LEVELS, of_a_product
from edgewright.passes.ops.arith import ATTENTION_WEIGHT_MAX, SCORE_BIAS_MAX, attention
from edgewright.passes.ops.numeric import expect_count, expect_factor, float32, softmax


@dataclass(frozen=True, slots=True)
class Attention(Op):
    """Attention(q (B, T, H dk), k (B, S, H dk), v (B, S, H dv)[, bias]) -> (B, T, H dv): heads side by side.

    B counts windows or is 1; bias broadcasts to (B, H, T, S).
    Float: softmax(scale q k^T + bias) v per head.
    Integers: int8 operands, attributes score_multiplier and score_shift (`arith.attention_weights`), a bias in units
    of q k^T, at most `arith.SCORE_BIAS_MAX` either way; the result is the weighted mean of v with 8 fractional bits
    (type Int(32), 16 bits of value).
    """

    facts = of_a_product(per_token=False, weighted=False, levels=BOTH_LEVELS, instructions=(11.1, 5.3))

    heads: int
    scale: float = 1.0
    score_multiplier: int = 0
    score_shift: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3, 4)
        q, k, v = types[:3]
        expect(all(t.rank == 3 for t in (q, k, v)), "q, k, v are (windows, tokens, heads * dim)")
        expect(q.shape[0] == k.shape[0] == v.shape[0], f"window counts differ: {q.shape}, {k.shape}, {v.shape}")
        expect(q.shape[2] == k.shape[2], f"widths of q {q.shape} and k {k.shape} differ")
        expect(k.shape[1] == v.shape[1], f"k {k.shape} and v {v.shape} have different tokens")
        for t in (q, v):
            expect(t.shape[2] % self.heads == 0, f"width {t.shape[2]} does not divide into {self.heads} heads")
        expect(len({t.is_float for t in types}) == 1, f"mixed float and integer: {', '.join(map(str, types))}")
        scores = (q.shape[0], self.heads, q.shape[1], k.shape[1])
        for bias in types[3:]:
            fits = bias.rank <= 4 and all(n in (1, m) for n, m in zip(bias.shape[::-1], scores[::-1], strict=False))
            expect(fits, f"bias {bias.shape} does not broadcast to scores {scores}")
        shape = (*q.shape[:2], v.shape[2])
        if q.is_float:
            return TensorType(shape, F32)
        expect_factor("score multiplier", self.score_multiplier, self.score_shift)
        return TensorType(shape, INT32)

    def eval(self, *arrays: Array) -> Array:
        q, k, v = arrays[:3]
        bias = arrays[3] if len(arrays) == 4 else None
        if q.dtype.kind != "f":
            return attention(q, k, v, self.heads, self.score_multiplier, self.score_shift, bias)
        q, k, v = (x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2) for x in (q, k, v))
        scores = np.matmul(q, k.swapaxes(-1, -2)) * np.float32(self.scale)
        weights = softmax(scores if bias is None else scores + bias, -1)
        out = np.matmul(weights, v).swapaxes(1, 2)
        return float32(np.ascontiguousarray(out).reshape(*out.shape[:2], -1))

    def macs(self, *types: TensorType) -> int:
        q, k, v = types[:3]
        return math.prod(q.shape[:2]) * k.shape[1] * (q.shape[2] + v.shape[2])

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        for bias in values[3:]:
            if bias is not None:  # a computed one saturates
                yield Allowed("score bias", bias, -SCORE_BIAS_MAX, SCORE_BIAS_MAX)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        q, k = types[:2]
        scores = q.shape[2] // self.heads * 127 * 127 + (SCORE_BIAS_MAX if types[3:] else 0)
        return max(scores, k.shape[1] * ATTENTION_WEIGHT_MAX * 127)
