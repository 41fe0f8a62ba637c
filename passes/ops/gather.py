from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import ONE_OPERATION, of_a_move
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.numeric import axis_of, expect_count


@dataclass(frozen=True, slots=True)
class Gather(Op):
    """Gather(data, indices): indices (negative: from the end) replace one axis of data, as in ONNX."""

    facts = of_a_move(window=False, instructions=ONE_OPERATION)

    axis: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        data, indices = types
        axis = axis_of(self.axis, data.rank)
        expect(not indices.is_float, "indices are integers")
        return TensorType(data.shape[:axis] + indices.shape + data.shape[axis + 1 :], data.elem)

    def eval(self, *arrays: Array) -> Array:
        data, indices = arrays
        size = data.shape[self.axis]
        if indices.size and not (-size <= indices.min() and indices.max() < size):
            raise IndexError(f"index outside axis {self.axis} of {data.shape}")
        result: Array = np.take(data, indices % size, axis=self.axis)
        return result
