"""A program's memory: its constants in one block, and all intermediate values in another, where those that never live at
the same time share bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.targets.lowering.step import ProgramStep
from edgewright.targets.lowering.view import Space, TensorStorage

ALIGN_BYTES = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class Life:
    """A storage is written at step `first` and read for the last time at step `last`."""

    storage: TensorStorage
    first: int
    last: int


def lives(steps: Sequence[ProgramStep]) -> list[Life]:
    """Return the lives of all intermediate values, in the order in which they begin."""
    first: dict[TensorStorage, int] = {}
    last: dict[TensorStorage, int] = {}
    for i, step in enumerate(steps):
        for view in step.views:
            if view.storage.space is Space.WORK:
                first.setdefault(view.storage, i)
                last[view.storage] = i
    return [Life(storage, first[storage], last[storage]) for storage in first]


def place(lives: Sequence[Life]) -> tuple[Mapping[TensorStorage, int], int]:
    """Return the byte offset of each storage, and the bytes needed in all. Largest first, each at the lowest offset that
    is free during its life (greedy by size, Pisarchyk and Lee 2020, section 5.1)."""
    placed: list[tuple[int, int, Life]] = []
    offsets: dict[TensorStorage, int] = {}
    for life in sorted(lives, key=lambda life: -life.storage.size_bytes):
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


def weights(steps: Sequence[ProgramStep]) -> tuple[bytes, Mapping[TensorStorage, int]]:
    """Return the block of all constants, in the order in which steps first read them, and the byte offset of each."""
    offsets: dict[TensorStorage, int] = {}
    parts: list[bytes] = []
    size = 0
    for storage in (view.storage for step in steps for view in step.views):
        if storage.space is not Space.WEIGHTS or storage in offsets:
            continue
        assert storage.value is not None
        content = np.ascontiguousarray(storage.value).tobytes()
        offsets[storage] = size
        parts.append(content.ljust(aligned(len(content)), b"\0"))
        size += len(parts[-1])
    return b"".join(parts), offsets


def aligned(size_bytes: int) -> int:
    """Return the next multiple of a cache line, at least one."""
    return -(-max(size_bytes, 1) // ALIGN_BYTES) * ALIGN_BYTES
