"""Where values are while a model runs: strided views of flat storage, so that slices and transposes cost nothing."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgewright.passes.ir import Array, Elem, Int, Shape


class Space(enum.Enum):
    """The memory of the model that a storage belongs to."""

    WEIGHTS = "weights"
    WORK = "work"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(eq=False, slots=True)
class TensorStorage:
    """`elements` values of one dtype. `value`: the values of weights; `index`: which input or output."""

    space: Space
    dtype: str
    elements: int
    value: Array | None = field(default=None, repr=False)
    index: int = 0

    @property
    def size_bytes(self) -> int:
        return self.elements * ITEM_BYTES[self.dtype]


CHANNELS_LAST = (0, 2, 3, 1)
ITEM_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "int32": 4, "int64": 8, "float32": 4, "float64": 8}


@dataclass(frozen=True, slots=True)
class StridedView:
    """Element (i0, i1, ...) is at `offset + sum(i * stride)` of the storage; strides count elements."""

    storage: TensorStorage
    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def dtype(self) -> str:
        return self.storage.dtype

    @property
    def span(self) -> int:
        """Elements from the first to the last, both included."""
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    def transpose(self, order: Sequence[int]) -> StridedView:
        return StridedView(
            self.storage, tuple(self.shape[i] for i in order), tuple(self.strides[i] for i in order), self.offset
        )

    def slice(self, axis: int, start: int, stop: int, step: int = 1) -> StridedView:
        axis %= len(self.shape)
        length = -(-(stop - start) // step)
        return StridedView(
            self.storage,
            (*self.shape[:axis], length, *self.shape[axis + 1 :]),
            (*self.strides[:axis], self.strides[axis] * step, *self.strides[axis + 1 :]),
            self.offset + start * self.strides[axis],
        )

    def broadcast_to(self, shape: Shape) -> StridedView:
        """Broadcast as numpy does: leading axes are added, axes of one element repeat."""
        missing = len(shape) - len(self.shape)
        sizes = (*(1 for _ in range(missing)), *self.shape)
        strides = (*(0 for _ in range(missing)), *self.strides)
        return StridedView(
            self.storage,
            shape,
            tuple(s if n == m else 0 for n, m, s in zip(sizes, shape, strides, strict=True)),
            self.offset,
        )

    def reshape(self, shape: Shape) -> StridedView | None:
        """Return the same elements in row-major order in another shape; None if that needs a copy."""
        strides = _reshaped(self.shape, self.strides, shape)
        return None if strides is None else StridedView(self.storage, shape, strides, self.offset)


def contiguous(storage: TensorStorage, shape: Shape, order: Sequence[int] | None = None) -> StridedView:
    """Return a dense view of the whole storage; `order` lists the axes from outermost to innermost."""
    order = tuple(range(len(shape))) if order is None else tuple(order)
    strides = [0] * len(shape)
    step = 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return StridedView(storage, shape, tuple(strides))


def channels_last(image: StridedView) -> StridedView:
    """Return an image (batch, channels, rows, columns) as (batch, rows, columns, channels)."""
    return image.transpose(CHANNELS_LAST)


def dtype_of(elem: Elem) -> str:
    """Return the C type that holds an element."""
    if not isinstance(elem, Int):
        return "float32"
    bits = next(bits for bits in (8, 16, 32, 64) if elem.bits <= bits)
    return f"int{bits}" if elem.signed else f"uint{bits}"


def collapse(shape: Shape, strides: Sequence[tuple[int, ...]]) -> tuple[Shape, list[tuple[int, ...]]]:
    """Return the fewest axes over which several strided views of one shape can be walked together."""
    axes = [i for i, n in enumerate(shape) if n != 1]
    sizes: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for axis in axes:
        if sizes and all(walk[-1] == s[axis] * shape[axis] for walk, s in zip(steps, strides, strict=True)):
            sizes[-1] *= shape[axis]
            for walk, s in zip(steps, strides, strict=True):
                walk[-1] = s[axis]
        else:
            sizes.append(shape[axis])
            for walk, s in zip(steps, strides, strict=True):
                walk.append(s[axis])
    if not sizes:
        return (1,), [(0,) for _ in strides]
    return tuple(sizes), [tuple(walk) for walk in steps]


def _reshaped(shape: Shape, strides: tuple[int, ...], target: Shape) -> tuple[int, ...] | None:
    if math.prod(shape) != math.prod(target):
        raise ValueError(f"{shape} does not reshape to {target}")
    sizes, (steps,) = collapse(shape, [strides])
    new_strides: list[int] = []
    group = len(sizes) - 1
    left, step = sizes[group], steps[group]
    for n in reversed(target):
        if n == 1:
            new_strides.append(0)
            continue
        if left == 1:
            group -= 1
            left, step = sizes[group], steps[group]
        if left % n:
            return None
        new_strides.append(step)
        left //= n
        step *= n
    return tuple(reversed(new_strides))
