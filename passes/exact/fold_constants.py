from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir import Node
from edgewright.passes.ops import Constant, Input, constant, value_of
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class FoldConstants(Rule):
    """Evaluate what depends on constants only.

    Before: op(constants). After: the constant. Exact: yes, by the operator's own eval. Source: every compiler.
    """

    event = "folded"

    max_bytes: int = 1 << 28

    def replace(self, node: Node, uses: Uses) -> Node | None:
        values = [value for operand in node.inputs if (value := value_of(operand)) is not None]
        if isinstance(node.op, (Constant, Input)) or len(values) < len(node.inputs) or node.type.size_bytes > self.max_bytes:
            return None
        return constant(node.op.eval(*values), node.origin)
