"""Positions in flat arrays as affine functions of lane counters, and the unrolled loops that count them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LANES = ("n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7")


@dataclass(frozen=True, slots=True)
class Affine:
    """offset + sum of coefficient * lane counter (and of terms known only when running)."""

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
        for name, k in sorted(self.terms, key=lambda term: -abs(term[1])):
            part = name if abs(k) == 1 else f"{abs(k)} * {name}"
            text = f"{text} {'-' if k < 0 else '+'} {part}" if text else ("-" if k < 0 else "") + part
        if self.offset or not text:
            text = f"{text} {'-' if self.offset < 0 else '+'} {abs(self.offset)}" if text else str(self.offset)
        return text


Index = tuple[Affine, ...]


def flat(index: Index, shape: tuple[int, ...]) -> Affine:
    """Row-major position of `index` in an array of `shape`."""
    at = Affine()
    for i, n in zip(index, shape, strict=True):
        at = at * n + i
    return at


def aligned(index: Index, shape: tuple[int, ...]) -> Index:
    """The index into an operand of `shape` that broadcasts, aligned at the last axis."""
    if not shape:
        return ()
    return tuple(i if n > 1 else Affine() for i, n in zip(index[-len(shape) :], shape, strict=True))


class Lines:
    """C++ text with indentation."""

    def __init__(self, depth: int = 0) -> None:
        self.text: list[str] = []
        self.depth = depth

    def add(self, line: str) -> None:
        if line.startswith("#") or not line:
            self.text.append(line)
        else:
            self.text.append("  " * self.depth + line)

    @contextmanager
    def block(self, head: str, tail: str = "}") -> Iterator[None]:
        self.add(f"{head} {{")
        self.depth += 1
        yield
        self.depth -= 1
        self.add(tail)

    @contextmanager
    def lanes(self, shape: tuple[int, ...], first: int = 0) -> Iterator[Index]:
        """Unrolled loops over `shape`; the index of the element inside."""
        index: list[Affine] = []
        opened = 0
        for n in shape:
            if n == 1:
                index.append(Affine())
                continue
            name = LANES[first + opened]
            self.add(f"for (int {name} = 0; {name} < {n}; ++{name}) {{")
            self.add("#pragma HLS UNROLL")
            self.depth += 1
            opened += 1
            index.append(Affine(0, ((name, 1),)))
        yield tuple(index)
        for _ in range(opened):
            self.depth -= 1
            self.add("}")
