"""q, k and v of an attention as token-major values (windows, tokens, heads * dim), cut out of what they come from."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.canonical.layout import Movement
from edgewright.passes.ir import Array, Node, make, merge_origins
from edgewright.passes.ops import Constant, Gather, Linear, Reshape, Slice, Transpose, constant, value_of


def aligned(moved: Movement, turned: bool, windows: int, heads: int, origin: tuple[str, ...]) -> Node | None:
    """Return columns of a token-major root (..., width), or channels of an image (windows, C, H, W); None when neither.

    `turned`: the operand is (..., dim, tokens) instead of (..., tokens, dim).
    """
    indices = moved.indices.reshape(windows, heads, *moved.indices.shape[-2:])
    if turned:
        indices = indices.swapaxes(2, 3)
    _, _, tokens, dim = indices.shape
    rows = indices.swapaxes(1, 2).reshape(windows, tokens, heads * dim)
    root, size = moved.root, moved.root.type.size
    width = root.shape[-1] if root.shape else 1
    first = rows[0, 0]
    positions = np.arange(windows * tokens).reshape(windows, tokens, 1)
    whole_rows = size == windows * tokens * width and int(first.max()) < width
    if whole_rows and np.array_equal(rows, positions * width + first):
        return _columns(root, windows, tokens, first, origin)
    if len(root.shape) != 4 or root.shape[0] != windows or root.shape[2] * root.shape[3] != tokens:
        return None
    channels = first // tokens
    pixels = np.arange(tokens)[:, None]
    bases = np.arange(windows)[:, None, None] * (root.shape[1] * tokens)
    return _channels(root, channels, origin) if np.array_equal(rows, bases + channels * tokens + pixels) else None


def arranged(operand: Node, turned: bool, windows: int, heads: int) -> Node:
    """Move the operand into token-major order, whatever it comes from."""
    origin = operand.origin
    four = (windows, heads, *operand.shape[-2:])
    split = operand if operand.shape == four else make(Reshape(four), operand, origin=origin)
    first = make(Transpose((0, 3, 1, 2) if turned else (0, 2, 1, 3)), split, origin=origin)
    return make(Reshape((*first.shape[:2], first.shape[2] * first.shape[3])), first, origin=origin)


def _run(columns: Array) -> tuple[int, int] | None:
    """Return (start, stop) where the columns are consecutive."""
    start, count = int(columns[0]), columns.size
    return (start, start + count) if np.array_equal(columns, np.arange(start, start + count)) else None


def _columns(root: Node, windows: int, tokens: int, columns: Array, origin: tuple[str, ...]) -> Node:
    """Return columns of a token-major tensor: all of it, a Slice, a Linear of those rows, or a Gather."""
    shape = (windows, tokens, root.shape[-1])
    base = root if root.shape == shape else make(Reshape(shape), root, origin=origin)
    run = _run(columns)
    if run is not None:
        return base if columns.size == shape[2] else make(Slice(2, *run), base, origin=origin)
    if isinstance(root.op, Linear) and root is base:
        x, w, b = root.inputs
        weight, bias = value_of(w), value_of(b)
        if weight is not None and bias is not None:
            chosen = constant(weight[columns], origin=w.origin), constant(bias[columns], origin=b.origin)
            return make(Linear(), x, *chosen, origin=merge_origins(root.origin, origin))
    return make(Gather(2), base, constant(columns.astype(np.int64)), origin=origin)


def _channels(root: Node, channels: Array, origin: tuple[str, ...]) -> Node:
    """Return channels of an image, as tokens in row-major order of its pixels."""
    run = _run(channels)
    if run is None:
        part = make(Gather(1), root, make(Constant(channels.astype(np.int64))), origin=origin)
    else:
        part = root if channels.size == root.shape[1] else make(Slice(1, *run), root, origin=origin)
    last = make(Transpose((0, 2, 3, 1)), part, origin=origin)
    batch, height, width, count = last.shape
    return make(Reshape((batch, height * width, count)), last, origin=origin)
