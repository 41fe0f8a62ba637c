from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import of_a_norm
from edgewright.passes.ir.op import Allowed, Op, expect, fixed
from edgewright.passes.ir.types import F32, INT8, Array, Int, TensorType
from edgewright.passes.ops.arith import LAYER_NORM_SHIFT_MAX, LAYER_NORM_WIDTH_MAX, layer_normalization
from edgewright.passes.ops.numeric import expect_count, float32


@dataclass(frozen=True, slots=True)
class LayerNormalization(Op):
    """Over the last axis, N wide.

    Float: (x, gamma (N,), beta (N,)), attribute epsilon.
    Integers: (x int16, multiplier (N,) signed below 2^16, offset (N,) of 48 bits) -> elem (int8 or int16), attributes
    eps_term and shift as in `arith.layer_normalization`; offset contains zero_point, kept for reports.
    """

    facts = of_a_norm((4.8, 5.3))

    epsilon: float = 1e-5
    eps_term: int = 0
    shift: int = 0
    zero_point: int = 0
    elem: Int = INT8

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        x, gamma, beta = types
        expect(
            gamma.shape == beta.shape == x.shape[-1:],
            f"{gamma.shape} and {beta.shape} do not fit the last axis of {x.shape}",
        )
        expect(x.is_float == gamma.is_float == beta.is_float, f"mixed float and integer: {x}, {gamma}, {beta}")
        if x.is_float:
            return TensorType(x.shape, F32)
        expect(x.shape[-1] <= LAYER_NORM_WIDTH_MAX, f"width {x.shape[-1]} above {LAYER_NORM_WIDTH_MAX}")
        expect(1 <= self.eps_term <= 1 << 50, f"eps_term {self.eps_term} outside [1, 2^50]")
        expect(1 <= self.shift <= LAYER_NORM_SHIFT_MAX, f"shift {self.shift} outside [1, {LAYER_NORM_SHIFT_MAX}]")
        return TensorType(x.shape, self.elem)

    def eval(self, *arrays: Array) -> Array:
        x, gamma, beta = arrays
        if x.dtype.kind != "f":
            return layer_normalization(x, gamma, beta, self.eps_term, self.shift, self.elem)
        x = np.asarray(x, np.float64)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return float32(centred / np.sqrt(variance + self.epsilon) * gamma + beta)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("multiplier", values[1], -(1 << 16) + 1, (1 << 16) - 1)
        yield fixed("offset", values[2], -(1 << 47), (1 << 47) - 1)
