"""Normalisations of tokens written out in elementary operators become LayerNormalization (exporters below opset 17) and
RMSNormalization (below opset 23)."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.canonical.fuse import scalar_of
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Graph, Node, make, merge_origins, rewrite
from edgewright.passes.ops import (
    Add,
    Div,
    LayerNormalization,
    Mul,
    Pow,
    Reciprocal,
    ReduceMean,
    RMSNormalization,
    Sqrt,
    Sub,
    constant,
    value_of,
)


def vector_of(node: Node, width: int) -> Array | None:
    """A constant that varies along the last axis only, as (width,), or None."""
    value = value_of(node)
    if value is None or value.size not in (1, width) or (value.size == width and value.shape[-1:] != (width,)):
        return None
    return np.broadcast_to(value.reshape(-1), (width,)).astype(np.float32)


def _mean_of(node: Node) -> Node | None:
    """x where node is the mean of x over its last axis, kept."""
    if not isinstance(node.op, ReduceMean) or not node.op.keepdims or len(node.op.axes) != 1:
        return None
    (x,) = node.inputs
    return x if node.op.axes[0] % len(x.shape) == len(x.shape) - 1 else None


def _centred(node: Node) -> Node | None:
    """x where node is x - mean(x)."""
    if not isinstance(node.op, Sub):
        return None
    x, mean = node.inputs
    return x if _mean_of(mean) is x else None


def _square_of(node: Node) -> Node | None:
    if isinstance(node.op, Mul) and node.inputs[0] is node.inputs[1]:
        return node.inputs[0]
    if isinstance(node.op, Pow) and scalar_of(node.inputs[1]) == 2.0:
        return node.inputs[0]
    return None


def _mean_square_epsilon(node: Node) -> tuple[Node, float] | None:
    """(x, epsilon) where node is mean(x^2) + epsilon."""
    if not isinstance(node.op, Add):
        return None
    for mean, epsilon in (node.inputs, node.inputs[::-1]):
        value = scalar_of(epsilon)
        squared = _mean_of(mean)
        base = None if squared is None else _square_of(squared)
        if value is not None and base is not None:
            return base, value
    return None


def _root_of(node: Node) -> Node | None:
    if isinstance(node.op, Sqrt):
        return node.inputs[0]
    if isinstance(node.op, Pow) and scalar_of(node.inputs[1]) == 0.5:
        return node.inputs[0]
    return None


def _inverse_root_of(node: Node) -> Node | None:
    if isinstance(node.op, Reciprocal):
        return _root_of(node.inputs[0])
    if isinstance(node.op, Div) and scalar_of(node.inputs[0]) == 1.0:
        return _root_of(node.inputs[1])
    if isinstance(node.op, Pow) and scalar_of(node.inputs[1]) == -0.5:
        return node.inputs[0]
    return None


def _normalised(node: Node) -> tuple[Node, float] | None:
    """(x, epsilon) where node is x / sqrt(mean(x^2) + epsilon)."""
    pairs: list[tuple[Node, Node | None]] = []
    if isinstance(node.op, Div):
        pairs = [(node.inputs[0], _root_of(node.inputs[1]))]
    elif isinstance(node.op, Mul):
        pairs = [(a, _inverse_root_of(b)) for a, b in (node.inputs, node.inputs[::-1])]
    for x, moved in pairs:
        match = None if moved is None else _mean_square_epsilon(moved)
        if match is None or match[1] < 0:
            continue
        squared, epsilon = match
        if squared is x or (_centred(x) is not None and _centred(squared) is _centred(x)):
            return x, epsilon
    return None


def _core(node: Node) -> Node | None:
    """LayerNormalization or RMSNormalization with neutral weights, where node is one."""
    match = _normalised(node)
    if match is None:
        return None
    x, epsilon = match
    width = x.shape[-1]
    ones = constant(np.ones(width, np.float32))
    centred = _centred(x)
    if centred is None:
        return make(RMSNormalization(epsilon), x, ones, origin=node.origin)
    return make(LayerNormalization(epsilon), centred, ones, constant(np.zeros(width, np.float32)), origin=node.origin)


def _others(node: Node) -> list[tuple[Node, Node]]:
    return [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]


def fuse_normalisation(graph: Graph) -> Graph:
    """The core with neutral weights first; a following multiplication and addition then move inside."""

    def change(node: Node) -> Node | None:
        core = _core(node) if isinstance(node.op, Div | Mul) else None
        if core is not None:
            return core
        if isinstance(node.op, Mul | Add):
            return _affine(node)
        return None

    return rewrite(graph, change)


def _affine(node: Node) -> Node | None:
    """Mul or Add of a vector behind LayerNormalization, Mul behind RMSNormalization: into gamma and beta."""
    for norm, other in _others(node):
        if not isinstance(norm.op, LayerNormalization | RMSNormalization) or norm.shape != node.shape:
            continue
        x, *affine = norm.inputs
        values, vector = [value_of(n) for n in affine], vector_of(other, norm.shape[-1])
        if vector is None or any(value is None for value in values):
            continue
        known = [value for value in values if value is not None]
        if isinstance(node.op, Mul):
            known = [value.astype(np.float64) * vector for value in known]
        elif len(known) == 2:
            known[1] = known[1].astype(np.float64) + vector
        else:
            continue
        if not fits_float32(*known):
            continue
        parts = (constant(value, origin=n.origin) for value, n in zip(known, affine, strict=True))
        return make(norm.op, x, *parts, origin=merge_origins(node.origin, norm.origin))
    return None
