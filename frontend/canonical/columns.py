"""What is joined to every token and the same for all of them (a task's embedding) becomes part of the next product's bias."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Graph, Node, make, rewrite
from edgewright.passes.ops import Concat, Linear, Reshape, constant, value_of


def absorb_known_columns(graph: Graph) -> Graph:
    """Linear(Concat(x, c), W, b) -> Linear(x, W_x, b + W_c c) for constants c with equal rows."""
    return rewrite(graph, lambda node: _absorbed(node) if isinstance(node.op, Linear) else None)


def _absorbed(node: Node) -> Node | None:
    joined, *constants = node.inputs
    weight, bias = (value_of(n) for n in constants)
    while isinstance(joined.op, Reshape) and joined.inputs[0].shape[-1:] == joined.shape[-1:]:
        joined = joined.inputs[0]
    if (
        weight is None
        or bias is None
        or not isinstance(joined.op, Concat)
        or joined.op.axis % joined.type.rank != joined.type.rank - 1
    ):
        return None
    kept: list[Node] = []
    columns: list[np.ndarray[tuple[int, ...], np.dtype[np.int64]]] = []
    start, moved = 0, bias.astype(np.float64)
    for part in joined.inputs:
        place = np.arange(start, start + part.shape[-1])
        start += part.shape[-1]
        value = value_of(part)
        rows = None if value is None else value.reshape(-1, value.shape[-1])
        if rows is not None and (rows == rows[:1]).all():
            moved = moved + weight[:, place].astype(np.float64) @ rows[0]
        else:
            kept.append(part)
            columns.append(place)
    if not kept or len(kept) == len(joined.inputs):
        return None
    x = kept[0] if len(kept) == 1 else make(joined.op, *kept, origin=joined.origin)
    shape = (*node.inputs[0].shape[:-1], x.shape[-1])
    x = x if x.shape == shape else make(Reshape(shape), x, origin=joined.origin)
    w = constant(np.ascontiguousarray(weight[:, np.concatenate(columns)]), constants[0].origin)
    return make(Linear(), x, w, constant(moved.astype(np.float32), constants[1].origin), origin=node.origin)
