"""The activations of networks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Op, expect
from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ops.clipping import Relu
from edgewright.passes.ops.numeric import erf, sigmoid
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Erf(Unary):
    """The error function."""

    facts = activation((11.2, AS_TABLE))

    def f(self, x: Array) -> Array:
        return erf(x)


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
        return np.asarray(0.5 * x * (1 + phi))


@dataclass(frozen=True, slots=True)
class HardSwish(Unary):
    """x * clip(x / 6 + 1 / 2, 0, 1)."""

    facts = activation((1.75, AS_TABLE))

    def f(self, x: Array) -> Array:
        return np.asarray(x * np.clip(np.asarray(x, np.float64) / 6 + 0.5, 0, 1))


@dataclass(frozen=True, slots=True)
class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""

    facts = activation((8.6, AS_TABLE))

    def f(self, x: Array) -> Array:
        return sigmoid(x)


@dataclass(frozen=True, slots=True)
class Silu(Unary):
    """x * sigmoid(x)."""

    facts = activation((8.7, AS_TABLE))

    def f(self, x: Array) -> Array:
        return np.asarray(x * sigmoid(x))


@dataclass(frozen=True, slots=True)
class Tanh(Unary):
    """Hyperbolic tangent."""

    facts = activation((8.8, AS_TABLE))

    def f(self, x: Array) -> Array:
        return np.asarray(np.tanh(x))


ACTIVATIONS: dict[str, Op] = {
    "Gelu": Gelu("none"),
    "GeluTanh": Gelu("tanh"),
    "Silu": Silu(),
    "Sigmoid": Sigmoid(),
    "Tanh": Tanh(),
    "Relu": Relu(),
    "HardSwish": HardSwish(),
}
"""By the names of MoE's attribute: what an expert applies between its products, and what the reader recognises in a chain of
operators. New ones go last: micro-kernels number them in this order."""
