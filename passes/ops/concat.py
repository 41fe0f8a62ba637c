from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import of_a_move
from edgewright.passes.ir.op import Allowed, Op, expect
from edgewright.passes.ir.types import Array, Int, TensorType
from edgewright.passes.ops.arith import limit
from edgewright.passes.ops.numeric import axis_of


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Operands of one element type joined along an axis."""

    facts = of_a_move(window=False, instructions=None)

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        expect(bool(types), "takes at least one operand")
        first = types[0]
        axis = axis_of(self.axis, first.rank)
        for t in types[1:]:
            same = t.rank == first.rank and all(
                i == axis or n == m for i, (n, m) in enumerate(zip(t.shape, first.shape, strict=True))
            )
            expect(same and t.elem == first.elem, f"{t} does not join {first} along axis {axis}")
        joined = sum(t.shape[axis] for t in types)
        return TensorType((*first.shape[:axis], joined, *first.shape[axis + 1 :]), first.elem)

    def eval(self, *arrays: Array) -> Array:
        axis = self.axis % arrays[0].ndim
        if axis != 0:  # constants follow the batch of the others
            batch = max(a.shape[0] for a in arrays)
            arrays = tuple(np.broadcast_to(a, (batch, *a.shape[1:])) if a.shape[0] == 1 else a for a in arrays)
        if any(a.dtype.kind in "iu" for a in arrays):
            arrays = tuple(a.astype(np.int64) for a in arrays)
        return np.concatenate(arrays, axis=axis)

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        elem = types[0].elem
        high = limit(elem) if isinstance(elem, Int) else 0
        for value in values:
            if value is not None:
                yield Allowed("constant", value, -high, high)
