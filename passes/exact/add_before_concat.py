from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.graph import Graph, Node, make, merge_origins, rebuild
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Add, Concat, Constant, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class AddBeforeConcat(Pass):
    """Adds a constant to the parts of a Concat instead of to the whole, when one of the parts is a constant.

    Before: Add(Concat(class_token, patches), position).
    After: Concat(class_token + position[:1], Add(patches, position[1:])), so that the sum can ride on the product
    that makes the patches and the class token's row is ready in memory.
    Exact: yes, bit for bit.
    Source: ours.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if not isinstance(old.op, Add):
                return None
            for position in (0, 1):
                joined, value = operands[position], value_of(operands[1 - position])
                if value is None or not isinstance(joined.op, Concat) or joined.shape != old.shape:
                    continue
                before = old.inputs[position]
                if len(users[before]) > 1 or before in graph.outputs:
                    continue
                if any(isinstance(part.op, Constant) for part in joined.inputs):
                    note.count("moved")
                    return _distribute(old, joined, joined.op.axis % joined.type.rank, value)
            return None

        return rebuild(graph, change)


def _distribute(node: Node, joined: Node, axis: int, value: Array) -> Node:
    value = value.reshape((1,) * (node.type.rank - value.ndim) + value.shape)
    parts, start = [], 0
    for part in joined.inputs:
        stop = start + part.shape[axis]
        rows = value if value.shape[axis] == 1 else value.take(range(start, stop), axis=axis)
        own = value_of(part)
        if own is not None:
            parts.append(constant(Add().eval(own, rows), merge_origins(part.origin, node.origin)))
        else:
            parts.append(make(Add(), part, constant(rows), origin=node.origin))
        start = stop
    return make(Concat(axis), *parts, origin=joined.origin)
