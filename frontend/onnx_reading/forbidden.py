"""Rows of a softmax that constants forbid entirely, by minus infinity in every score: their weights are nan."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Add, Div, Mul, Reshape, Softmax, Where, value_of

_DEEPEST = 64  # operators between a mask and its softmax


def forbidden_rows(node: Node) -> Array:
    """Booleans of the node's shape, 1 long along the softmax's axis; all False for what is no softmax."""
    if isinstance(node.op, Reshape) and node.shape[-1:] == node.inputs[0].shape[-1:]:
        return forbidden_rows(node.inputs[0]).reshape(*node.shape[:-1], -1)
    if not isinstance(node.op, Softmax):
        return np.zeros((1,) * node.type.rank, np.bool_)
    return np.asarray(_forbidden(node.inputs[0], {}).all(axis=node.op.axis, keepdims=True))


def _forbidden(node: Node, known: dict[Node, Array], left: int = _DEEPEST) -> Array:
    """Where the value is minus infinity whatever is computed at run time. `known`: what was found already."""
    found = known.get(node)
    if found is None:
        found = known[node] = _found(node, known, left - 1) if left else np.zeros(node.shape, np.bool_)
    return found


def _found(node: Node, known: dict[Node, Array], left: int) -> Array:
    value, nowhere = value_of(node), np.zeros(node.shape, np.bool_)
    if value is not None:
        return np.isneginf(value) if value.dtype.kind == "f" else nowhere
    if isinstance(node.op, Add):
        a, b = (_forbidden(one, known, left) for one in node.inputs)
        return np.broadcast_to(a | b, node.shape)
    if isinstance(node.op, Where):
        condition = value_of(node.inputs[0])
        a, b = (_forbidden(one, known, left) for one in node.inputs[1:])
        return nowhere if condition is None else np.broadcast_to(np.where(condition != 0, a, b), node.shape)
    if isinstance(node.op, Reshape):
        return _forbidden(node.inputs[0], known, left).reshape(node.shape)
    if isinstance(node.op, Mul | Div):
        factor = value_of(node.inputs[1])
        if factor is not None and bool(np.all(factor > 0)):
            return np.broadcast_to(_forbidden(node.inputs[0], known, left), node.shape)
    return nowhere
