from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import of_a_choice
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.numeric import expect_count


@dataclass(frozen=True, slots=True)
class Where(Op):
    """Where(condition, a, b): a where the condition, an integer, is not 0, else b; numpy broadcasting."""

    facts = of_a_choice(carries_integers=True)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        condition, a, b = types
        expect(not condition.is_float, f"the condition is an integer, got {condition}")
        expect(a.elem == b.elem, f"chooses between {a} and {b}")
        return TensorType(np.broadcast_shapes(*(t.shape for t in types)), a.elem)

    def eval(self, *arrays: Array) -> Array:
        condition, a, b = arrays
        return np.asarray(np.where(condition != 0, a, b))
