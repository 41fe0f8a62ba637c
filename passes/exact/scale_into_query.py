from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from edgewright.passes.exact.channel_readers import keeps_channels
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.ops import Attention, Linear, Reshape, Slice, array_of, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class ScaleIntoQuery(Pass):
    """Move attention's scale into the product that makes its queries.

    Before: Attention(q, k, v; scale), q a Linear with constant weights or a part of one (Slice, Reshape of tokens), these
    channels read by nothing else. After: Attention(q, k, v; 1), those rows of weight and bias times the scale.
    Only for positive scales; not where the weight is also read elsewhere (it would then exist twice), nor where float32
    cannot hold the scaled rows.
    Exact: within float rounding. In integers the scale of q takes the factor over, so that the steps of the scores stay
    the same. Source: the usual folding.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        factors: dict[Node, Array] = {}  # Linear -> factor of each of its outputs
        folded: set[Node] = set()
        for node in graph.nodes():
            op = node.op
            if not isinstance(op, Attention) or op.scale == 1 or not (op.scale > 0 and math.isfinite(op.scale)):
                continue
            rows = _rows_of(graph, users, node)
            if rows is None or not _fits(*rows, op.scale):
                continue
            linear, start, stop = rows
            scales = factors.setdefault(linear, np.ones(linear.shape[-1]))
            scales[start:stop] *= op.scale
            folded.add(node)
            note.count("folded")

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if old in folded:
                assert isinstance(old.op, Attention)
                return make(replace(old.op, scale=1.0), *operands, origin=old.origin)
            if old in factors:
                by_row = factors[old][:, None], factors[old]
                x, *parts = operands
                scaled = (constant(array_of(part) * by, part.origin) for part, by in zip(parts, by_row, strict=True))
                return make(old.op, x, *scaled, origin=old.origin)
            return None

        return rebuild(graph, change)


def _rows_of(graph: Graph, users: dict[Node, list[Node]], attention: Node) -> tuple[Node, int, int] | None:
    """Return (Linear, first row, end of the rows) that compute the queries, if nothing else uses these rows."""
    query = attention.inputs[0]
    if query in attention.inputs[1:]:
        return None
    start, stop, reader = 0, query.shape[-1], attention
    node = query
    while not isinstance(node.op, Linear):
        if node in graph.outputs or users[node] != [reader]:
            return None
        if isinstance(node.op, Slice) and node.op.axis % node.type.rank == node.type.rank - 1:
            if node.op.step != 1:
                return None
            start, stop = start + node.op.start, stop + node.op.start
        elif not (isinstance(node.op, Slice) or (isinstance(node.op, Reshape) and keeps_channels(node))):
            return None
        node, reader = node.inputs[0], node
    constants = all(value_of(n) is not None for n in node.inputs[1:])
    if node in graph.outputs or not constants or users[node.inputs[1]] != [node]:
        return None
    others = [user for user in users[node] if user is not reader]
    apart = all(_reads_apart(user, start, stop) for user in others)
    return (node, start, stop) if apart and users[node].count(reader) == 1 else None


def _fits(linear: Node, start: int, stop: int, scale: float) -> bool:
    return fits_float32(*(array_of(n)[start:stop].astype(np.float64) * scale for n in linear.inputs[1:]))


def _reads_apart(user: Node, start: int, stop: int) -> bool:
    """Return whether the user is a slice of other columns."""
    op = user.op
    last = user.type.rank - 1
    return isinstance(op, Slice) and op.axis % user.type.rank == last and (op.stop <= start or stop <= op.start)
