from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ir.op import expect
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.numeric import erf
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Gelu(Unary):
    """x * Phi(x); approximate = "none" (by erf) or "tanh" (Hendrycks and Gimpel 2016), as in ONNX."""

    facts = activation((13.0, AS_TABLE))

    approximate: str = "none"

    def expect_attributes(self) -> None:
        expect(self.approximate in ("none", "tanh"), f"unknown approximation {self.approximate!r}")

    def f(self, x: Array) -> Array:
        x = np.asarray(x, np.float64)
        by_tanh = self.approximate == "tanh"
        phi = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) if by_tanh else erf(x * math.sqrt(0.5))
        result: Array = 0.5 * x * (1 + phi)
        return result
