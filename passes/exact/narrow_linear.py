from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.ops import Linear, Slice, array_of, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class NarrowLinear(Pass):
    """Compute only the columns that are read.

    Before: a Linear all of whose readers are Slices of columns that together leave some out.
    After: the Linear without those rows of its weight, the Slices moved accordingly.
    Exact: yes, up to the order of float sums. Source: dead code elimination.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        read: dict[Node, Array] = {}  # Linear -> which of its columns
        for node in graph.nodes():
            if isinstance(node.op, Linear) and node not in graph.outputs:
                columns = _columns_read(node, users[node])
                if columns is not None and columns.any() and not columns.all():
                    read[node] = columns
                    note.count("narrowed")
                    note.count("columns removed", int((~columns).sum()))

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if old in read:
                return _narrowed(old, operands, read[old])
            if isinstance(old.op, Slice) and old.inputs[0] in read:
                return _moved_slice(old, old.op, operands[0], read[old.inputs[0]])
            return None

        return rebuild(graph, change)


def _narrowed(old: Node, operands: tuple[Node, ...], columns: Array) -> Node:
    x, *parts = operands
    return make(Linear(), x, *(constant(array_of(part)[columns], part.origin) for part in parts), origin=old.origin)


def _moved_slice(old: Node, op: Slice, narrowed: Node, columns: Array) -> Node:
    start, stop = int(columns[: op.start].sum()), int(columns[: op.stop].sum())
    if (start, stop) == (0, narrowed.shape[-1]):
        return narrowed
    return make(Slice(narrowed.type.rank - 1, start, stop), narrowed, origin=old.origin)


def _columns_read(node: Node, users: list[Node]) -> Array | None:
    """Return which columns the readers take; None when one takes more than a plain Slice of the last axis."""
    if value_of(node.inputs[1]) is None or value_of(node.inputs[2]) is None:
        return None
    read = np.zeros(node.shape[-1], bool)
    for user in users:
        op = user.op
        if not isinstance(op, Slice) or op.axis % user.type.rank != user.type.rank - 1 or op.step != 1:
            return None
        read[op.start : op.stop] = True
    return read
