"""Tokens as numpy arrays: a stream of n tokens is, for each leaf of its type, one array with n rows.

Elements of at most 62 bits are int64, wider ones Python ints (dtype object)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from edgewright.hw.kernel.types import Int, Leaf, Struct, Type, elem_of, leaves, shape_of, width
from numpy.typing import NDArray

Rows = NDArray[Any]  # (n, *shape), int64 or object
NARROW = 62


def dtype_of(e: Int) -> Any:
    return np.int64 if e.bits <= NARROW else object


def settle(rows: Rows, e: Int) -> Rows:
    """Return the same numbers in the dtype for `e`."""
    dtype = dtype_of(e)
    return rows if rows.dtype == dtype else rows.astype(dtype)


def in_range(rows: Rows, e: Int) -> bool:
    if rows.size == 0:
        return True
    return bool(rows.min() >= e.low and rows.max() <= e.high)


def to_bits(rows: Rows, e: Int) -> NDArray[np.uint8]:
    """(n, ..) numbers -> (n, .., bits) bits, least significant first."""
    if e.bits <= NARROW:
        octets = np.ascontiguousarray(rows, dtype="<i8").view(np.uint8).reshape(*rows.shape, 8)
    else:
        size, mask = (e.bits + 7) // 8, (1 << e.bits) - 1
        raw = b"".join((int(v) & mask).to_bytes(size, "little") for v in rows.flat)
        octets = np.frombuffer(raw, np.uint8).reshape(*rows.shape, size)
    return np.unpackbits(octets, axis=-1, count=e.bits, bitorder="little")


def from_bits(bits: NDArray[np.uint8], e: Int) -> Rows:
    """(n, .., bits) bits -> (n, ..) numbers of type `e`."""
    if e.bits <= NARROW:
        filler = bits[..., -1:] if e.signed else np.zeros_like(bits[..., :1])
        full = np.concatenate([bits, np.repeat(filler, 64 - e.bits, axis=-1)], axis=-1)
        packed = np.packbits(full, axis=-1, bitorder="little")
        return np.ascontiguousarray(packed).view("<i8")[..., 0].astype(np.int64)
    packed = np.packbits(bits, axis=-1, bitorder="little")
    flat = np.ascontiguousarray(packed).reshape(-1, packed.shape[-1])
    out = np.empty(len(flat), dtype=object)
    sign, modulus = 1 << (e.bits - 1), 1 << e.bits
    for at, row in enumerate(flat):
        value = int.from_bytes(row.tobytes(), "little")
        out[at] = value - modulus if e.signed and value & sign else value
    return out.reshape(bits.shape[:-1])


def reinterpret_rows(rows: Rows, old: Leaf, new: Leaf) -> Rows:
    """Reinterpret the packed bits of each token as another type of the same width."""
    bits = to_bits(rows, elem_of(old)).reshape(len(rows), width(old))
    e = elem_of(new)
    return from_bits(bits.reshape(len(rows), *shape_of(new), e.bits), e)


def encode(type_: Type, tokens: Any, what: str) -> list[Rows]:
    """Convert tokens (arrays or lists; structs as a dict of arrays or a list of dicts) to leaf rows. ValueError: what is
    wrong."""
    columns: list[Rows] = []
    for path, t, _ in leaves(type_):
        part = tokens
        for depth, key in enumerate(path):
            if isinstance(part, dict):
                if key not in part:
                    raise ValueError(f"{what}: no field {'.'.join(path[: depth + 1])}")
                part = part[key]
            else:
                part = [token[key] for token in part]
        e, shape = elem_of(t), shape_of(t)
        rows = np.array(part, dtype=dtype_of(e)) if len(part) else np.zeros((0, *shape), dtype_of(e))
        if rows.shape[1:] != shape:
            raise ValueError(f"{what}: tokens of shape {rows.shape[1:]} for {t}")
        if not in_range(rows, e):
            raise ValueError(f"{what}: tokens out of the range of {t}")
        columns.append(rows)
    if len({len(rows) for rows in columns}) > 1:
        raise ValueError(f"{what}: fields with different numbers of tokens")
    return columns


def decode(type_: Type, columns: Sequence[Rows]) -> Any:
    """Convert leaf rows to an array, or for structs to a (nested) dict of arrays."""
    if not isinstance(type_, Struct):
        return columns[0]
    out: dict[str, Any] = {}
    for (path, _, _), rows in zip(leaves(type_), columns, strict=True):
        at = out
        for key in path[:-1]:
            at = at.setdefault(key, {})
        at[path[-1]] = rows
    return out


def to_octets(type_: Type, columns: Sequence[Rows]) -> NDArray[np.uint8]:
    """Pack leaf rows as tokens of whole bytes, (n, bytes), little endian."""
    count = len(columns[0])
    bits = [to_bits(rows, elem_of(t)).reshape(count, width(t)) for (_, t, _), rows in zip(leaves(type_), columns, strict=True)]
    return np.packbits(np.concatenate(bits, axis=1), axis=1, bitorder="little")


def from_octets(type_: Type, octets: NDArray[np.uint8]) -> list[Rows]:
    """Invert ``to_octets``."""
    count = len(octets)
    bits = np.unpackbits(octets, axis=1, count=width(type_), bitorder="little")
    columns = []
    for _, t, at in leaves(type_):
        e, shape = elem_of(t), shape_of(t)
        part = bits[:, at : at + width(t)].reshape(count, *shape, e.bits)
        columns.append(from_bits(part, e) if count else np.zeros((0, *shape), dtype_of(e)))
    return columns


def pack(type_: Type, columns: Sequence[Rows]) -> list[int]:
    """Convert leaf rows to one packed unsigned number per token."""
    return [int.from_bytes(row.tobytes(), "little") for row in to_octets(type_, columns)]


def unpack(type_: Type, packed: Sequence[int]) -> list[Rows]:
    """Convert packed tokens to leaf rows."""
    size = octets_of(type_)
    raw = b"".join(v.to_bytes(size, "little") for v in packed)
    return from_octets(type_, np.frombuffer(raw, np.uint8).reshape(len(packed), size))


def octets_of(type_: Type) -> int:
    """Return the bytes of a packed token."""
    return (width(type_) + 7) // 8


class TokenQueue:
    """A queue of tokens, by leaf."""

    def __init__(self, type_: Type) -> None:
        self.types = [t for _, t, _ in leaves(type_)]
        self.blocks: deque[list[Rows]] = deque()
        self.count = 0

    def push(self, columns: Sequence[Rows]) -> None:
        if len(columns[0]):
            self.blocks.append(list(columns))
            self.count += len(columns[0])

    def take(self, n: int) -> list[Rows]:
        """Remove and return the next n tokens (n <= count)."""
        assert n <= self.count
        self.count -= n
        got: list[list[Rows]] = []
        while n:
            block = self.blocks.popleft()
            have = len(block[0])
            if have > n:
                self.blocks.appendleft([c[n:] for c in block])
                block = [c[:n] for c in block]
                have = n
            got.append(block)
            n -= have
        if len(got) == 1:
            return got[0]
        if not got:
            return [np.zeros((0, *shape_of(t)), dtype_of(elem_of(t))) for t in self.types]
        return [np.concatenate(parts) for parts in zip(*got, strict=True)]
