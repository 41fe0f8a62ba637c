from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.channel_affine import channel_affine
from edgewright.passes.ir import Graph, Node, make, rewrite
from edgewright.passes.ops import Add, BatchNormalization, Mul, constant
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
            affine = channel_affine(node, 0, 1) if isinstance(node.op, BatchNormalization) else None
            if affine is None:
                return None
            note.count("expanded")
            shape = (1, -1, *(1 for _ in node.shape[2:]))
            by, plus = (constant(part.reshape(shape).astype(np.float32)) for part in affine)
            return make(Add(), make(Mul(), node.inputs[0], by, origin=node.origin), plus, origin=node.origin)

        return rewrite(graph, change)
