from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import FLOAT_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Sign(Unary):
    """1 above zero, -1 below, 0 at zero."""

    facts = of_one_value(
        affine=False, accumulates=False, table=False, on_host=False, levels=FLOAT_ONLY, instructions=ONE_OPERATION
    )

    def f(self, x: Array) -> Array:
        result: Array = np.sign(x)
        return result
