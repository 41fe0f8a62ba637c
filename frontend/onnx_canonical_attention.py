"""softmax(scale q k^T) v with whatever reshapes, transposes and factors around it becomes one token-major Attention."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from edgewright.frontend.onnx_canonical_fuse import rebuild
from edgewright.frontend.onnx_canonical_layout import Movement, strip_factor, trace
from edgewright.passes.ir import Array, Graph, Node, make, merge_origins
from edgewright.passes.ops import (
    Attention,
    Constant,
    Gather,
    Linear,
    MatMul,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    constant,
    value_of,
)

Uses = Callable[[Node], int]


def fuse_attention(graph: Graph) -> Graph:
    """Replace each product of softmax and values; its old layout is restored behind, for `simplify_movement`."""
    return rebuild(graph, lambda old, new, uses: _fuse(new, uses) if isinstance(new.op, MatMul) else None)


def _through_reshape(node: Node, uses: Uses) -> Node:
    """What a Reshape that keeps the last two axes (heads split or joined) was applied to."""
    while isinstance(node.op, Reshape) and node.inputs[0].shape[-2:] == node.shape[-2:] and uses(node) == 1:
        node = node.inputs[0]
    return node


def _scores(weights: Node, uses: Uses) -> tuple[Node, float] | None:
    """(product, factor) where `weights` is softmax(factor * product) over the last axis, read once."""
    node = _through_reshape(weights, uses)
    if not isinstance(node.op, Softmax) or node.op.axis % len(node.shape) != len(node.shape) - 1 or uses(node) != 1:
        return None
    product, factor = strip_factor(node.inputs[0])
    stripped = _through_reshape(product, uses) if uses(product) == 1 else product
    product, more = strip_factor(stripped)
    return (product, factor * more) if isinstance(product.op, MatMul) else None


def _fuse(mixed: Node, uses: Uses) -> Node | None:
    weights, values = mixed.inputs
    found = _scores(weights, uses)
    if found is None:
        return None
    product, scale = found
    left, right = product.inputs
    heads, tokens = math.prod(left.shape[:-2]), left.shape[-2]
    same = math.prod(right.shape[:-2]) == math.prod(values.shape[:-2]) == math.prod(product.shape[:-2]) == heads
    if not same or left.shape[-1] != values.shape[-1]:
        return None
    parts = []
    for operand, is_key in ((left, False), (right, True), (values, False)):
        moved = trace(operand, scaled=operand is not values)
        part = None if moved is None else _token_major(operand, moved, is_key, heads)
        if moved is None or part is None:
            return None
        parts.append(part)
        scale *= moved.factor
    dim = left.shape[-1]
    origin = merge_origins(mixed.origin, weights.origin, product.origin)
    attention = make(Attention(heads, scale), *parts, origin=origin)
    split = make(Reshape((1, tokens, heads, dim)), attention, origin=mixed.origin)
    by_head = make(Transpose((0, 2, 1, 3)), split, origin=mixed.origin)
    return by_head if by_head.shape == mixed.shape else make(Reshape(mixed.shape), by_head, origin=mixed.origin)


def _token_major(operand: Node, moved: Movement, is_key: bool, heads: int) -> Node | None:
    """The operand as (1, tokens, heads * dim), best as a Slice or Linear of the tensor it was cut from."""
    if isinstance(moved.root.op, Constant):
        return None
    indices = moved.indices.reshape(heads, *moved.indices.shape[-2:])
    if is_key:
        indices = indices.swapaxes(1, 2)
    _, tokens, _ = indices.shape
    width = moved.root.shape[-1]
    columns = indices[:, 0, :]
    rows = np.arange(tokens)[None, :, None] * width
    aligned = moved.root.type.size == tokens * width and int(columns.max()) < width
    if aligned and np.array_equal(indices, rows + columns[:, None, :]):
        return _columns(moved.root, tokens, columns.reshape(-1), operand.origin)
    if moved.factor != 1.0 or operand.shape[0] != 1 or len(operand.shape) != 4:
        return None
    tokens_first = make(Transpose((0, 3, 1, 2) if is_key else (0, 2, 1, 3)), operand, origin=operand.origin)
    return make(Reshape((1, tokens, heads * indices.shape[2])), tokens_first, origin=operand.origin)


def _columns(root: Node, tokens: int, columns: Array, origin: tuple[str, ...]) -> Node:
    """Columns of a token-major tensor: all of it, a Slice, a Linear of those rows, or a Gather."""
    shape = (1, tokens, root.shape[-1])
    base = root if root.shape == shape else make(Reshape(shape), root, origin=origin)
    start, count = int(columns[0]), columns.size
    if np.array_equal(columns, np.arange(start, start + count)):
        return base if count == shape[2] else make(Slice(2, start, start + count), base, origin=origin)
    if isinstance(root.op, Linear) and root is base:
        x, w, b = root.inputs
        weight, bias = value_of(w), value_of(b)
        if weight is not None and bias is not None:
            chosen = constant(weight[columns], origin=w.origin), constant(bias[columns], origin=b.origin)
            return make(Linear(), x, *chosen, origin=merge_origins(root.origin, origin))
    return make(Gather(2), base, constant(columns.astype(np.int64)), origin=origin)
