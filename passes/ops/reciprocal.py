from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import FLOAT_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Reciprocal(Unary):
    """1 / x."""

    facts = of_one_value(
        affine=False, accumulates=False, table=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION
    )

    def f(self, x: Array) -> Array:
        result: Array = 1 / np.asarray(x, np.float32)
        return result
