from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import of_a_norm
from edgewright.passes.ir.op import Allowed, Op, expect, fixed
from edgewright.passes.ir.types import F32, INT8, Array, Int, TensorType
from edgewright.passes.ops.arith import LAYER_NORM_SHIFT_MAX, LAYER_NORM_WIDTH_MAX, rms_normalization
from edgewright.passes.ops.numeric import expect_count, float32


@dataclass(frozen=True, slots=True)
class RMSNormalization(Op):
    """Over the last axis, N wide: x / sqrt(mean(x^2) + epsilon), times gamma; equal to LayerNormalization where the mean is 0.

    Float: (x, gamma (N,)), attribute epsilon; `ReparameteriseLayerNorm` alone adds an operand, an offset (N,) behind all.
    Integers: (x int16, multiplier (N,) signed below 2^16, offset (N,) of 48 bits) -> elem (int8 or int16), attributes
    eps_term and shift as in `arith.rms_normalization`; offset contains zero_point, kept for reports.
    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (NeurIPS 2019), equation 4.
    """

    facts = of_a_norm((3.0, 4.9))

    epsilon: float = 1e-5
    eps_term: int = 0
    shift: int = 0
    zero_point: int = 0
    elem: Int = INT8

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2, 3)
        x, *factors = types
        expect(
            all(t.shape == x.shape[-1:] for t in factors),
            f"{', '.join(str(t.shape) for t in factors)} does not fit the last axis of {x.shape}",
        )
        expect(all(t.is_float == x.is_float for t in factors), f"mixed float and integer: {', '.join(map(str, types))}")
        if x.is_float:
            return TensorType(x.shape, F32)
        expect_count(types, 3)
        expect(x.shape[-1] <= LAYER_NORM_WIDTH_MAX, f"width {x.shape[-1]} above {LAYER_NORM_WIDTH_MAX}")
        expect(1 <= self.eps_term <= 1 << 50, f"eps_term {self.eps_term} outside [1, 2^50]")
        expect(1 <= self.shift <= LAYER_NORM_SHIFT_MAX, f"shift {self.shift} outside [1, {LAYER_NORM_SHIFT_MAX}]")
        return TensorType(x.shape, self.elem)

    def eval(self, *arrays: Array) -> Array:
        x, gamma, *offset = arrays
        if x.dtype.kind != "f":
            return rms_normalization(x, gamma, offset[0], self.eps_term, self.shift, self.elem)
        x = np.asarray(x, np.float64)
        scaled = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon) * gamma
        return float32(scaled + offset[0] if offset else scaled)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("multiplier", values[1], -(1 << 16) + 1, (1 << 16) - 1)
        yield fixed("offset", values[2], -(1 << 47), (1 << 47) - 1)
