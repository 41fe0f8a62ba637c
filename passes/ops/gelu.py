from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import erf, expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class Gelu(Op):
    """x * Phi(x); approximate = "none" (by erf) or "tanh" (Hendrycks and Gimpel 2016), as in ONNX."""

    approximate: str = "none"

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        expect(self.approximate in ("none", "tanh"), f"unknown approximation {self.approximate!r}")
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        x = np.asarray(arrays[0], np.float64)
        if self.approximate == "tanh":
            return float32(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
        return float32(0.5 * x * (1 + erf(x * math.sqrt(0.5))))
