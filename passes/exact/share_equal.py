from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, rewrite
from edgewright.passes.ops import Constant, Input
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class ShareEqual(Pass):
    """Compute equal things once.

    Before: two nodes of the same operator on the same operands, or two constants with the same content of at most
    `bytes_max`. After: one, the first. Exact: yes. Source: common subexpression elimination.
    """

    bytes_max: float = math.inf

    def run(self, graph: Graph, note: Note) -> Graph:
        first: dict[Hashable, Node] = {}

        def change(node: Node) -> Node | None:
            if isinstance(node.op, Input) or (isinstance(node.op, Constant) and node.op.value.nbytes > self.bytes_max):
                return None
            key = _Content(node.op.value) if isinstance(node.op, Constant) else (node.op, node.inputs)
            result = first.setdefault((key, node.type), node)
            if result is not node:
                note.count("shared")
            return result

        return rewrite(graph, change)


class _Content:
    """An array as a key of a dictionary, equal to arrays with the same bytes; hashed by a sample of them."""

    def __init__(self, value: Array) -> None:
        self.value = value

    def __hash__(self) -> int:
        flat = self.value.reshape(-1)
        return hash((self.value.shape, flat[:: 1 + flat.size // 64].tobytes()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and np.array_equal(_bytes(self.value), _bytes(other.value))


def _bytes(value: Array) -> Array:
    return value.reshape(-1).view(np.uint8)
