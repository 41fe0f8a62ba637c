from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make, rewrite
from edgewright.passes.ops import Add, BatchNormalization, Mul, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class ExpandBatchNorm(Pass):
    """Spells a normalisation with stored statistics as what a CPU or a GPU fuses behind the step before it.

    Before: BatchNormalization(x, scale, bias, mean, variance), the last four constants (C,).
    After: x * factor + offset, both (1, C, 1, ...), with factor = scale / sqrt(variance + epsilon) and
    offset = bias - mean * factor.
    Exact: within float rounding (factor and offset are computed in float64). Source: the definition.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        def change(node: Node) -> Node | None:
            values = [value_of(n) for n in node.inputs[1:]]
            if not isinstance(node.op, BatchNormalization) or any(value is None for value in values):
                return None
            note.count("expanded")
            scale, bias, mean, variance = (np.asarray(value, np.float64) for value in values)
            factor = scale / np.sqrt(variance + node.op.epsilon)
            shape = (1, -1, *(1 for _ in node.shape[2:]))
            by = constant(factor.reshape(shape).astype(np.float32))
            plus = constant((bias - mean * factor).reshape(shape).astype(np.float32))
            return make(Add(), make(Mul(), node.inputs[0], by, origin=node.origin), plus, origin=node.origin)

        return rewrite(graph, change)
