"""Layer normalisation written out in elementary operators (exporters below opset 17) becomes LayerNormalization."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.onnx_canonical_fuse import scalar_of
from edgewright.passes.ir import Array, Graph, Node, make, merge_origins, rewrite
from edgewright.passes.ops import (
    Add,
    Div,
    LayerNormalization,
    Mul,
    Pow,
    Reciprocal,
    ReduceMean,
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


def _variance_epsilon(node: Node, x: Node) -> float | None:
    """epsilon where node is mean((x - mean(x))^2) + epsilon."""
    if not isinstance(node.op, Add):
        return None
    for variance, epsilon in (node.inputs, node.inputs[::-1]):
        value = scalar_of(epsilon)
        squared = _mean_of(variance)
        base = None if squared is None else _square_of(squared)
        if value is not None and base is not None and _centred(base) is x:
            return value
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
    """(x, epsilon) where node is (x - mean) / sqrt(variance + epsilon)."""
    pairs: list[tuple[Node, Node | None]] = []
    if isinstance(node.op, Div):
        pairs = [(node.inputs[0], _root_of(node.inputs[1]))]
    elif isinstance(node.op, Mul):
        pairs = [(a, _inverse_root_of(b)) for a, b in (node.inputs, node.inputs[::-1])]
    for centred, variance in pairs:
        x = _centred(centred)
        if x is None or variance is None:
            continue
        epsilon = _variance_epsilon(variance, x)
        if epsilon is not None and epsilon >= 0:
            return x, epsilon
    return None


def _others(node: Node) -> list[tuple[Node, Node]]:
    return [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]


def fuse_layer_normalization(graph: Graph) -> Graph:
    """The core with neutral weights first; a following multiplication and addition then move inside."""

    def change(node: Node) -> Node | None:
        match = _normalised(node) if isinstance(node.op, Div | Mul) else None
        if match is not None:
            x, epsilon = match
            width = x.shape[-1]
            ones, zeros = constant(np.ones(width, np.float32)), constant(np.zeros(width, np.float32))
            return make(LayerNormalization(epsilon), x, ones, zeros, origin=node.origin)
        if isinstance(node.op, Mul | Add):
            return _affine(node)
        return None

    return rewrite(graph, change)


def _affine(node: Node) -> Node | None:
    """Mul or Add of a vector behind LayerNormalization: into gamma and beta."""
    for norm, other in _others(node):
        if not isinstance(norm.op, LayerNormalization) or norm.shape != node.shape:
            continue
        x, gamma_node, beta_node = norm.inputs
        gamma, beta, vector = value_of(gamma_node), value_of(beta_node), vector_of(other, norm.shape[-1])
        if gamma is None or beta is None or vector is None:
            continue
        if isinstance(node.op, Mul):
            gamma, beta = gamma * vector, beta * vector
        else:
            beta = beta + vector
        origin = merge_origins(node.origin, norm.origin)
        parts = constant(gamma, origin=gamma_node.origin), constant(beta, origin=beta_node.origin)
        return make(norm.op, x, *parts, origin=origin)
    return None
