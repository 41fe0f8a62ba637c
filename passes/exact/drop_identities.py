from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass

from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Concat, Constant, Input, Reshape, Slice, Transpose
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class DropIdentities(Pass):
    """Removes what moves nothing, joins moves in a row, and computes equal things once.

    Before: Reshape to the same shape, identity Transpose, whole Slice, Concat of one; Reshape(Reshape(x)),
    Slice(Slice(x)) of one axis; two nodes of the same op on the same operands. After: x; one move; one node.
    Exact: yes. Source: every compiler.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        seen: dict[Hashable, Node] = {}

        def change(node: Node) -> Node | None:
            if isinstance(node.op, Input):
                return None
            if isinstance(node.op, Constant):
                return seen.setdefault(_content(node.op.value), node)
            simpler = _without_identity(node)
            if simpler is not None:
                note.count("dropped")
                return simpler
            joined = _joined(node)
            if joined is not None:
                note.count("joined")
                node = joined
            first = seen.setdefault((node.op, node.inputs), node)
            if first is not node:
                note.count("shared")
            return first

        return rewrite(graph, change)


def _content(value: Array) -> Hashable:
    return value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest()


def _without_identity(node: Node) -> Node | None:
    op = node.op
    if isinstance(op, (Reshape, Slice)) and node.shape == node.inputs[0].shape:
        return node.inputs[0]
    if isinstance(op, Transpose) and op.perm == tuple(range(node.type.rank)):
        return node.inputs[0]
    if isinstance(op, Concat) and len(node.inputs) == 1:
        return node.inputs[0]
    return None


def _joined(node: Node) -> Node | None:
    op, inner = node.op, node.inputs[0]
    if isinstance(op, Reshape) and isinstance(inner.op, Reshape):
        return make(op, inner.inputs[0], origin=node.origin, quant=node.quant)
    if isinstance(op, Slice) and isinstance(inner.op, Slice) and op.step == inner.op.step == 1:
        rank = node.type.rank
        if op.axis % rank == inner.op.axis % rank:
            start = inner.op.start + op.start
            both = Slice(op.axis % rank, start, start + op.stop - op.start)
            return make(both, inner.inputs[0], origin=node.origin, quant=node.quant)
    return None
