"""Find rows of a softmax that constants mask entirely, by minus infinity in every score: their weights are NaN."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Add, Div, Mul, Reshape, Softmax, Where, value_of

_DEEPEST = 64  # operators between a mask and its softmax


def masked_rows(node: Node) -> Array:
    """Return booleans of the node's shape, 1 long along the softmax's axis; all False if the node is not a softmax."""
    if isinstance(node.op, Reshape) and node.shape[-1:] == node.inputs[0].shape[-1:]:
        return masked_rows(node.inputs[0]).reshape(*node.shape[:-1], -1)
    if not isinstance(node.op, Softmax):
        return np.zeros((1,) * node.type.rank, np.bool_)
    return np.asarray(_masked(node.inputs[0], {}).all(axis=node.op.axis, keepdims=True))


def _masked(node: Node, known: dict[Node, Array], depth: int = _DEEPEST) -> Array:
    """Return where the value is minus infinity whatever is computed at run time; `known` caches results."""
    if node not in known:
        known[node] = np.broadcast_to(_masked_by_op(node, known, depth - 1) if depth else np.False_, node.shape)
    return known[node]


def _masked_by_op(node: Node, known: dict[Node, Array], depth: int) -> Array | np.bool_:
    value = value_of(node)
    if value is not None:
        return np.isneginf(value) if value.dtype.kind == "f" else np.False_
    if isinstance(node.op, Add):
        a, b = (_masked(operand, known, depth) for operand in node.inputs)
        return a | b
    if isinstance(node.op, Where):
        condition = value_of(node.inputs[0])
        a, b = (_masked(operand, known, depth) for operand in node.inputs[1:])
        return np.False_ if condition is None else np.where(condition != 0, a, b)
    if isinstance(node.op, Reshape):
        return _masked(node.inputs[0], known, depth).reshape(node.shape)
    if isinstance(node.op, Mul | Div):
        factor = value_of(node.inputs[1])
        if factor is not None and bool(np.all(factor > 0)):
            return _masked(node.inputs[0], known, depth)
    return np.False_
