"""Means over the tokens that a mask keeps: what is divided by a count of the mask is multiplied by its reciprocal.

The host computes the reciprocal from the mask, so the integer level needs no division.
"""

from __future__ import annotations

from edgewright.passes.ir import Graph, Node, make
from edgewright.passes.ir.graph import rebuild
from edgewright.passes.ops import Div, Mul, Reciprocal
from edgewright.passes.quantisation.lowering_structure import hosted


def multiply_by_reciprocals(graph: Graph) -> Graph:
    """x / c -> x * (1 / c) for values c that come from integer inputs alone."""
    known = hosted(graph)

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        if not isinstance(old.op, Div) or old in known or old.inputs[1] not in known:
            return None
        inverse = make(Reciprocal(), operands[1], origin=old.origin)
        return make(Mul(), operands[0], inverse, origin=old.origin)

    return rebuild(graph, change)
