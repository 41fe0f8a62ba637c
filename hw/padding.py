"""Values that only the engine has: heads and rows that are padded, values in another order, and what the host writes.

Heads whose width is not a whole number of memory words are each padded: exact, because zeros add nothing to a score, and what
becomes of values that are padded meets weights of zero."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Op, TensorType
from edgewright.passes.ops import Slice


@dataclass(frozen=True, slots=True)
class HeadPadding(Op):
    """HeadPadding(x (..., heads * d)) -> (..., heads * width): each head's channels, then ``fill``. Only the engine has it."""

    facts = Slice.facts

    heads: int
    width: int
    fill: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        return TensorType((*x.shape[:-1], self.heads * self.width), x.elem, x.quant)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        split = np.asarray(x).reshape(*x.shape[:-1], self.heads, -1)
        padding = [(0, 0)] * (split.ndim - 1) + [(0, self.width - split.shape[-1])]
        return np.pad(split, padding, constant_values=self.fill).reshape(*x.shape[:-1], -1)


@dataclass(frozen=True, slots=True)
class Padding(Op):
    """Padding(row): the same row, where the engine reads it for pixels outside of a map. Only the engine has it."""

    facts = Slice.facts

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def eval(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0])


@dataclass(frozen=True, slots=True)
class Written(Op):
    """Written(x): what the host writes, made of ``x`` (`hw/host_part.py`). Only the engine has it."""

    facts = Slice.facts

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def eval(self, *arrays: Array) -> Array:
        raise NotImplementedError("the host part makes it")


@dataclass(frozen=True, slots=True)
class Turned(Op):
    """Turned(x) -> (1, rows, channels): x with its channels along ``axis`` (from the end), stored so. Only the engine has
    it."""

    facts = Slice.facts

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        channels = x.shape[self.axis]
        return TensorType((1, x.size // channels, channels), x.elem, x.quant)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return np.moveaxis(np.asarray(x), self.axis, -1).reshape(1, -1, np.shape(x)[self.axis])


@dataclass(frozen=True, slots=True)
class Strip(Op):
    """Strip(x) -> (1, count, channels): some rows of x, whose channels are its last axis. Only the engine has it."""

    facts = Slice.facts

    first: int
    count: int

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        return TensorType((1, self.count, x.shape[-1]), x.elem, x.quant)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        rows = np.asarray(x).reshape(-1, np.shape(x)[-1])
        return rows[None, self.first : self.first + self.count]
