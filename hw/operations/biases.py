"""Score biases as the engine adds them: 24 bits, one table for each kind of window and head."""

from __future__ import annotations

import numpy as np
from edgewright.hw.operations.product import Integers, constant
from edgewright.hw.views import Index
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Attention

SCORE_BITS = 24
GONE = 10 * 256
"""Power, in 1/256 octaves, from which the weight of a score is 0 (`arith.attention_weights`)."""


def lowest_bias(node: Node) -> int | None:
    """Return the bias, relative to the greatest of a row, from which a score's weight is 0 whatever the scores are; None if the
    engine's scores have too few bits for it."""
    op = node.op
    assert isinstance(op, Attention)
    widest = node.inputs[0].shape[2] // op.heads * 127 * 127
    away = (GONE << op.score_shift) // max(1, op.score_multiplier) + 1
    low = -(away + 2 * widest)
    return low if 2 * widest - low < 1 << (SCORE_BITS - 1) else None


def biases_of(node: Node, rows: Index, lowest: int) -> tuple[Integers, tuple[int, ...]]:
    """Return the constant biases of an attention (kinds, heads, rows, keys), and the kind of each window.

    A softmax sees differences within a row only, and gives a weight of 0 to all scores that are far enough below the greatest.
    So the greatest bias of each row is brought to 0, and what is further below it than can matter is brought nearer: exact, and
    within the engine's 24 bits.
    """
    op, bias = node.op, node.inputs[3]
    assert isinstance(op, Attention)
    query, key = node.inputs[:2]
    windows, keys = query.shape[0], key.shape[1]
    values = constant(bias)
    values = values.reshape((1,) * (4 - values.ndim) + values.shape)
    flat = values.reshape(len(values), -1)
    tables, kinds = (flat, np.zeros(1, np.int64)) if len(flat) == 1 else np.unique(flat, axis=0, return_inverse=True)
    kinds = np.broadcast_to(kinds.reshape(-1), (windows,))
    full = np.broadcast_to(tables.reshape(-1, *values.shape[1:]), (len(tables), op.heads, query.shape[1], keys))
    if windows == 1:
        full = full[:, :, rows]
    return np.maximum(full - full.max(axis=-1, keepdims=True), lowest), tuple(int(kind) for kind in kinds)
