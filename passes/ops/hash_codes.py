from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, of_rows
from edgewright.passes.ir.op import Allowed, Op, expect, fixed
from edgewright.passes.ir.types import F32, INT8, Array, TensorType
from edgewright.passes.ops.arith import SHIFT_MAX
from edgewright.passes.ops.arith_hashing import HEAD_WIDTH_MAX, SUPPORTS_MAX, hash_codes
from edgewright.passes.ops.numeric import expect_count, float32

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
        expect(
            1 << 15 <= self.multiplier < 1 << 16 and 1 <= self.shift <= SHIFT_MAX,
            f"multiplier {self.multiplier} >> {self.shift} out of range",
        )
        return TensorType(shape, INT8)

    def eval(self, *arrays: Array) -> Array:
        u, anchors, coefficients, threshold = arrays[:4]
        if u.dtype.kind != "f":
            return hash_codes(u, anchors, coefficients, threshold, arrays[4], self.multiplier, self.shift)
        signs = np.where(self.margins(u, anchors, coefficients, threshold) >= 0, 1.0, -1.0)
        return float32(signs.reshape(*u.shape[:2], -1))

    def margins(self, u: Array, anchors: Array, coefficients: Array, threshold: Array) -> Array:
        """Return what the bits are the signs of, (B, T, H, b), in float64."""
        kernels = self.kernels(u, anchors)
        products: Array = np.einsum("bthm,hrm->bthr", kernels, np.asarray(coefficients, np.float64), optimize=True)
        return products - threshold

    def kernels(self, u: Array, anchors: Array) -> Array:
        """Return similarities of each token to each anchor, (B, T, H, m), in float64."""
        split = np.asarray(u, np.float64).reshape(*u.shape[:2], self.heads, -1)
        anchors = np.asarray(anchors, np.float64)
        directions = split / np.sqrt((split * split).sum(axis=-1, keepdims=True) + NORM_FLOOR)
        cosines = np.einsum("bthd,hmd->bthm", directions, anchors, optimize=True)
        squares = (directions * directions).sum(axis=-1, keepdims=True) + (anchors * anchors).sum(axis=-1)
        kernels: Array = np.exp((2 * cosines - squares) / (2 * self.sigma))
        return kernels

    def macs(self, *types: TensorType) -> int:
        u, anchors, coefficients = types[:3]
        return math.prod(u.shape[:2]) * (anchors.size + coefficients.size)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("anchor", values[1], -127, 127)
        yield fixed("coefficient", values[2], -127, 127)
        yield fixed("offset", values[4], 0, 1 << 24)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return types[1].shape[2] * 127 * 127
