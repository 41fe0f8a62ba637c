from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import AS_TABLE, activation
from edgewright.passes.ir.types import Array
from edgewright.passes.ops.numeric import erf
from edgewright.passes.ops.unary import Unary


@dataclass(frozen=True, slots=True)
class Erf(Unary):
    """The error function."""

    facts = activation((11.2, AS_TABLE))

    def f(self, x: Array) -> Array:
        return erf(x)
