"""Normalisations: over the last axis, N wide, and of channels with stored statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT8, Allowed, Array, Int, Op, TensorType, expect, fixed
from edgewright.passes.ir.facts import FLOAT_ONLY, of_a_norm, of_rows
from edgewright.passes.ops.arith import (
    LAYER_NORM_NARROW,
    LAYER_NORM_SHIFT_MAX,
    LAYER_NORM_WIDTH_MAX,
    eps_term_max,
    layer_normalization,
    rms_normalization,
)
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class Norm(Op):
    """Float: x and factors (N,), attribute epsilon.

    Integers: (x int16, multiplier (N,) signed below 2^16, offset (N,) of 48 bits) -> elem (int8 or int16), attributes
    eps_term and shift as in `arith`; offset contains zero_point, kept for reports. Rows wider than LAYER_NORM_NARROW may
    have one multiplier and one offset (1,) each.
    """

    epsilon: float = 1e-5
    eps_term: int = 0
    shift: int = 0
    zero_point: int = 0
    elem: Int = INT8

    def result_type(self, *types: TensorType) -> TensorType:
        """Return the result's type; raise InferError where x, the factors and the attributes do not fit each other."""
        x, *factors = types
        width = x.shape[-1]
        shapes = {(width,)} if x.is_float or width <= LAYER_NORM_NARROW else {(width,), (1,)}
        expect(
            len({t.shape for t in factors}) == 1 and factors[0].shape in shapes,
            f"{' and '.join(str(t.shape) for t in factors)} do not fit the last axis of {x.shape}",
        )
        expect(all(t.is_float == x.is_float for t in factors), f"mixed float and integer: {', '.join(map(str, types))}")
        if x.is_float:
            return TensorType(x.shape, F32)
        expect_count(types, 3)
        expect(width <= LAYER_NORM_WIDTH_MAX, f"width {width} above {LAYER_NORM_WIDTH_MAX}")
        most = eps_term_max(width)
        expect(1 <= self.eps_term <= most, f"eps_term {self.eps_term} outside [1, {most}]")
        expect(1 <= self.shift <= LAYER_NORM_SHIFT_MAX, f"shift {self.shift} outside [1, {LAYER_NORM_SHIFT_MAX}]")
        return TensorType(x.shape, self.elem)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("multiplier", values[1], -(1 << 16) + 1, (1 << 16) - 1)
        yield fixed("offset", values[2], -(1 << 47), (1 << 47) - 1)


@dataclass(frozen=True, slots=True)
class LayerNormalization(Norm):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, operands (x, gamma (N,), beta (N,)); integers as `Norm` says."""

    facts = of_a_norm((4.8, 5.3))

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        return self.result_type(*types)

    def eval(self, *arrays: Array) -> Array:
        x, gamma, beta = arrays
        if x.dtype.kind != "f":
            return layer_normalization(x, gamma, beta, self.eps_term, self.shift, self.elem)
        x = np.asarray(x, np.float64)
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return float32(centred / np.sqrt(variance + self.epsilon) * gamma + beta)


@dataclass(frozen=True, slots=True)
class RMSNormalization(Norm):
    """x / sqrt(mean(x^2) + epsilon) * gamma, which equals LayerNormalization where the mean is 0.

    Operands (x, gamma (N,)); `ReparameteriseLayerNorm` alone adds an offset (N,), added last. Integers as `Norm` says.
    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (NeurIPS 2019), equation 4.
    """

    facts = of_a_norm((3.0, 4.9))

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2, 3)
        return self.result_type(*types)

    def eval(self, *arrays: Array) -> Array:
        x, gamma, *offset = arrays
        if x.dtype.kind != "f":
            return rms_normalization(x, gamma, offset[0], self.eps_term, self.shift, self.elem)
        x = np.asarray(x, np.float64)
        scaled = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + self.epsilon) * gamma
        return float32(scaled + offset[0] if offset else scaled)


@dataclass(frozen=True, slots=True)
class BatchNormalization(Op):
    """BatchNormalization(x (1, C, ...), scale, bias, mean, variance, each (C,)) with stored statistics."""

    facts = of_rows(per_token=False, accumulates=False, on_host=False, levels=FLOAT_ONLY, instructions=None)

    epsilon: float = 1e-5

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 5)
        expect_float(*types)
        x = types[0]
        expect(x.rank >= 2, f"needs a channel axis, got {x.shape}")
        expect(all(t.shape == (x.shape[1],) for t in types[1:]), f"parameters do not fit {x.shape[1]} channels")
        return TensorType(x.shape, F32)

    def eval(self, *arrays: Array) -> Array:
        x, gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
        factor = gamma / np.sqrt(variance + self.epsilon)
        channels = (-1, *(1 for _ in range(x.ndim - 2)))
        return float32(x * factor.reshape(channels) + (beta - mean * factor).reshape(channels))
