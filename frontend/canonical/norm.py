"""Normalisations written out in elementary operators become LayerNormalization (exporters below opset 17) and
RMSNormalization (below opset 23), over the last axis; what they normalise over is moved there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical import statistics
from edgewright.frontend.canonical.norm_terms import expanded_norm
from edgewright.passes import ops
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Node, Op, make, merge_origins
from edgewright.passes.rewriting import Rule, Uses

_FLOOR_MAX = 1e-9  # of a length: at lengths from 1e-6 on, max(length, floor) and sqrt(length^2 + floor^2) are the same
_ADDED_MAX = 1e-12  # to a length, likewise


def normalised_over(op: Op, x: Node, axes: tuple[int, ...], gamma: Array | None, beta: Array | None) -> Node:
    """Build LayerNormalization or RMSNormalization `op` of x over any axes: they are moved last before it, and back after it.

    gamma and beta belong to the elements of the axes, in their order; None: neutral.
    """
    origin, rank = x.origin, x.type.rank
    axes = tuple(sorted(axis % rank for axis in axes))
    perm = (*(i for i in range(rank) if i not in axes), *axes)
    moved = x if perm == tuple(range(rank)) else make(ops.Transpose(perm), x, origin=origin)
    width = math.prod(x.shape[axis] for axis in axes)
    rows = (*moved.shape[: rank - len(axes)], width)
    flat = moved if moved.shape == rows else make(ops.Reshape(rows), moved, origin=origin)
    parts = [ops.constant(np.ones(width, np.float32) if gamma is None else gamma)]
    if isinstance(op, ops.LayerNormalization):
        parts.append(ops.constant(np.zeros(width, np.float32) if beta is None else beta))
    result = make(op, flat, *parts, origin=origin)
    result = result if rows == moved.shape else make(ops.Reshape(moved.shape), result, origin=origin)
    return result if moved is x else make(ops.Transpose(tuple(perm.index(i) for i in range(rank))), result, origin=origin)


def _normalised(node: Node) -> tuple[Node, statistics.Statistic] | None:
    """Return (numerator, statistic) where node is numerator / sqrt(statistic + epsilon)."""
    pairs: list[tuple[Node, Node | None]] = []
    if isinstance(node.op, ops.Div):
        pairs = [(node.inputs[0], statistics.root_of(node.inputs[1]))]
    elif isinstance(node.op, ops.Mul):
        pairs = [(a, statistics.inverse_root_of(b)) for a, b in _others(node)]
    for x, under_root in pairs:
        if under_root is None or x.shape != node.shape:
            continue
        middle, spread = statistics.centred(x), statistics.variance(under_root)
        if middle is not None and spread is not None and middle == (spread.x, spread.axes):
            return x, spread
        square = statistics.mean_square(under_root)
        if square is not None and square.x is x:
            return x, square
    return None


def _core(node: Node) -> Node | None:
    """Return LayerNormalization or RMSNormalization with neutral weights, where node is one."""
    match = _normalised(node)
    if match is None:
        return _unit(node)
    x, statistic = match
    op = ops.RMSNormalization(statistic.epsilon) if statistic.x is x else ops.LayerNormalization(statistic.epsilon)
    return _with_origin(normalised_over(op, statistic.x, statistic.axes, None, None), node)


def _unit(node: Node) -> Node | None:
    """Return RMSNormalization where node is x / |x|, with a floor under the length or something added to it."""
    if isinstance(node.op, ops.Div):
        pairs = [(node.inputs[0], node.inputs[1])]
    elif isinstance(node.op, ops.Mul):
        pairs = [(a, b.inputs[0]) for a, b in _others(node) if isinstance(b.op, ops.Reciprocal)]
    else:
        return None
    for x, length in pairs:
        floor = 0.0
        if isinstance(length.op, ops.Clip) and 0 < length.op.low <= _FLOOR_MAX and length.op.high == math.inf:
            floor, length = length.op.low, length.inputs[0]
        elif isinstance(length.op, ops.Add):
            for inner, added in _others(length):
                value = ops.scalar_of(added)
                if value is not None and 0 < value <= _ADDED_MAX:
                    floor, length = value, inner
                    break
        squared = statistics.root_of(length)
        square = None if squared is None else statistics.mean_square(squared, epsilon_needed=False)
        if square is None or square.x is not x or x.shape != node.shape or square.factor <= 0:
            continue
        op = ops.RMSNormalization(square.epsilon + floor * floor / square.factor)
        width = math.prod(x.shape[axis] for axis in square.axes)
        gamma: Array = np.full(width, 1 / math.sqrt(square.factor), np.float32)
        return _with_origin(normalised_over(op, x, square.axes, gamma, None), node)
    return None


def _with_origin(result: Node, node: Node) -> Node:
    """Return the last step under the name of what it replaces."""
    return make(result.op, *result.inputs, origin=merge_origins(node.origin, result.origin))


def _others(node: Node) -> list[tuple[Node, Node]]:
    return [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]


@dataclass(frozen=True, slots=True)
class FuseNormalisation(Rule):
    """Recognise a normalisation that is written out.

    Before: (x - mean(x)) / sqrt(variance + epsilon), x / sqrt(mean square + epsilon) or x / |x|, over any axes and in any
    spelling; then a factor and an offset per channel. After: LayerNormalization or RMSNormalization over the last axis, with
    neutral weights first, and the factor and offset in its weights.
    Exact: within float rounding. Source: Ba et al. 2016 (layer), Zhang and Sennrich, NeurIPS 2019 (RMS).
    """

    on = (ops.Add, ops.Div, ops.Mul, ops.Sub)
    event = "normalisations and their affines"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        if isinstance(node.op, ops.Div | ops.Mul) and (core := _core(node)) is not None:
            return core
        expanded = expanded_norm(node) if isinstance(node.op, ops.Add | ops.Sub) else None
        if expanded is not None:
            statistic, gamma, beta = expanded
            op = ops.LayerNormalization(statistic.epsilon)
            return _with_origin(normalised_over(op, statistic.x, statistic.axes, gamma, beta), node)
        return _affine(node) if isinstance(node.op, ops.Mul | ops.Add) else None


def _affine(node: Node) -> Node | None:
    """Mul or Add of a vector after LayerNormalization, Mul after RMSNormalization: into gamma and beta.

    A Transpose between them, which moves the normalised axis back to its place, then comes after both.
    """
    for moved, other in _others(node):
        perm = moved.op.perm if isinstance(moved.op, ops.Transpose) else None
        norm = moved if perm is None else moved.inputs[0]
        if not isinstance(norm.op, ops.LayerNormalization | ops.RMSNormalization) or moved.shape != node.shape:
            continue
        x, *affine = norm.inputs
        axis = -1 if perm is None else perm.index(len(perm) - 1) - len(perm)
        known = [value for n in affine if (value := ops.value_of(n)) is not None]
        vector = statistics.vector_along(other, axis, norm.shape[-1])
        if vector is None or len(known) < len(affine):
            continue
        if isinstance(node.op, ops.Mul):
            known = [value.astype(np.float64) * vector for value in known]
        elif len(known) == 2:
            known[1] = known[1].astype(np.float64) + vector
        else:
            continue
        if not fits_float32(*known):
            continue
        parts = (ops.constant(value, origin=n.origin) for value, n in zip(known, affine, strict=True))
        result = make(norm.op, x, *parts, origin=merge_origins(node.origin, norm.origin))
        return result if perm is None else make(ops.Transpose(perm), result, origin=node.origin)
    return None
