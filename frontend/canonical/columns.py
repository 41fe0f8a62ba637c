"""What is joined to every token and the same for all of them (a task's embedding) becomes part of the next product's bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Node, make
from edgewright.passes.ops import Concat, Linear, Reshape, constant, value_of
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class AbsorbKnownColumns(Rule):
    """Add what a product makes of the same columns of every token to its bias.

    Before: Linear(Concat(x, c); W, b), c a constant with equal rows. After: Linear(x; W_x, b + W_c c).
    Exact: within float rounding (computed in float64). Source: block product of matrices.
    """

    on = (Linear,)
    event = "absorbed"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        return _absorbed(node)


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
