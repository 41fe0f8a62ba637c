from __future__ import annotations

from dataclasses import dataclass, replace

from edgewright.passes.ir import Node, make
from edgewright.passes.ops import Constant, Linear, Reshape, Slice, constant, value_of
from edgewright.passes.ops.groups import ELEMENTWISE, NORMS
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class SinkReshapes(Rule):
    """Keep tokens after the batch: a Reshape that only moves an axis of 1 sinks past what treats tokens one by one.

    Before: Add(Reshape(x), Reshape(Linear(y))) in (tokens, 1, channels), as sequence-first layers are exported.
    After: Reshape(Add(x, Linear(y))) in (1, tokens, channels), where sums find the products that end in them.
    Exact: yes. Source: LayerNorm, Linear, sums and activations do not depend on the order of the leading axes.
    """

    event = "sunk"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op = node.op
        moved = [x for x in node.inputs if _moves_axes_of_one(x)]
        if not moved:
            return None
        (x, *_), before = moved[0].inputs, moved[0].inputs[0].shape
        if isinstance(op, Slice):
            axis = op.axis % node.type.rank
            if moved[0].shape[axis] == 1:
                return None
            long_axes = [[a for a, n in enumerate(shape) if n > 1] for shape in (moved[0].shape, before)]
            part = replace(op, axis=long_axes[1][long_axes[0].index(axis)])
            return make(Reshape(node.shape), make(part, x, origin=node.origin), origin=node.origin)
        if isinstance(op, (*NORMS, Linear)):
            if moved[0] is not node.inputs[0]:
                return None
            inner = make(op, x, *node.inputs[1:], origin=node.origin)
            return make(Reshape(node.shape), inner, origin=node.origin)
        if isinstance(op, ELEMENTWISE) and moved[0].shape == node.shape:
            operands = [_unmoved(operand, node, before) for operand in node.inputs]
            if None not in operands:
                inner = make(op, *(operand for operand in operands if operand is not None), origin=node.origin)
                return make(Reshape(node.shape), inner, origin=node.origin)
        return None


def _moves_axes_of_one(node: Node) -> bool:
    """Return whether a Reshape changes only where the axes of 1 are, the channels last before and after."""
    if not isinstance(node.op, Reshape):
        return False
    before, after = node.inputs[0].shape, node.shape
    if len(before) != len(after) or before == after or len(after) < 3 or before[-1] != after[-1]:
        return False
    return [n for n in before if n > 1] == [n for n in after if n > 1]


def _unmoved(operand: Node, node: Node, before: tuple[int, ...]) -> Node | None:
    """Return an operand of an elementwise ``node`` as it was ``before``: moved back, or the same for every token."""
    if _moves_axes_of_one(operand) and operand.inputs[0].shape == before and operand.shape == node.shape:
        return operand.inputs[0]
    value = value_of(operand)
    if value is None or not isinstance(operand.op, Constant):
        return None
    if value.size == 1 or value.shape == (1,) * (value.ndim - 1) + value.shape[-1:]:
        return operand
    return constant(value.reshape(before), operand.origin) if value.shape == node.shape else None
