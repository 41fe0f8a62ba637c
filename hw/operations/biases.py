"""Score biases as the engine adds them: 24 bits, one table for each kind of window and head."""

from __future__ import annotations

import numpy as np
from edgewright.hw.operations.product import Integers, constant
from edgewright.hw.views import Index
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Attention, Constant

SCORE_BITS = 24
GONE = 10 * 256
"""Power, in 1/256 octaves, from which the weight of a score is 0 (`arith.attention_weights`)."""


def biases_of(node: Node, rows: Index) -> tuple[Integers, tuple[int, ...]] | str:
    """Return the constant biases of an attention (kinds, heads, rows, keys), and the kind of each window; or why it has none.

    A softmax sees differences within a row only, and gives a weight of 0 to all scores that are far enough below the greatest.
    So the greatest bias of each row is brought to 0, and what is further below it than can matter is brought nearer: exact, and
    within the engine's 24 bits.
    """
    op, bias = node.op, node.inputs[3]
    assert isinstance(op, Attention)
    if not isinstance(bias.op, Constant):
        return "the bias or mask of its scores is computed"
    query, key = node.inputs[:2]
    windows, keys = query.shape[0], key.shape[1]
    full = np.broadcast_to(constant(bias), (windows, op.heads, query.shape[1], keys))
    tables, kinds = np.unique(full.reshape(windows, -1), axis=0, return_inverse=True)
    full = tables.reshape(-1, op.heads, query.shape[1], keys)
    if windows == 1:
        full = full[:, :, rows]
    widest = query.shape[2] // op.heads * 127 * 127
    away = (GONE << op.score_shift) // max(1, op.score_multiplier) + 1
    low = -(away + 2 * widest)
    full = np.maximum(full - full.max(axis=-1, keepdims=True), low)
    if 2 * widest - low >= 1 << (SCORE_BITS - 1):
        return f"scores with a bias span {2 * widest - low:,}, the engine's have {SCORE_BITS} bits"
    return full, tuple(int(kind) for kind in kinds.reshape(-1))
