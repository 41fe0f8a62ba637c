"""The order of an operation's jobs: one place for the units that work through them and for the planner that counts them.

A job is one block of tokens through the array. A linear product has one job per block. Attention has two, scores and values,
interleaved so that the softmax of one block overlaps with the products of three others:
S0, S1, S2, V0, S3, V1, ..., S(n-1), V(n-3), V(n-2), V(n-1).
"""

from __future__ import annotations

from typing import Any

from edgewright.hw.kernel import StructValue, Value, bits, first, select


def count(blocks: int, *, attention: bool = False) -> int:
    """Return the number of jobs for ``blocks`` blocks of tokens."""
    return 2 * blocks if attention else blocks


def reads_rows(c: StructValue, j: Value) -> Value:
    """Return whether job ``j`` multiplies rows: a linear product or scores (1), rather than values (0)."""
    odd = bits(j, 0, 0)
    rows: Value = (~c.attention | first(j)) | select(odd, j == c.odd_scores, j != c.last_even)
    return rows


def row_block(c: StructValue, j: Value) -> Any:
    """Return the block of tokens whose rows job ``j`` reads; without meaning for a job of values."""
    return select(c.attention & ~first(j) & (j != 1), (j >> 1) + 1, j)


def depth(c: StructValue, j: Value) -> Any:
    """Return the tiles of depth of job ``j``."""
    return select(reads_rows(c, j), c.depth0, c.depth1)


def outs(c: StructValue, j: Value) -> Any:
    """Return the tiles of outputs of job ``j``."""
    return select(reads_rows(c, j), c.outs0, c.outs1)
