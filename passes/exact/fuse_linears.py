from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.channel_readers import keeps_channels
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Node, make, merge_origins
from edgewright.passes.ops import Linear, PatchEmbed, Reshape, constant, value_of
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class FuseLinears(Rule):
    """Make one product of two that follow each other, where that saves products.

    Before: Linear(Linear(x; W1, b1); W2, b2), or Linear(PatchEmbed(x; W1, b1); W2, b2), nothing but a Reshape of tokens
    between them and nothing else reading the inner value. After: one product with W2 W1 and b2 + W2 b1.
    Done only where it has fewer multiply-accumulates (a bottleneck of low rank stays) and float32 holds its weights.
    Exact: within float rounding (computed in float64). Source: composition of affine maps.
    """

    on = (Linear,)
    event = "fused"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        inner = node.inputs[0]
        moves: list[Node] = []
        while isinstance(inner.op, Reshape) and keeps_channels(inner):
            moves.append(inner)
            inner = inner.inputs[0]
        if not isinstance(inner.op, (Linear, PatchEmbed)) or any(uses(value) != 1 for value in (inner, *moves)):
            return None
        parts = [value_of(n) for n in (*inner.inputs[1:], *node.inputs[1:])]
        if any(part is None for part in parts) or any(uses(product.inputs[1]) > 1 for product in (inner, node)):
            return None
        first, bias, second, added = (np.asarray(part, np.float64) for part in parts)
        if first.shape[1] * second.shape[0] >= second.size + first.size:
            return None
        weight, offset = second @ first, added + second @ bias
        if not fits_float32(weight, offset):
            return None
        fused = constant(weight, node.inputs[1].origin), constant(offset, node.inputs[2].origin)
        product = make(inner.op, inner.inputs[0], *fused, origin=merge_origins(inner.origin, node.origin))
        for move in reversed(moves):
            product = make(Reshape((*move.shape[:-1], product.shape[-1])), product, origin=move.origin)
        return product
