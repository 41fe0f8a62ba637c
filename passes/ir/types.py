"""Types of tensors: shape, element, and (for boundary and report) what integers stand for."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]


class Level(enum.Enum):
    """FLOAT: values are float32. QUANTISED: all values after `Quantise` are integers, `eval` is exact."""

    FLOAT = "float"
    QUANTISED = "quantised"


@dataclass(frozen=True, slots=True)
class Float32:
    """IEEE single precision. Use the constant `F32`."""

    @property
    def bits(self) -> int:
        return 32

    def __str__(self) -> str:
        return "f32"


@dataclass(frozen=True, slots=True)
class Int:
    """Two's complement (signed) or plain binary integer of `bits` bits."""

    bits: int
    signed: bool = True

    @property
    def lowest(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.bits}"


Elem: TypeAlias = Float32 | Int

F32 = Float32()
INT8 = Int(8)
INT16 = Int(16)
INT32 = Int(32)
INT64 = Int(64)


@dataclass(frozen=True, slots=True)
class Quant:
    """real = scale * (integer - zero_point). For the boundary and reports only; no integer op reads it.

    `scale` may be a tuple: one value per index of `axis`, a negative one (-1: the last, -3: channels of maps).
    """

    scale: float | tuple[float, ...]
    zero_point: int = 0
    axis: int = -1

    @property
    def scales(self) -> Array:
        """The scale as an array that broadcasts against values: shape () or (C,) followed by ones."""
        scale = np.asarray(self.scale, np.float64)
        return scale.reshape(-1, *[1] * (-self.axis - 1)) if scale.ndim else scale

    def real(self, values: Array) -> Array:
        """Return what integers stand for, in float64."""
        return self.scales * (np.asarray(values, np.float64) - self.zero_point)


@dataclass(frozen=True, slots=True)
class TensorType:
    """Shape (the leading batch of 1 included), element, and optional meaning of the integers."""

    shape: Shape
    elem: Elem = F32
    quant: Quant | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        return isinstance(self.elem, Float32)

    @property
    def size_bytes(self) -> int:
        """Bytes when every element takes whole bytes."""
        return self.size * ((self.elem.bits + 7) // 8)

    def __str__(self) -> str:
        return f"{self.elem}[{','.join(map(str, self.shape))}]"


def elem_of(dtype: np.dtype[Any]) -> Elem:
    """Return the element of a numpy dtype; floats of any width are F32, bool is u1."""
    if dtype.kind == "f":
        return F32
    if dtype.kind in "iu":
        return Int(dtype.itemsize * 8, dtype.kind == "i")
    if dtype.kind == "b":
        return Int(1, False)
    raise TypeError(f"no element for numpy dtype {dtype}")
