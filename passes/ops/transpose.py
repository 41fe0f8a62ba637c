from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import of_a_move
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.numeric import expect_count


@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Axis i of the result is axis perm[i] of the operand."""

    facts = of_a_move(window=True, instructions=None)

    perm: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        (x,) = types
        expect(sorted(self.perm) == list(range(x.rank)), f"{self.perm} does not permute rank {x.rank}")
        return TensorType(tuple(x.shape[i] for i in self.perm), x.elem)

    def eval(self, *arrays: Array) -> Array:
        return np.ascontiguousarray(arrays[0].transpose(self.perm))
