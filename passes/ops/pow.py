from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import AS_TABLE, FLOAT_ONLY, of_several_values
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.numeric import broadcast, expect_count, float32


@dataclass(frozen=True, slots=True)
class Pow(Op):
    """a to the power b with numpy broadcasting."""

    facts = of_several_values(
        affine=False,
        chooses=False,
        carries_integers=False,
        accumulates=False,
        on_host=False,
        levels=FLOAT_ONLY,
        instructions=(7.8, AS_TABLE),
    )

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        return broadcast(*types)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return float32(np.power(a, b))
