from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import FLOAT_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Neg(Unary):
    """-x."""

    facts = of_one_value(
        affine=True, accumulates=True, table=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION
    )

    def f(self, x: Array) -> Array:
        result: Array = -x
        return result
