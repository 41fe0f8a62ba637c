"""One block of memory for all intermediate values: those that never live at the same time share bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgewright.targets.cpu.view import Storage

ALIGN_BYTES = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class Life:
    """A storage is written at step `first` and read for the last time at step `last`."""

    storage: Storage
    first: int
    last: int


def place(lives: Sequence[Life]) -> tuple[Mapping[Storage, int], int]:
    """Byte offset of each storage, and the bytes needed in all. Largest first, each at the lowest offset that is
    free during its life (greedy by size, Pisarchyk and Lee 2020, section 5.1)."""
    placed: list[tuple[int, int, Life]] = []
    offsets: dict[Storage, int] = {}
    for life in sorted(lives, key=lambda one: -one.storage.size_bytes):
        size = aligned(life.storage.size_bytes)
        offset = 0
        for begin, end, other in sorted(placed, key=lambda row: row[0]):
            if other.last < life.first or life.last < other.first:
                continue
            if begin - offset >= size:
                break
            offset = max(offset, end)
        placed.append((offset, offset + size, life))
        offsets[life.storage] = offset
    return offsets, max((end for _, end, _ in placed), default=0)


def aligned(size_bytes: int) -> int:
    """The next multiple of a cache line, at least one."""
    return -(-max(size_bytes, 1) // ALIGN_BYTES) * ALIGN_BYTES
