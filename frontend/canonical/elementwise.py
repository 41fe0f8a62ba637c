"""Rules for elementwise operators: repeated operands, sums with several constants, and divisions by what masks give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Graph, Node, make, merge_origins, rebuild
from edgewright.passes.ops import Add, Constant, Div, Gather, Mul, Reciprocal, constant, value_of
from edgewright.passes.ops.groups import BROADCASTING
from edgewright.passes.quantisation.lowering_structure import hosted
from edgewright.passes.rewriting import Rule, Uses
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class DropExpansions(Rule):
    """Use an operand as it was before it was repeated along an axis of 1.

    Before: Add(x, Expand(y)), the repetition being a Gather. After: Add(x, y), where x's shape makes up for it.
    Exact: yes. Source: ONNX broadcasting.
    """

    on = BROADCASTING
    event = "expansions dropped"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        operands = list(node.inputs)
        for i, operand in enumerate(operands):
            while (inner := _expanded(operand)) is not None:
                others = [other.shape for j, other in enumerate(operands) if j != i]
                if np.broadcast_shapes(inner.shape, *others) != node.shape:
                    break
                operands[i] = operand = inner
        return node.with_inputs(tuple(operands)) if tuple(operands) != node.inputs else None


def _expanded(node: Node) -> Node | None:
    """Return x where node is x repeated along an axis of 1."""
    if not isinstance(node.op, Gather) or node.inputs[0].shape[node.op.axis] != 1:
        return None
    which = value_of(node.inputs[1])
    return node.inputs[0] if which is not None and which.ndim == 1 else None


@dataclass(frozen=True, slots=True)
class JoinConstants(Rule):
    """Add up the constants of a sum.

    Before: (x + a) + b, nothing else reading the inner sum. After: x + (a + b).
    Exact: within float rounding. Source: token types and positions of text models.
    """

    on = (Add,)
    event = "joined"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        for inner, last in _sides(node):
            if not isinstance(inner.op, Add) or uses(inner) != 1 or inner.shape != node.shape:
                continue
            for x, first in _sides(inner):
                if x.shape == node.shape:
                    both = constant(np.add(first.op.eval(), last.op.eval()), merge_origins(first.origin, last.origin))
                    return make(Add(), x, both, origin=merge_origins(inner.origin, node.origin))
        return None


def _sides(node: Node) -> list[tuple[Node, Node]]:
    """Return (x, constant) where node is their sum."""
    if not isinstance(node.op, Add):
        return []
    a, b = node.inputs
    return [(x, c) for x, c in ((a, b), (b, a)) if isinstance(c.op, Constant) and not isinstance(x.op, Constant)]


@dataclass(frozen=True, slots=True)
class MultiplyByReciprocals(Pass):
    """Multiply by the reciprocal of a value that comes from integer inputs alone.

    Before: x / c, c computed from a mask. After: x * Reciprocal(c).
    Exact: within float rounding. Source: means over tokens that a mask keeps.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        known = hosted(graph)

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if not isinstance(old.op, Div) or old in known or old.inputs[1] not in known:
                return None
            note.count("reciprocals")
            inverse = make(Reciprocal(), operands[1], origin=old.origin)
            return make(Mul(), operands[0], inverse, origin=old.origin)

        return rebuild(graph, change)
