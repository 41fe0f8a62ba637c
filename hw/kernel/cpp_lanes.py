"""C++ text with indentation, and the unrolled loops over the lanes of an array."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgewright.hw.kernel.affine import Affine

Index = tuple[Affine, ...]
LANES = ("n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7")


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
