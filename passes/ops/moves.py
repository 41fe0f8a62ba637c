"""Operators that move elements of their operands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Allowed, Array, Int, Op, Shape, TensorType, expect
from edgewright.passes.ir.facts import ONE_OPERATION, of_a_move
from edgewright.passes.ops.arith import limit
from edgewright.passes.ops.numeric import axis_of, expect_count


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
        return np.asarray(np.take(data, indices % size, axis=self.axis))


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
