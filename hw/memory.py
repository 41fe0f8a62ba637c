"""Memory map of a plan: the addresses of stored values, weight blobs and the program.

A stored value is rows of channels, one row per token; a row starts at a 16-byte word and is padded to whole words. Images
are planes of padded lines. Regions of values that are no longer needed are reused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewright.hw.kernel.types import WORD_BYTES as WORD_BYTES
from edgewright.hw.views import StoredView, rows_columns
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Int

ALIGN_BYTES = 64


def round_up(value: int, multiple: int) -> int:
    """Return the least multiple that is not below ``value``."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a value in memory. ``pitch_bytes`` is the distance of two rows (of two lines of an image)."""

    rows: int
    columns: int
    element_bytes: int
    pitch_bytes: int

    @property
    def size_bytes(self) -> int:
        """Bytes, with the padding of each row."""
        return self.rows * self.pitch_bytes


def layout(node: Node) -> Layout:
    """Return the layout of a stored value. An image (1, C, H, W) has C * H rows of W columns."""
    rows, columns = rows_columns(node)
    elem = node.elem
    assert isinstance(elem, Int)
    element_bytes = elem.bits // 8
    return Layout(rows, columns, element_bytes, round_up(columns, WORD_BYTES) * element_bytes)


@dataclass(frozen=True, slots=True)
class Storage:
    """Layout and address of every stored value."""

    layouts: dict[Node, Layout] = field(default_factory=dict)
    addresses: dict[Node, int] = field(default_factory=dict)

    def address(self, view: StoredView) -> int:
        """Return the address of a view's first element."""
        where = self.layouts[view.root]
        return self.addresses[view.root] + view.row * where.pitch_bytes + view.column * where.element_bytes

    def pitch(self, view: StoredView) -> int:
        """Return the bytes from one row of a view to the next."""
        return self.layouts[view.root].pitch_bytes * view.row_step


@dataclass(frozen=True, slots=True)
class Region:
    """A range of memory. kind: ``program``, ``weights``, ``constant``, ``input``, ``activation``, ``output``, or
    ``on-chip`` for an activation there."""

    name: str
    kind: str
    address: int
    size_bytes: int

    @property
    def end(self) -> int:
        """First address after the region."""
        return self.address + self.size_bytes


class Allocator:
    """First-fit allocation; regions are freed when their value is dead."""

    def __init__(self, base: int, end: int | None = None) -> None:
        self.base, self.end = base, end
        self.top = base
        self.live: list[tuple[int, int]] = []

    def allocate(self, size_bytes: int) -> int:
        """Allocate a range of that size; return its address."""
        size_bytes = round_up(max(size_bytes, 1), ALIGN_BYTES)
        address = self._first(size_bytes)
        self.live.append((address, address + size_bytes))
        self.top = max(self.top, address + size_bytes)
        return address

    def fits(self, size_bytes: int) -> bool:
        """Return whether a range of that size is free before the end."""
        return self.end is None or self._first(round_up(max(size_bytes, 1), ALIGN_BYTES)) + size_bytes <= self.end

    def _first(self, size_bytes: int) -> int:
        address = self.base
        for start, end in sorted(self.live):
            if start - address >= size_bytes:
                break
            address = max(address, end)
        return address

    def free(self, address: int) -> None:
        """Free the range that starts at ``address``."""
        self.live = [(start, end) for start, end in self.live if start != address]
