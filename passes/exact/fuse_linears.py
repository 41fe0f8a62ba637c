from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.channel_readers import keeps_channels
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir.graph import Graph, Node, make, merge_origins, rebuild
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Linear, PatchEmbed, Reshape, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class FuseLinears(Pass):
    """Makes one product of two that follow each other, where that saves products.

    Before: Linear(Linear(x; W1, b1); W2, b2), or Linear(PatchEmbed(x; W1, b1); W2, b2), nothing but a Reshape of tokens
    between them and nobody else reading the inner value. After: one product with W2 W1 and b2 + W2 b1.
    Done only where it has fewer multiply-accumulates (a bottleneck of low rank stays) and float32 holds its weights.
    Exact: within float rounding (computed in float64). Source: composition of affine maps.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if not isinstance(old.op, Linear):
                return None
            inner, source = operands[0], old.inputs[0]
            moves: list[Node] = []
            while isinstance(inner.op, Reshape) and keeps_channels(inner):
                if not _alone(graph, users, source):
                    return None
                moves.append(inner)
                inner, source = inner.inputs[0], source.inputs[0]
            if not isinstance(inner.op, (Linear, PatchEmbed)) or not _alone(graph, users, source):
                return None
            parts = [value_of(n) for n in (*inner.inputs[1:], *operands[1:])]
            if any(part is None for part in parts) or any(users[w] != [user] for w, user in _weights(old, source)):
                return None
            first, bias, second, added = (np.asarray(part, np.float64) for part in parts)
            if first.shape[1] * second.shape[0] >= second.size + first.size:
                return None
            weight, offset = second @ first, added + second @ bias
            if not fits_float32(weight, offset):
                return None
            note.count("fused")
            product = _product(inner, old, weight, offset, operands)
            for move in reversed(moves):
                product = make(Reshape((*move.shape[:-1], product.shape[-1])), product, origin=move.origin)
            return product

        return rebuild(graph, change)


def _product(inner: Node, old: Node, weight: Array, bias: Array, operands: tuple[Node, ...]) -> Node:
    parts = constant(weight, operands[1].origin), constant(bias, operands[2].origin)
    return make(inner.op, inner.inputs[0], *parts, origin=merge_origins(inner.origin, old.origin))


def _alone(graph: Graph, users: dict[Node, list[Node]], node: Node) -> bool:
    return len(users[node]) == 1 and node not in graph.outputs


def _weights(old: Node, source: Node) -> tuple[tuple[Node, Node], ...]:
    return (old.inputs[1], old), (source.inputs[1], source)
