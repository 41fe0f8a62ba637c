from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class HardSwish(Unary):
    """x * clip(x / 6 + 1 / 2, 0, 1)."""

    facts = activation((1.75, AS_TABLE))

    def f(self, x: Array) -> Array:
        result: Array = x * np.clip(np.asarray(x, np.float64) / 6 + 0.5, 0, 1)
        return result
