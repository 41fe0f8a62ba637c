"""Types of the kernel language: exact integers, small arrays of them, and structs.

Packing, the same everywhere (ports, FIFOs, buffers, `reinterpret`): an array is row-major with element 0 in the least
significant bits; a struct has its first field in the least significant bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*\Z")


def check_identifier(name: str, what: str) -> str:
    """Return `name`. ValueError unless it is letters, digits and single inner underscores (safe in SV and C++)."""
    if not IDENTIFIER.match(name):
        raise ValueError(f"{what} name {name!r} must be letters, digits and single underscores between them")
    return name


@dataclass(frozen=True, slots=True)
class Int:
    """An integer of exactly `bits` bits, two's complement where `signed`."""

    bits: int
    signed: bool

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 1 << 20:
            raise ValueError(f"an integer type has 1 to 2^20 bits, not {self.bits}")

    @property
    def low(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    def holds(self, other: Int) -> bool:
        """Return whether each value of `other` is a value of this type."""
        return self.low <= other.low and other.high <= self.high

    def __getitem__(self, shape: int | tuple[int, ...]) -> Array:
        return Array(self, (shape,) if isinstance(shape, int) else tuple(shape))

    def __str__(self) -> str:
        return f"{'i' if self.signed else 'u'}{self.bits}"


@dataclass(frozen=True, slots=True)
class Array:
    """A vector or matrix (any rank >= 1) of integers of one type."""

    elem: Int
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.shape or any(n < 1 for n in self.shape):
            raise ValueError(f"an array has at least one axis and no empty one, not {self.shape}")

    def __str__(self) -> str:
        return f"{self.elem}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True, init=False)
class Struct:
    """Named fields, the first in the least significant bits. Fields may be structs again."""

    name: str
    fields: tuple[tuple[str, Type], ...]

    def __init__(self, name: str, **fields: Type) -> None:
        check_identifier(name, "struct")
        if not fields:
            raise ValueError(f"struct {name} has no field")
        for field in fields:
            check_identifier(field, "field")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "fields", tuple(fields.items()))

    def field(self, name: str) -> Type:
        for key, type_ in self.fields:
            if key == name:
                return type_
        raise AttributeError(f"struct {self.name} has no field {name!r}, only {[k for k, _ in self.fields]}")

    def __str__(self) -> str:
        return f"{self.name}{{{', '.join(f'{k}: {t}' for k, t in self.fields)}}}"


Type = Int | Array | Struct
Leaf = Int | Array


def u(bits: int) -> Int:
    return Int(bits, False)


def i(bits: int) -> Int:
    return Int(bits, True)


def elem_of(type_: Type) -> Int:
    """Return the element type of an integer or array."""
    if isinstance(type_, Int):
        return type_
    if isinstance(type_, Array):
        return type_.elem
    raise TypeError(f"{type_.name} is a struct, not an integer or array")


def shape_of(type_: Type) -> tuple[int, ...]:
    """Return the shape of an array, () for a scalar."""
    if isinstance(type_, Array):
        return type_.shape
    if isinstance(type_, Int):
        return ()
    raise TypeError(f"{type_.name} is a struct, not an integer or array")


def size_of(shape: tuple[int, ...]) -> int:
    n = 1
    for extent in shape:
        n *= extent
    return n


def leaf(elem: Int, shape: tuple[int, ...]) -> Leaf:
    return Array(elem, shape) if shape else elem


def width(type_: Type) -> int:
    """Return the number of bits of the packed value."""
    if isinstance(type_, Int):
        return type_.bits
    if isinstance(type_, Array):
        return type_.elem.bits * size_of(type_.shape)
    return sum(width(t) for _, t in type_.fields)


def leaves(type_: Type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf, int]]:
    """Yield each part that is not a struct as (path, type, offset of its lowest bit), the lowest first."""
    if not isinstance(type_, Struct):
        yield path, type_, 0
        return
    offset = 0
    for name, part in type_.fields:
        for sub, leaf_type, at in leaves(part, (*path, name)):
            yield sub, leaf_type, offset + at
        offset += width(part)


def of_range(low: int, high: int) -> Int:
    """Return the narrowest type that holds low..high, unsigned where low >= 0."""
    if low > high:
        raise ValueError(f"empty range {low}..{high}")
    if low >= 0:
        return u(max(1, high.bit_length()))
    return i(max(high.bit_length(), (-low - 1).bit_length()) + 1)


def union(*types: Int) -> Int:
    """Return the narrowest type that holds all values of all `types`."""
    return of_range(min(t.low for t in types), max(t.high for t in types))


WORD_BYTES = 16
"""Bytes of a memory word: one beat of every AXI port."""
Request = Struct("AxiRequest", addr=u(40), beats=u(16), mark=u(1))
Data = u(8 * WORD_BYTES)
Done = u(1)
