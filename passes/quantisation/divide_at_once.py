from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.passes.ir import Graph, Node, make, rebuild
from edgewright.passes.ops import Div, Mul, Reciprocal, constant, scalar_of, value_of
from edgewright.passes.quantisation.lowering_structure import hosted
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class DivideAtOnce(Pass):
    """Divide by a computed value instead of multiplying by its inverse, which 8 bits would hold.

    Before: a * (1 / b), or a * Reciprocal(b), where a and b are computed. After: a / b; c * a / b for a number c in place of 1.
    Exact: within float rounding. What the host makes of masks stays a factor: it is exact there.
    Source: an inverse spans the range of b twice in octaves; a quotient of integers has a range of its own.
    """

    exact: ClassVar[bool] = True

    def run(self, graph: Graph, note: Note) -> Graph:
        known = hosted(graph)

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if not isinstance(old.op, Mul) or old in known:
                return None
            for position in (0, 1):
                a, inverse = operands[1 - position], operands[position]
                found = None if old.inputs[position] in known or value_of(a) is not None else _inverted(inverse)
                if found is None:
                    continue
                number, b = found
                note.count("divisions")
                a = a if number == 1 else make(Mul(), a, constant(np.asarray(number, np.float32)), origin=inverse.origin)
                return make(Div(), a, b, origin=old.origin)
            return None

        return rebuild(graph, change)


def _inverted(node: Node) -> tuple[float, Node] | None:
    """Return (c, b) of a node that is c / b, b computed."""
    if isinstance(node.op, Reciprocal):
        return 1.0, node.inputs[0]
    number = scalar_of(node.inputs[0]) if isinstance(node.op, Div) else None
    return None if number is None or value_of(node.inputs[1]) is not None else (number, node.inputs[1])
