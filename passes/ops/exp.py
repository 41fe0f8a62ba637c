from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import AS_TABLE, FLOAT_ONLY, of_one_value
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Exp(Unary):
    """e to the x."""

    facts = of_one_value(
        affine=False, accumulates=False, table=False, on_host=False, levels=FLOAT_ONLY, instructions=(7.8, AS_TABLE)
    )

    def f(self, x: Array) -> Array:
        result: Array = np.exp(x)
        return result
