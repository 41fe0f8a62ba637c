"""Hashed attention written out in standard operators becomes HashCodes and HashAttention.

What `onnx_writing.hashing` writes is read back, and so is what exporters make of the same formulas: the centre of the
kernels subtracted before the coefficients, a plain Sign, either constant term. sigma has to be a constant; EcoFormer's
released code computes it anew from every image, and its export stays in the operators it is written in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical.layout import trace
from edgewright.frontend.canonical.norm_terms import added
from edgewright.frontend.canonical.operand import aligned, arranged
from edgewright.frontend.canonical.statistics import plus_number, square_of, sum_of, times_number
from edgewright.passes import ops
from edgewright.passes.ir import Array, Node, make, merge_origins
from edgewright.passes.rewriting import Rule, Uses

_BY_HEAD = (0, 2, 1, 3)
_FLOOR_MAX = 1e-6  # added to a squared norm, at most: more would shorten directions


@dataclass(frozen=True, slots=True)
class FuseHashCodes(Rule):
    """Recognise the codes of hashed attention.

    Before: sign(coefficients exp(-|u / |u| - anchor|^2 / (2 sigma)) - threshold), (B, H, T, b). After: HashCodes(u), and
    the moves that bring its result into that layout, which `SimplifyMovement` cancels; of codes that are codes already, these.
    Exact: within float rounding of the margins. Source: EcoFormer (Liu et al., NeurIPS 2022), section 4.1.
    """

    on = (ops.Sign,)
    event = "codes"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        margins = node.inputs[0]
        again, added = plus_number(margins) or (margins, 0.0)  # sign(sign(x) + 1/2), which is 1 at 0
        if abs(added) < 1 and (moved := trace(again)) is not None and isinstance(moved.root.op, ops.HashCodes):
            return again
        terms = _margins(margins)
        if terms is None or margins.type.rank != 4:
            return None
        kernels, coefficients, threshold = terms
        distances = times_number(kernels.inputs[0]) if isinstance(kernels.op, ops.Exp) else None
        if distances is None or distances[1] >= 0:
            return None
        near = _anchored(distances[0])
        split = None if near is None else _normalised(near[0])
        if near is None or split is None:
            return None
        windows, heads, tokens, bits = margins.shape
        supports = kernels.shape[-1]
        anchors = near[1].reshape(near[1].shape[-3:]) if near[1].ndim > 2 else near[1][None]
        weights = coefficients.reshape(coefficients.shape[-3:]) if coefficients.ndim > 2 else coefficients[None]
        limits = np.broadcast_to(threshold.reshape(-1, threshold.shape[-1]) if threshold.ndim > 1 else threshold, (heads, bits))
        if len(anchors) != heads or len(weights) != heads or split.shape[:3] != (windows, heads, tokens):
            return None
        operands = (anchors.swapaxes(1, 2), weights.swapaxes(1, 2), limits)
        assert operands[0].shape[1] == supports
        u = _token_major(split)
        origin = merge_origins(node.origin, margins.origin)
        op = ops.HashCodes(heads, -0.5 / distances[1])
        codes = make(op, u, *(ops.constant(np.ascontiguousarray(x, np.float32)) for x in operands), origin=origin)
        return _head_major(codes, heads)


@dataclass(frozen=True, slots=True)
class FuseHashAttention(Rule):
    """Recognise attention between codes.

    Before: (B (B^T v) + c total) / (B keys^T + c T), B the codes (B, H, T, b). After: HashAttention of them, and moves.
    Exact: within float rounding. Source: EcoFormer (Liu et al., NeurIPS 2022), section 4.2.
    """

    on = (ops.Div,)
    event = "attentions"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        mixed, weights = node.inputs
        if node.type.rank != 4 or not isinstance(mixed.op, ops.Add):
            return None
        product, level = plus_number(weights) or (weights, 0.0)
        if not isinstance(product.op, ops.MatMul):
            return None
        codes4 = product.inputs[0]
        moved = trace(codes4) if codes4.type.rank == 4 else None
        if moved is None or not isinstance(moved.root.op, ops.HashCodes):
            return None
        codes, (windows, heads, tokens, bits) = moved.root, codes4.shape
        places = np.arange(codes.type.size).reshape(windows, tokens, heads, bits).transpose(_BY_HEAD)
        constant_term = bits + 1.0
        keys = _swapped(product.inputs[1])
        if not np.array_equal(moved.indices, places) or keys is None or sum_of(keys, 2) is not codes4:
            return None
        if not np.isclose(level, constant_term * tokens, rtol=1e-6):
            return None
        for summed, counts in (mixed.inputs, mixed.inputs[::-1]):
            total = times_number(counts)
            if not isinstance(summed.op, ops.MatMul) or summed.inputs[0] is not codes4:
                continue
            if total is None or total[1] != constant_term:
                continue
            context = summed.inputs[1]
            if not isinstance(context.op, ops.MatMul) or _swapped(context.inputs[0]) is not codes4:
                continue
            v4 = context.inputs[1]
            form = "sum" if sum_of(total[0], 2) is v4 else "own" if total[0] is v4 else None
            if form is None:
                continue
            origin = merge_origins(node.origin, mixed.origin)
            return _head_major(make(ops.HashAttention(heads, bits, form), codes, _token_major(v4), origin=origin), heads)
        return None


def _margins(node: Node) -> tuple[Node, Array, Array] | None:
    """Return (kernels, coefficients (.., m, b), threshold (.., b)) of kernels A - threshold, or (kernels - centre) A."""
    threshold: Array = np.zeros(node.shape[-1])
    if isinstance(node.op, ops.Sub):
        level = ops.value_of(node.inputs[1])
        if level is None or node.inputs[0].shape != node.shape:
            return None
        node, threshold = node.inputs[0], level
    coefficients = ops.value_of(node.inputs[1]) if isinstance(node.op, ops.MatMul) else None
    if coefficients is None:
        return None
    kernels = node.inputs[0]
    if isinstance(kernels.op, ops.Sub):
        centre = ops.value_of(kernels.inputs[1])
        if centre is None or kernels.inputs[0].shape != kernels.shape:
            return None
        centre = np.broadcast_to(centre, (*coefficients.shape[:-2], 1, coefficients.shape[-2]))
        threshold = threshold + np.matmul(centre.astype(np.float64), coefficients)
        kernels = kernels.inputs[0]
    flat = threshold.reshape(-1, threshold.shape[-1]) if threshold.ndim else threshold
    return kernels, coefficients, flat


def _anchored(node: Node) -> tuple[Node, Array] | None:
    """Return (x, anchors (.., d, m)) of |x|^2 + |anchor|^2 - 2 x anchor, however it is bracketed."""
    terms = added(node, 3) or []
    crossed = [(product, sign) for sign, term in terms if (product := _crossed(term)) is not None]
    if len(terms) != 3 or len(crossed) != 1:
        return None
    (x, anchors, factor), sign = crossed[0]
    rest = [(term, sign) for sign, term in terms if _crossed(term) is None]
    lengths = [value for term, _ in rest if (value := ops.value_of(term)) is not None]
    squares = [term for term, _ in rest if ops.value_of(term) is None]
    if factor * sign != -2.0 or any(sign != 1.0 for _, sign in rest) or len(lengths) != 1 or len(squares) != 1:
        return None
    exact = np.square(anchors.astype(np.float64)).sum(axis=-2, keepdims=True)
    fits = np.allclose(np.broadcast_to(lengths[0], exact.shape), exact, rtol=1e-4, atol=1e-6)
    return (x, anchors) if fits and _squared_length(squares[0]) is x else None


def _crossed(node: Node) -> tuple[Node, Array, float] | None:
    """Return (x, anchors, factor) of factor x anchors."""
    node, factor = times_number(node) or (node, 1.0)
    anchors = ops.value_of(node.inputs[1]) if isinstance(node.op, ops.MatMul) else None
    return None if anchors is None else (node.inputs[0], anchors, factor)


def _normalised(node: Node) -> Node | None:
    """Return x of x / sqrt(|x|^2 + floor)."""
    if not isinstance(node.op, ops.Div) or not isinstance(node.inputs[1].op, ops.Sqrt):
        return None
    x, squared = node.inputs[0], node.inputs[1].inputs[0]
    shifted = plus_number(squared) or (squared, 0.0)
    return x if 0 <= shifted[1] <= _FLOOR_MAX and _squared_length(shifted[0]) is x else None


def _squared_length(node: Node) -> Node | None:
    """Return x where node is the sum of its squares over the last axis."""
    square = sum_of(node, -1)
    return None if square is None else square_of(square)


def _swapped(node: Node) -> Node | None:
    """Return x where node is x (B, H, ..) with its last two axes exchanged."""
    return node.inputs[0] if isinstance(node.op, ops.Transpose) and node.op.perm == (0, 1, 3, 2) else None


def _token_major(x: Node) -> Node:
    """Move (B, H, T, d) -> (B, T, H d)."""
    moved = trace(x)
    windows, heads = x.shape[:2]
    part = None if moved is None else aligned(moved, False, windows, heads, x.origin)
    return arranged(x, False, windows, heads) if part is None else part


def _head_major(x: Node, heads: int) -> Node:
    """Move (B, T, H d) -> (B, H, T, d)."""
    batch, tokens, width = x.shape
    split = make(ops.Reshape((batch, tokens, heads, width // heads)), x, origin=x.origin)
    return make(ops.Transpose(_BY_HEAD), split, origin=x.origin)
