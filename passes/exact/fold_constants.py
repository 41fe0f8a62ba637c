from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.graph import Graph, Node, rewrite
from edgewright.passes.ops import Constant, Input, constant
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class FoldConstants(Pass):
    """Evaluates what depends on constants only.

    Before: op(constants). After: the constant. Exact: yes, by the op's own eval.
    Source: every compiler.
    """

    max_bytes: int = 1 << 28

    def run(self, graph: Graph, note: Note) -> Graph:
        def change(node: Node) -> Node | None:
            if isinstance(node.op, (Constant, Input)) or node.type.size_bytes > self.max_bytes:
                return None
            values = [n.op.value for n in node.inputs if isinstance(n.op, Constant)]
            if len(values) < len(node.inputs):
                return None
            note.count("folded")
            return constant(node.op.eval(*values), node.origin)

        return rewrite(graph, change)
