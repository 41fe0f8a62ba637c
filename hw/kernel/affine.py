"""Positions in row-major arrays as affine functions: of the counters of printed loops, and of the indices of a `Strided`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Affine:
    """offset + sum(coefficient * counter). The text is that of SystemVerilog; `spaced` gives that of C++."""

    offset: int = 0
    terms: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: Affine | int) -> Affine:
        if isinstance(other, int):
            return Affine(self.offset + other, self.terms)
        merged = dict(self.terms)
        for name, k in other.terms:
            merged[name] = merged.get(name, 0) + k
        return Affine(self.offset + other.offset, tuple((n, k) for n, k in merged.items() if k))

    def __mul__(self, factor: int) -> Affine:
        return Affine(self.offset * factor, tuple((n, k * factor) for n, k in self.terms if k * factor))

    def __str__(self) -> str:
        text = ""
        for name, k in self.terms:
            sign = "-" if k < 0 else "+" if text else ""
            text += f"{sign}{name}" if abs(k) == 1 else f"{sign}{abs(k)}*{name}"
        if not text:
            return str(self.offset)
        return text + (f"{self.offset:+d}" if self.offset else "")

    def spaced(self) -> str:
        """With spaces around operators, the largest coefficient first."""
        text = ""
        for name, k in sorted(self.terms, key=lambda term: -abs(term[1])):
            part = name if abs(k) == 1 else f"{abs(k)} * {name}"
            text = f"{text} {'-' if k < 0 else '+'} {part}" if text else ("-" if k < 0 else "") + part
        if self.offset or not text:
            text = f"{text} {'-' if self.offset < 0 else '+'} {abs(self.offset)}" if text else str(self.offset)
        return text


def affine(offset: int, strides: Iterable[int], index: Iterable[Affine]) -> Affine:
    """offset + sum(stride * index)."""
    total = Affine(offset)
    for stride, at in zip(strides, index, strict=True):
        total = total + at * stride
    return total


def flat(index: Sequence[Affine], shape: tuple[int, ...]) -> Affine:
    """Row-major position of `index` in an array of `shape`."""
    total = Affine()
    for at, n in zip(index, shape, strict=True):
        total = total * n + at
    return total


def aligned(index: Sequence[Affine], shape: tuple[int, ...]) -> tuple[Affine, ...]:
    """The index into an operand of `shape` that broadcasts to the indexed array, aligned at the last axis."""
    tail = index[len(index) - len(shape) :]
    return tuple(at if n > 1 else Affine() for at, n in zip(tail, shape, strict=True))


def positions(op: ir.Strided, shape: tuple[int, ...], dtype: Any = np.int64) -> NDArray[Any]:
    """The value of `op`'s affine function at each index of an array of `shape`: the flat source position of each element."""
    at = np.full(shape, op.offset, dtype)
    for axis, (n, stride) in enumerate(zip(shape, op.strides, strict=True)):
        at = at + stride * np.arange(n).reshape([-1 if d == axis else 1 for d in range(len(shape))])
    return at


def fitted(values: NDArray[Any]) -> ir.Strided | None:
    """The affine function of their indices that `values` are, if they are one; axes of length 1 have stride 0."""
    offset = int(values.flat[0])
    strides = []
    for axis, n in enumerate(values.shape):
        second = tuple(int(d == axis) for d in range(values.ndim))
        strides.append(int(values[second]) - offset if n > 1 else 0)
    op = ir.Strided(offset, tuple(strides))
    return op if np.array_equal(positions(op, values.shape, values.dtype), values) else None
