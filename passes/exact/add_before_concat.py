from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir import Array, Node, make, merge_origins
from edgewright.passes.ops import Add, Concat, Constant, constant, value_of
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class AddBeforeConcat(Rule):
    """Add a constant to the parts of a Concat instead of to the whole, when one of the parts is a constant.

    Before: Add(Concat(class_token, patches), position).
    After: Concat(class_token + position[:1], Add(patches, position[1:])), so that the sum fuses with the product
    that makes the patches, and the class token's row is a constant in memory.
    Exact: yes, bit for bit. Source: both add row by row.
    """

    on = (Add,)
    event = "moved"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        for joined, other in (node.inputs, node.inputs[::-1]):
            value = value_of(other)
            if value is None or not isinstance(joined.op, Concat) or joined.shape != node.shape or uses(joined) != 1:
                continue
            if any(isinstance(part.op, Constant) for part in joined.inputs):
                return _distribute(node, joined, joined.op.axis % joined.type.rank, value)
        return None


def _distribute(node: Node, joined: Node, axis: int, value: Array) -> Node:
    value = value.reshape((1,) * (node.type.rank - value.ndim) + value.shape)
    parts, start = [], 0
    for part in joined.inputs:
        stop = start + part.shape[axis]
        rows = value if value.shape[axis] == 1 else value.take(range(start, stop), axis=axis)
        known = value_of(part)
        if known is not None:
            parts.append(constant(Add().eval(known, rows), merge_origins(part.origin, node.origin)))
        else:
            parts.append(make(Add(), part, constant(rows), origin=node.origin))
        start = stop
    return make(Concat(axis), *parts, origin=joined.origin)
