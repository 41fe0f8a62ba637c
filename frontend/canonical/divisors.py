"""Means over the tokens that a mask keeps: what is divided by a count of the mask is multiplied by its reciprocal.

The host computes the reciprocal from the mask, so the integer level needs no division.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir import Graph, Node, make, rebuild
from edgewright.passes.ops import Div, Mul, Reciprocal
from edgewright.passes.quantisation.lowering_structure import hosted
from edgewright.passes.transform import Note, Pass


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
