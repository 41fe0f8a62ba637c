from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.numeric import sigmoid
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""

    facts = activation((8.6, AS_TABLE))

    def f(self, x: Array) -> Array:
        return sigmoid(x)
