from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Graph, Node, make, merge_origins, rebuild
from edgewright.passes.ops import Attention, HashAttention, HashCodes, Linear, Slice, array_of, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class MergeLinears(Pass):
    """Make one product of the Linears that read one value and feed attention.

    Before: Linear(x, wq, bq), Linear(x, wk, bk), Linear(x, wv, bv), each read by attention only, softmax or hashed.
    After: Slices of Linear(x, [wq; wk; wv], [bq; bk; bv]); x is read once.
    Exact: yes, up to the order of float sums. Source: the usual merged QKV projection.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        groups: dict[Node, list[Node]] = {}
        for node in graph.nodes():
            if isinstance(node.op, Linear) and node not in graph.outputs and _feeds_attention(users[node]):
                constants = (value_of(n) is not None for n in node.inputs[1:])
                if all(constants):
                    groups.setdefault(node.inputs[0], []).append(node)
        groups = {x: linears for x, linears in groups.items() if len(linears) > 1}
        merged: dict[Node, Node] = {}

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            linears = groups.get(old.inputs[0], []) if isinstance(old.op, Linear) else []
            if old not in linears:
                return None
            x = old.inputs[0]
            if x not in merged:
                note.count("merged", len(linears))
                merged[x] = _merge(operands[0], linears)
            start = sum(n.shape[-1] for n in linears[: linears.index(old)])
            part = Slice(old.type.rank - 1, start, start + old.shape[-1])
            return make(part, merged[x], origin=old.origin)

        return rebuild(graph, change)


def _merge(x: Node, linears: list[Node]) -> Node:
    parts = (constant(np.concatenate([array_of(n.inputs[i]) for n in linears])) for i in (1, 2))
    return make(Linear(), x, *parts, origin=merge_origins(*(n.origin for n in linears)))


def _feeds_attention(users: list[Node]) -> bool:
    # the rule's own choice: the operators whose operands are queries, keys or values
    return bool(users) and all(isinstance(user.op, (Attention, HashCodes, HashAttention)) for user in users)
