"""Operands of products and of attention, as every target reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Attention, array_of
from edgewright.targets.lowering.step import LoweringContext
from edgewright.targets.lowering.view import StridedView


def weight_and_bias(node: Node) -> tuple[Array, Array | None]:
    """Return the constants of a product, the bias None where it has none."""
    return array_of(node.inputs[1]), array_of(node.inputs[2]) if len(node.inputs) > 2 else None


@dataclass(frozen=True, slots=True)
class AttentionOperands:
    """q (windows, tokens, heads * dk), k (windows, keys, heads * dk), v (windows, keys, heads * dv), and a bias
    (windows, heads, tokens, keys) or None."""

    op: Attention
    q: StridedView
    k: StridedView
    v: StridedView
    bias: StridedView | None

    @classmethod
    def of(cls, context: LoweringContext[Any], node: Node) -> AttentionOperands:
        assert isinstance(node.op, Attention)
        q, k, v, *bias = (context.values[operand] for operand in node.inputs)
        shape = (q.shape[0], node.op.heads, q.shape[1], k.shape[1])
        return cls(node.op, q, k, v, bias[0].broadcast_to(shape) if bias else None)

    @property
    def sizes(self) -> tuple[int, int, int, int, int, int]:
        """(windows, heads, tokens, keys, dk, dv)."""
        heads = self.op.heads
        return (self.q.shape[0], heads, self.q.shape[1], self.k.shape[1], self.q.shape[2] // heads, self.v.shape[2] // heads)

    @property
    def macs(self) -> int:
        windows, heads, tokens, keys, dk, dv = self.sizes
        return windows * heads * tokens * keys * (dk + dv)
