from __future__ import annotations

from dataclasses import dataclass, replace

from edgewright.passes.ir import Graph, Node, make, rebuild
from edgewright.passes.ops import Attention, Concat, Linear, MoE, Slice, array_of, constant, value_of
from edgewright.passes.ops.groups import ELEMENTWISE, NORMS
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class SliceEarly(Pass):
    """Compute only the tokens that are read: a Slice of tokens moves before what treats tokens one by one.

    Before: Slice(LayerNorm(Add(x, Linear(Attention(q, k, v))))), the class token of the last block.
    After: the same with x and q sliced; k and v still cover all tokens. A Linear that q shares with k and v is
    taken apart when that saves products.
    Exact: yes, up to the order of float sums. Source: the class token's result depends on no other token's query.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        for _ in range(4 * len(graph.nodes())):
            moved = _move_one(graph)
            if moved is None:
                return graph
            note.count("moved")
            graph = moved
        return graph


def _move_one(graph: Graph) -> Graph | None:
    users = graph.users()
    for node in reversed(graph.nodes()):
        if isinstance(node.op, Slice) and node.op.axis % node.type.rank < node.type.rank - 1:
            above = _above(graph, users, node, node.op)
            if above is not None:
                same = [user for user in users[node.inputs[0]] if user.op == node.op]
                return _replace(graph, same, above)
    return None


def _replace(graph: Graph, old: list[Node], new: Node) -> Graph:
    return rebuild(graph, lambda node, _: new if node in old else None)


def _above(graph: Graph, users: dict[Node, list[Node]], node: Node, op: Slice) -> Node | None:
    """Return the value of `node`, a Slice, computed from sliced operands; None where that does not pay."""
    inner = node.inputs[0]
    rank = inner.type.rank
    axis = op.axis % rank
    part = replace(op, axis=axis)
    if isinstance(inner.op, Slice) and inner.op.axis % rank != axis:
        return _through_columns(users, inner, part)
    if isinstance(inner.op, Concat) and inner.op.axis % rank == axis and op.step == 1:
        return _one_part(inner, axis, op)
    whole_needed = inner in graph.outputs or any(user.op != op for user in users[inner])
    if isinstance(inner.op, NORMS):  # no products: cheap enough to do twice
        x, *affine = inner.inputs
        return make(inner.op, _sliced(x, part), *affine, origin=inner.origin)
    if whole_needed:
        return None
    if isinstance(inner.op, Linear):
        x, w, b = inner.inputs
        return make(inner.op, _sliced(x, part), w, b, origin=inner.origin)
    if isinstance(inner.op, Attention) and axis == 1:
        q, k, v, *biases = inner.inputs
        queries = (_sliced_if_wide(bias, replace(part, axis=2), 4, 2) for bias in biases)
        return make(inner.op, _sliced(q, part), k, v, *queries, origin=inner.origin)
    if isinstance(inner.op, MoE) and axis == 1:
        x, logits, *weights = inner.inputs
        return make(inner.op, _sliced(x, part), _sliced(logits, part), *weights, origin=inner.origin)
    if isinstance(inner.op, ELEMENTWISE):
        operands = (_sliced_if_wide(x, part, rank, axis) for x in inner.inputs)
        return make(inner.op, *operands, origin=inner.origin)
    return None


def _through_columns(users: dict[Node, list[Node]], inner: Node, part: Slice) -> Node | None:
    """Return a Slice of tokens of a Slice of columns of a Linear as a Linear of those columns on those tokens, if nothing else
    reads the columns (`NarrowLinear` then removes them from the shared one)."""
    assert isinstance(inner.op, Slice)
    linear, columns = inner.inputs[0], inner.op
    if not isinstance(linear.op, Linear) or columns.axis % inner.type.rank != inner.type.rank - 1:
        return None
    known = all(value_of(n) is not None for n in linear.inputs[1:])
    if not known or columns.step != 1 or any(user.op != part for user in users[inner]):
        return None
    for user in users[linear]:
        if user is inner:
            continue
        other = user.op
        if not isinstance(other, Slice) or other.axis % user.type.rank != user.type.rank - 1:
            return None
        if other.start < columns.stop and columns.start < other.stop:
            return None
    x, *parts = linear.inputs
    rows = (constant(array_of(n)[columns.start : columns.stop], n.origin) for n in parts)
    return make(Linear(), _sliced(x, part), *rows, origin=inner.origin)


def _one_part(inner: Node, axis: int, op: Slice) -> Node | None:
    start = 0
    for part in inner.inputs:
        stop = start + part.shape[axis]
        if start <= op.start and op.stop <= stop:
            return _sliced(part, Slice(axis, op.start - start, op.stop - start))
        start = stop
    return None


def _sliced(x: Node, part: Slice) -> Node:
    value = value_of(x)
    if value is not None:
        return constant(part.eval(value), x.origin)
    if (part.start, part.stop, part.step) == (0, x.shape[part.axis], 1):
        return x
    return make(part, x, origin=x.origin)


def _sliced_if_wide(x: Node, part: Slice, rank: int, axis: int) -> Node:
    """Slice an operand unless it is broadcast along the axis."""
    there = axis - (rank - x.type.rank)
    return x if there < 0 or x.shape[there] == 1 else _sliced(x, replace(part, axis=there))
