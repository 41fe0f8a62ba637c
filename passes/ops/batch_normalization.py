from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import FLOAT_ONLY, of_rows
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


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
