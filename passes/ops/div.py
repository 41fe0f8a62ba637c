from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import FLOAT_ONLY, ONE_OPERATION, of_several_values
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.numeric import broadcast, expect_count, float32


@dataclass(frozen=True, slots=True)
class Div(Op):
    """a / b with numpy broadcasting."""

    facts = of_several_values(
        affine=True,
        chooses=False,
        carries_integers=False,
        accumulates=True,
        on_host=True,
        levels=FLOAT_ONLY,
        instructions=ONE_OPERATION,
    )

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        return broadcast(*types)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return float32(np.divide(a, b))
