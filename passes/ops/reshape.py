from __future__ import annotations

import math
from dataclasses import dataclass

from edgewright.passes.ir.facts import of_a_move
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, Shape, TensorType
from edgewright.passes.ops.numeric import expect_count


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """Same elements in row-major order under another shape (complete: no -1, no 0)."""

    facts = of_a_move(window=True, instructions=None)

    shape: Shape

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        (x,) = types
        expect(all(n > 0 for n in self.shape), f"shape {self.shape} is not complete")
        expect(math.prod(self.shape) == x.size, f"{x.shape} does not reshape to {self.shape}")
        return TensorType(self.shape, x.elem)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        if self.shape[:1] == (1,) and x.size != math.prod(self.shape):  # a batch of samples
            return x.reshape(-1, *self.shape[1:])
        return x.reshape(self.shape)
