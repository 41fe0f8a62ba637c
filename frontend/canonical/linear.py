"""Products with weights become Linear, and what follows them on the same channels moves into their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from edgewright.frontend.canonical.fuse import rebuild
from edgewright.frontend.canonical.norm import vector_of
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Graph, Node, make, merge_origins, rewrite
from edgewright.passes.ops import (
    Add,
    BatchNormalization,
    Concat,
    Conv,
    ConvTranspose,
    Div,
    Linear,
    MatMul,
    Mul,
    Reshape,
    Sub,
    constant,
    value_of,
)


def fuse_linear(graph: Graph) -> Graph:
    """MatMul(x, W (K, O)) -> Linear(x, W^T, 0)."""

    def change(node: Node) -> Node | None:
        if not isinstance(node.op, MatMul):
            return None
        x, w = node.inputs
        weight = value_of(w)
        if weight is None or value_of(x) is not None or weight.ndim > len(x.shape) or weight.size != w.shape[-1] * w.shape[-2]:
            return None
        rows: Array = weight.reshape(weight.shape[-2], weight.shape[-1]).T
        zeros = constant(np.zeros(rows.shape[0], np.float32))
        return make(Linear(), x, constant(rows, origin=w.origin), zeros, origin=node.origin)

    return rewrite(graph, change)


def _applied(node: Node, width: int) -> list[tuple[Node, Array, Array]]:
    """(x, factor, offset) readings of node as x * factor + offset with constants per channel, x one operand."""
    a, b = node.inputs
    va, vb = vector_of(a, width), vector_of(b, width)
    va, vb = (None if v is None else v.astype(np.float64) for v in (va, vb))
    one: Array = np.ones(width)
    zero: Array = np.zeros(width)
    found: list[tuple[Node, Array, Array]] = []
    if vb is not None and a.shape == node.shape:
        if isinstance(node.op, Add):
            found.append((a, one, vb))
        elif isinstance(node.op, Sub):
            found.append((a, one, -vb))
        elif isinstance(node.op, Mul):
            found.append((a, vb, zero))
        elif isinstance(node.op, Div) and np.all(vb != 0):
            found.append((a, 1 / vb, zero))
    if va is not None and b.shape == node.shape:
        if isinstance(node.op, Add):
            found.append((b, one, va))
        elif isinstance(node.op, Mul):
            found.append((b, va, zero))
    return found


def absorb_affine(graph: Graph) -> Graph:
    """Scale and offset per channel behind a Linear that nothing else reads, and BatchNormalization behind a Conv."""

    def change(old: Node, node: Node, uses: Callable[[Node], int]) -> Node | None:
        if isinstance(node.op, BatchNormalization):
            return _batch_normalised(node, uses)
        if not isinstance(node.op, Add | Sub | Mul | Div) or not node.shape:
            return None
        for x, factor, offset in _applied(node, node.shape[-1]):
            if not isinstance(x.op, Linear) or uses(x) != 1:
                continue
            source, w, b = x.inputs
            weight, bias = value_of(w), value_of(b)
            if weight is None or bias is None:
                continue
            with np.errstate(all="ignore"):
                rows, added = weight * factor[:, None], bias * factor + offset
            if not fits_float32(rows, added):
                continue
            parts = constant(rows, origin=w.origin), constant(added, origin=b.origin)
            return make(Linear(), source, *parts, origin=merge_origins(x.origin, node.origin))
        return None

    return rebuild(graph, change)


def _batch_normalised(node: Node, uses: Callable[[Node], int]) -> Node | None:
    conv = node.inputs[0]
    values = [value_of(operand) for operand in node.inputs[1:]]
    assert isinstance(node.op, BatchNormalization)
    if not isinstance(conv.op, Conv | ConvTranspose) or uses(conv) != 1 or any(v is None for v in values):
        return None
    turned = isinstance(conv.op, ConvTranspose)
    weight = value_of(conv.inputs[1])
    bias = value_of(conv.inputs[2]) if len(conv.inputs) == 3 else np.zeros(conv.shape[1])
    if weight is None or bias is None:
        return None
    gamma, beta, mean, variance = (np.asarray(v, np.float64) for v in values)
    with np.errstate(all="ignore"):
        factor = gamma / np.sqrt(variance + node.op.epsilon)
        added = (bias - mean) * factor + beta
    if turned:  # weights (C, O / groups, KH, KW): groups of outputs beside groups of inputs
        groups = conv.op.groups if isinstance(conv.op, ConvTranspose) else 1
        by_input = np.repeat(factor.reshape(groups, -1), len(weight) // groups, axis=0)
        scaled = weight * by_input[:, :, None, None]
    else:
        scaled = weight * factor[:, None, None, None]
    if not fits_float32(scaled, added):
        return None
    parts = constant(scaled), constant(added)
    return make(conv.op, conv.inputs[0], *parts, origin=merge_origins(conv.origin, node.origin))


def move_reshapes_down(graph: Graph) -> Graph:
    """Reshape((1, T, K) -> (T, K), (T, 1, K) ...) in front of an operator on tokens moves behind it."""

    def change(node: Node) -> Node | None:
        if not node.op.facts.per_token:
            return None
        x = node.inputs[0]
        if not isinstance(x.op, Reshape):
            return None
        source = x.inputs[0]
        # One row alone, (1, 1, K) -> (1, K), is how a class token is taken out, and stays.
        if len(source.shape) != 3 or source.shape[-1] != x.shape[-1] or source.type.size == x.shape[-1]:
            return None
        moved = make(node.op, source, *node.inputs[1:], origin=node.origin)
        return make(Reshape(node.shape), moved, origin=x.origin)

    return rewrite(graph, change)


def absorb_padding(graph: Graph) -> Graph:
    """Zeros joined to an image in front of a Conv become the Conv's own padding."""

    def change(node: Node) -> Node | None:
        op, x = node.op, node.inputs[0] if node.inputs else node
        if not isinstance(op, Conv) or not isinstance(x.op, Concat) or x.op.axis % 4 < 2:
            return None
        zero = [value_of(part) is not None and not np.any(value_of(part)) for part in x.inputs]
        if zero.count(False) != 1:
            return None
        at, axis, pads = zero.index(False), x.op.axis % 4 - 2, list(op.pads)
        pads[axis] += sum(part.shape[axis + 2] for part in x.inputs[:at])
        pads[axis + 2] += sum(part.shape[axis + 2] for part in x.inputs[at + 1 :])
        padded = replace(op, pads=(pads[0], pads[1], pads[2], pads[3]))
        return change(moved := make(padded, x.inputs[at], *node.inputs[1:], origin=node.origin)) or moved

    return rewrite(graph, change)
