"""Attention by hash codes, and the codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT8, INT32, Allowed, Array, Op, TensorType, expect, fixed
from edgewright.passes.ir.facts import BOTH_LEVELS, of_a_product, of_rows
from edgewright.passes.ops.arith_hashing import HEAD_WIDTH_MAX, SUPPORTS_MAX, hash_accumulator_bound, hash_attention, hash_codes
from edgewright.passes.ops.numeric import expect_count, expect_factor, float32

NORM_FLOOR = 1e-12  # added to a squared norm: the direction of a vector of zeros is zero


@dataclass(frozen=True, slots=True)
class HashCodes(Op):
    """HashCodes(u (B, T, H dk), anchors (H, m, dk), coefficients (H, b, m), threshold (H, b)) -> (B, T, H b) of +1, -1.

    Float, per head: u' = u / |u|; kernel_j = exp(-|u' - anchor_j|^2 / (2 sigma)); bit r is +1 where
    sum_j coefficients[r, j] kernel_j >= threshold[r], else -1. sigma is one constant of the layer, from calibration.
    Integers: u, anchors and coefficients int8, threshold int32, and offset (H, m), attributes multiplier and shift
    (`arith_hashing.kernels`; sigma is kept for reports) -> int8.
    Source: EcoFormer (arXiv 2209.09004), section 3.2; threshold = coefficients times the mean kernel.
    """

    facts = of_rows(per_token=False, accumulates=False, on_host=False, levels=BOTH_LEVELS, instructions=(38.0, 98.0))

    heads: int
    sigma: float = 1.0
    multiplier: int = 0
    shift: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 4, 5)
        u, anchors, coefficients, threshold = types[:4]
        expect(u.rank == 3 and u.shape[2] % self.heads == 0, f"u {u.shape} does not divide into {self.heads} heads")
        width = u.shape[2] // self.heads
        expect(anchors.rank == 3 and coefficients.rank == 3, f"anchors {anchors.shape}, coefficients {coefficients.shape}")
        supports, bits = anchors.shape[1], coefficients.shape[1]
        expect(min(supports, bits) > 0, f"{supports} anchors, {bits} bits")
        expect(anchors.shape == (self.heads, supports, width), f"anchors {anchors.shape} do not fit heads of {width}")
        expect(
            coefficients.shape == (self.heads, bits, supports) and threshold.shape == (self.heads, bits),
            f"coefficients {coefficients.shape} and threshold {threshold.shape} do not fit {supports} anchors",
        )
        expect(len({t.is_float for t in types}) == 1, f"mixed float and integer: {', '.join(map(str, types))}")
        expect(self.sigma > 0, f"sigma {self.sigma} is not positive")
        shape = (*u.shape[:2], self.heads * bits)
        if u.is_float:
            expect_count(types, 4)
            return TensorType(shape, F32)
        expect_count(types, 5)
        expect(types[4].shape == (self.heads, supports), f"offset {types[4].shape} does not fit {supports} anchors")
        expect(width <= HEAD_WIDTH_MAX and supports <= SUPPORTS_MAX, f"{supports} anchors of {width} are too many")
        expect_factor("multiplier", self.multiplier, self.shift)
        return TensorType(shape, INT8)

    def eval(self, *arrays: Array) -> Array:
        u, anchors, coefficients, threshold = arrays[:4]
        if u.dtype.kind != "f":
            return hash_codes(u, anchors, coefficients, threshold, arrays[4], self.multiplier, self.shift)
        signs = np.where(self.margins(u, anchors, coefficients, threshold) >= 0, 1.0, -1.0)
        return float32(signs.reshape(*u.shape[:2], -1))

    def margins(self, u: Array, anchors: Array, coefficients: Array, threshold: Array) -> Array:
        """Return what the bits are the signs of, (B, T, H, b), in float64."""
        factors = np.asarray(coefficients, np.float64)
        return np.asarray(np.einsum("bthm,hrm->bthr", self.kernels(u, anchors), factors, optimize=True) - threshold)

    def kernels(self, u: Array, anchors: Array) -> Array:
        """Return similarities of each token to each anchor, (B, T, H, m), in float64."""
        split = np.asarray(u, np.float64).reshape(*u.shape[:2], self.heads, -1)
        anchors = np.asarray(anchors, np.float64)
        directions = split / np.sqrt((split * split).sum(axis=-1, keepdims=True) + NORM_FLOOR)
        cosines = np.einsum("bthd,hmd->bthm", directions, anchors, optimize=True)
        squares = (directions * directions).sum(axis=-1, keepdims=True) + (anchors * anchors).sum(axis=-1)
        return np.asarray(np.exp((2 * cosines - squares) / (2 * self.sigma)))

    def macs(self, *types: TensorType) -> int:
        u, anchors, coefficients = types[:3]
        return math.prod(u.shape[:2]) * (anchors.size + coefficients.size)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("anchor", values[1], -127, 127)
        yield fixed("coefficient", values[2], -127, 127)
        yield fixed("offset", values[4], 0, 1 << 24)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return types[1].shape[2] * 127 * 127


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
