"""softmax(scale q k^T + bias) v with whatever reshapes, transposes and factors around it becomes token-major Attention.

Operands may be one sample or windows of one, keys and queries may differ in number, and values in width from keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgewright.frontend.canonical.layout import Movement, trace
from edgewright.frontend.canonical.operand import aligned, arranged
from edgewright.frontend.canonical.scores import Scores, read_scores
from edgewright.passes.ir import Node, make, merge_origins
from edgewright.passes.ops import Attention, Constant, MatMul, Reshape, Softmax, Transpose
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class FuseAttention(Rule):
    """Make one operator of a softmax between two products.

    Before: softmax(scale q k^T + bias) v, in any layout. After: Attention of token-major q, k, v (and bias), and the moves
    that bring its result into the old layout, which `SimplifyMovement` cancels.
    Exact: within float rounding. Source: "Attention Is All You Need" (Vaswani et al., NeurIPS 2017), equation 1.
    """

    on = (MatMul,)
    event = "attentions"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        weights, values = node.inputs
        scores = read_scores(weights, uses)
        if scores is not None:
            return _attention(node, weights, values, False, scores)
        # v p^T, as networks in (channels, tokens) layout write it
        values, turned = node.inputs
        if not isinstance(turned.op, Transpose) or not _swapped(turned.op.perm) or uses(turned) != 1:
            return None
        (weights,) = turned.inputs
        scores = read_scores(weights, uses) if isinstance(weights.op, Softmax | Reshape) else None
        return None if scores is None else _attention(node, weights, values, True, scores)


def _swapped(perm: tuple[int, ...]) -> bool:
    """Return whether a permutation exchanges the last two axes and nothing else."""
    rank = len(perm)
    return rank >= 2 and perm == (*range(rank - 2), rank - 1, rank - 2)


@dataclass(frozen=True, slots=True)
class _Operand:
    """One of q, k, v as exported; `turned`: its tokens are its last axis."""

    node: Node
    moved: Movement
    turned: bool


def _attention(mixed: Node, weights: Node, values: Node, turned: bool, scores: Scores) -> Node | None:
    left, right = scores.product.inputs
    lead = math.prod(scores.product.shape[:-2])
    same = math.prod(left.shape[:-2]) == math.prod(right.shape[:-2]) == math.prod(values.shape[:-2]) == lead
    if not same or math.prod(mixed.shape[:-2]) != lead:
        return None
    operands = []
    for node, is_turned, scaled in ((left, False, True), (right, True, True), (values, turned, False)):
        moved = trace(node, scaled=scaled)
        if moved is None or (node is not left and isinstance(moved.root.op, Constant)):
            return None  # constant queries are those of a decoder's first block; constant keys and values are layers
        operands.append(_Operand(node, moved, is_turned))
    windows, heads = _division(operands, lead)
    bias = scores.bias_for(windows, heads)
    if scores.biases and bias is None:
        return None
    scale, parts = scores.factor, []
    for operand in operands:
        part = aligned(operand.moved, operand.turned, windows, heads, operand.node.origin)
        if part is None:
            part = arranged(operand.node, operand.turned, windows, heads)
        else:
            scale *= operand.moved.factor
        parts.append(part)
    tokens, dim = parts[0].shape[1], parts[2].shape[2] // heads
    origin = merge_origins(mixed.origin, weights.origin, scores.product.origin)
    attention = make(Attention(heads, scale), *parts, *([] if bias is None else [bias]), origin=origin)
    split = make(Reshape((windows, tokens, heads, dim)), attention, origin=mixed.origin)
    by_head = make(Transpose((0, 2, 3, 1) if turned else (0, 2, 1, 3)), split, origin=mixed.origin)
    return by_head if by_head.shape == mixed.shape else make(Reshape(mixed.shape), by_head, origin=mixed.origin)


def _division(operands: list[_Operand], lead: int) -> tuple[int, int]:
    """Return (windows, heads): how the leading axes divide, so that most operands are plain parts of what they come from.

    Four axes say it themselves unless another division suits the operands better.
    """
    shape = next((o.node.shape for o in operands if len(o.node.shape) == 4), None)
    divisions = [(n, lead // n) for n in range(1, lead + 1) if lead % n == 0]
    if shape is not None and (shape[0], shape[1]) in divisions:
        divisions.insert(0, (shape[0], shape[1]))

    def misfits(division: tuple[int, int]) -> int:
        return sum(aligned(o.moved, o.turned, *division, ()) is None for o in operands)

    return min(divisions, key=misfits)
