from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Tanh(Unary):
    """Hyperbolic tangent."""

    facts = activation((8.8, AS_TABLE))

    def f(self, x: Array) -> Array:
        result: Array = np.tanh(x)
        return result
