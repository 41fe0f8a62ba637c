from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import of_a_move
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.numeric import axis_of, expect_count


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """Elements start, start + step, ... below stop along one axis; 0 <= start < stop <= size, step >= 1."""

    facts = of_a_move(window=True, instructions=None)

    axis: int
    start: int
    stop: int
    step: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        (x,) = types
        axis = axis_of(self.axis, x.rank)
        size = x.shape[axis]
        expect(
            0 <= self.start < self.stop <= size and self.step >= 1,
            f"[{self.start}:{self.stop}:{self.step}] does not fit axis {axis} of {x.shape}",
        )
        length = len(range(self.start, self.stop, self.step))
        return TensorType((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.elem)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        index = [slice(None)] * x.ndim
        index[self.axis] = slice(self.start, self.stop, self.step)
        return x[tuple(index)]
