"""The order of an operation's jobs: one place for the units that work through them and for the planner that counts them.

A job is one block of tokens through the array. A linear product has one job per block. Attention has two, scores and values,
interleaved so that the softmax of one block overlaps with the products of others: scores are an odd number of blocks ahead
(``EngineConfig.scores_ahead``). For three: S0, S1, S2, V0, S3, V1, ..., S(n-1), V(n-3), V(n-2), V(n-1).
"""

from __future__ import annotations

from typing import Any

from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.kernel import StructValue, Value, bits, last, select


def count(blocks: int, *, attention: bool = False) -> int:
    """Return the number of jobs for ``blocks`` blocks of tokens."""
    return 2 * blocks if attention else blocks


def order_fields(blocks: int, config: EngineConfig) -> dict[str, int]:
    """Return the fields of attention that say which of its jobs are of scores."""
    ahead = min(config.scores_ahead, blocks)
    return {
        "n_jobs": count(blocks, attention=True),
        "first_values": ahead,
        "last_scores": max(blocks - 1, 2 * blocks - config.scores_ahead - 1),
    }


def reads_rows(c: StructValue, j: Value) -> Value:
    """Return whether job ``j`` multiplies rows: a linear product or scores (1), rather than values (0)."""
    even = bits(j, 0, 0) == 0
    rows: Value = ~c.attention | (j < c.first_values) | (even & (j <= c.last_scores))
    return rows


def ends_rows(c: StructValue, j: Value) -> Value:
    """Return whether job ``j`` reads the last block of rows; without meaning for a job of values."""
    ends: Value = select(c.attention, j == c.last_scores, last(j))
    return ends


def depth(c: StructValue, j: Value) -> Any:
    """Return the tiles of depth of job ``j``."""
    return select(reads_rows(c, j), c.depth0, c.depth1)


def outs(c: StructValue, j: Value) -> Any:
    """Return the tiles of outputs of job ``j``."""
    return select(reads_rows(c, j), c.outs0, c.outs1)
