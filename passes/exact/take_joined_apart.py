from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Graph, Node, make, rebuild
from edgewright.passes.ops import Concat, MatMul, Mul, ReduceMean, Slice, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class TakeJoinedApart(Pass):
    """Compute what was joined for one product, and is sliced behind it, by a product for each part.

    Before: Slice(MatMul(q, MatMul(k, Concat(v, ones)))), one slice for the values and one for the sums that divide them.
    After: MatMul(q, MatMul(k, v)) and MatMul(q, sums of k): no range is shared by values and sums, and no column of a product
    is computed twice. Columns joined in the second operand, or rows in the first.
    Exact: yes, up to the order of float sums.
    Source: ours; the joined spelling is that of EfficientViT (Cai et al., ICCV 2023), section 3.1.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        apart = {
            node
            for node in graph.nodes()
            if isinstance(node.op, MatMul)
            and node not in graph.outputs
            and all(_taken(user.op, user.inputs[0]) is not None for user in users[node])
        }

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if not isinstance(old.op, Slice) or old.inputs[0] not in apart:
                return None
            note.count("taken apart")
            return _taken(old.op, operands[0])

        return rebuild(graph, change) if apart else graph


def _taken(op: object, product: Node) -> Node | None:
    """Return a slice of a product as a product of what was joined there; None where it is no such slice."""
    if not isinstance(op, Slice) or op.step != 1 or not isinstance(product.op, MatMul):
        return None
    rank = product.type.rank
    side = op.axis % rank - (rank - 2)  # the operand that has the slice's axis
    if side not in (0, 1) or any(x.type.rank < 2 for x in product.inputs):
        return None
    return _part(product, side, op.start, op.stop)


def _part(node: Node, side: int, start: int, stop: int) -> Node | None:
    """Return columns (side 1) or rows (side 0) of a value, made of one operand of the Concat that they come from."""
    axis = node.type.rank - 2 + side
    if isinstance(node.op, Concat):
        end = 0
        for operand in node.inputs if node.op.axis % node.type.rank == axis else ():
            begin, end = end, end + operand.shape[axis]
            if (begin, end) == (start, stop):
                return operand
        return None
    if not isinstance(node.op, MatMul) or any(x.type.rank < 2 for x in node.inputs):
        return None
    part = _part(node.inputs[side], side, start, stop)
    if part is None:
        return None
    other = node.inputs[1 - side]
    return _summed(node, other, part, side) or make(MatMul(), *((other, part) if side else (part, other)), origin=node.origin)


def _summed(node: Node, other: Node, part: Node, side: int) -> Node | None:
    """Return the product with one column (or row) of equal constants: sums of the other operand."""
    value = value_of(part)
    if value is None or part.shape[part.type.rank - 2 + side] != 1 or other.type.rank < part.type.rank:
        return None
    if part.type.size != part.shape[part.type.rank - 1 - side] or not np.all(value == value.reshape(-1)[0]):
        return None
    axis = other.type.rank - 2 + side
    mean = make(ReduceMean((axis,)), other, origin=node.origin)
    factor = np.float32(float(value.reshape(-1)[0]) * other.shape[axis])
    return make(Mul(), mean, constant(np.asarray(factor, np.float32)), origin=node.origin)
