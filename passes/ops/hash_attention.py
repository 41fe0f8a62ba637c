from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, of_a_product
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, INT32, Array, TensorType
from edgewright.passes.ops.arith_hashing import hash_accumulator_bound, hash_attention
from edgewright.passes.ops.numeric import expect_count, float32

CONSTANTS = ("sum", "own")


@dataclass(frozen=True, slots=True)
class HashAttention(Op):
    """HashAttention(codes (B, T, H b), v (B, T, H dv)) -> (B, T, H dv): codes are +1 and -1, heads side by side.

    Per head, with c = b + 1, every weight b_i b_j + c is positive, and sums over j are taken once for all i:
    out_i = (b_i sum_j b_j v_j + c sum_j v_j) / (b_i sum_j b_j + c T) for constant "sum";
    "own" has c v_i for c sum_j v_j.
    Integers: int8 operands; the result has 8 fractional bits (type Int(32)), for "sum" 16 bits of value.
    Source: EcoFormer (arXiv 2209.09004), section 3.3; "own" is what its released code computes.
    """

    facts = of_a_product(per_token=False, weighted=False, levels=BOTH_LEVELS, instructions=(4.8, 9.1))

    heads: int
    bits: int
    constant: str = "sum"

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        codes, v = types
        expect(codes.rank == v.rank == 3 and codes.shape[:2] == v.shape[:2], f"codes {codes.shape} do not fit v {v.shape}")
        expect(self.heads > 0 and self.bits > 0, f"{self.heads} heads of {self.bits} bits")
        expect(codes.shape[2] == self.heads * self.bits, f"codes {codes.shape} are not {self.heads} times {self.bits} bits")
        expect(v.shape[2] % self.heads == 0, f"width {v.shape[2]} does not divide into {self.heads} heads")
        expect(self.constant in CONSTANTS, f"constant {self.constant!r} is neither of {CONSTANTS}")
        expect(codes.is_float == v.is_float, f"mixed float and integer: {codes}, {v}")
        return TensorType(v.shape, F32 if v.is_float else INT32)

    def eval(self, *arrays: Array) -> Array:
        if arrays[1].dtype.kind != "f":
            return hash_attention(arrays[0], arrays[1], self.heads, self.constant)
        codes, v = (np.asarray(x, np.float64).reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2) for x in arrays)
        constant = self.bits + 1
        context = np.matmul(codes.swapaxes(-1, -2), v)
        total = v.sum(axis=2, keepdims=True) if self.constant == "sum" else v
        weights = np.matmul(codes, codes.sum(axis=2)[..., None]) + constant * codes.shape[2]
        out = ((np.matmul(codes, context) + constant * total) / weights).swapaxes(1, 2)
        return float32(np.ascontiguousarray(out).reshape(*out.shape[:2], -1))

    def macs(self, *types: TensorType) -> int:
        """Return the normalisation only: the codes add and subtract."""
        return types[1].size

    def additions(self, *types: TensorType) -> int:
        """Return signed sums of keys and of their values, and the codes' selections from both."""
        codes, v = types
        width = v.shape[2] // self.heads
        return 2 * codes.size * (width + 1) + math.prod(v.shape) + math.prod(v.shape[:2]) * self.heads

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return hash_accumulator_bound(types[1].shape[1], self.bits)
