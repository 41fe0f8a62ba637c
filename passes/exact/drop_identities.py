from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir import Node, make
from edgewright.passes.ops import Add, Concat, Div, Mul, Reshape, Slice, Sub, Transpose, scalar_of
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class DropIdentities(Rule):
    """Remove what changes nothing.

    Before: Reshape to the same shape, identity Transpose, whole Slice, Concat of one; x + 0, x - 0, x * 1, x / 1.
    After: x. Exact: yes. Source: every compiler.
    """

    on = (Add, Concat, Div, Mul, Reshape, Slice, Sub, Transpose)
    event = "dropped"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op, x = node.op, node.inputs[0]
        if isinstance(op, (Reshape, Slice)):
            return x if node.shape == x.shape else None
        if isinstance(op, Transpose):
            return x if op.perm == tuple(range(node.type.rank)) else None
        if isinstance(op, Concat):
            return x if len(node.inputs) == 1 else None
        number = 0.0 if isinstance(op, (Add, Sub)) else 1.0
        for value, other in ((x, node.inputs[1]), (node.inputs[1], x))[: 2 if isinstance(op, (Add, Mul)) else 1]:
            if scalar_of(other) == number and value.shape == node.shape:
                return value
        return None


@dataclass(frozen=True, slots=True)
class JoinMoves(Rule):
    """Make one move of two of a kind in a row.

    Before: Reshape(Reshape(x)), or Slice(Slice(x)) along one axis. After: one Reshape, or one Slice.
    Exact: yes. Source: every compiler.
    """

    on = (Reshape, Slice)
    event = "joined"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op, inner = node.op, node.inputs[0]
        if isinstance(op, Reshape) and isinstance(inner.op, Reshape):
            return make(op, inner.inputs[0], origin=node.origin, quant=node.quant)
        if isinstance(op, Slice) and isinstance(inner.op, Slice) and op.step == inner.op.step == 1:
            rank = node.type.rank
            if op.axis % rank == inner.op.axis % rank:
                start = inner.op.start + op.start
                both = Slice(op.axis % rank, start, start + op.stop - op.start)
                return make(both, inner.inputs[0], origin=node.origin, quant=node.quant)
        return None
