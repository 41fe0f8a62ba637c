"""Functions of one value that are no more than a formula: one operator, with the name of the function as attribute."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, expect
from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class NamedFunction:
    """A function as ONNX defines it: its attributes in order with their defaults, and its value in float64."""

    value: Callable[..., Array]
    parameters: Mapping[str, float]


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _expm1(x: Array) -> Array:
    return np.expm1(np.minimum(x, 0))


FUNCTIONS: dict[str, NamedFunction] = {
    "Abs": NamedFunction(np.abs, {}),
    "Ceil": NamedFunction(np.ceil, {}),
    "Celu": NamedFunction(lambda x, alpha: np.maximum(x, 0) + alpha * _expm1(x / alpha), {"alpha": 1.0}),
    "Cos": NamedFunction(np.cos, {}),
    "Elu": NamedFunction(lambda x, alpha: np.maximum(x, 0) + alpha * _expm1(x), {"alpha": 1.0}),
    "Floor": NamedFunction(np.floor, {}),
    "HardSigmoid": NamedFunction(lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1), {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": NamedFunction(lambda x, alpha: np.where(x < 0, alpha * x, x), {"alpha": 0.01}),
    "Log": NamedFunction(np.log, {}),
    "Mish": NamedFunction(lambda x: x * np.tanh(_softplus(x)), {}),
    "Round": NamedFunction(np.round, {}),
    "Selu": NamedFunction(
        lambda x, alpha, gamma: gamma * (np.maximum(x, 0) + alpha * _expm1(x)),
        {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    ),
    "Sin": NamedFunction(np.sin, {}),
    "Softplus": NamedFunction(_softplus, {}),
    "Softsign": NamedFunction(lambda x: x / (1 + np.abs(x)), {}),
    "ThresholdedRelu": NamedFunction(lambda x, alpha: np.where(x > alpha, x, 0), {"alpha": 1.0}),
}
"""ONNX's name of each; Round takes halves to the even neighbour."""


@dataclass(frozen=True, slots=True)
class Elementwise(Unary):
    """FUNCTIONS[function] of every element, with its attributes in `parameters`."""

    # most of them hold an exponential or a logarithm: counted as Exp
    facts = activation((7.8, AS_TABLE))

    function: str
    parameters: tuple[float, ...] = ()

    def expect_attributes(self) -> None:
        expect(self.function in FUNCTIONS, f"unknown function {self.function!r}")
        count = len(FUNCTIONS[self.function].parameters)
        expect(len(self.parameters) == count, f"{self.function} takes {count} parameters, got {len(self.parameters)}")

    def f(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return FUNCTIONS[self.function].value(np.asarray(x, np.float64), *self.parameters)
