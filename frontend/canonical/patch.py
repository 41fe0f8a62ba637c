"""Patch embedding: a convolution whose kernel is its stride, or patches cut out by reshapes before a Linear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical.layout import is_movement, trace
from edgewright.passes.ir import Node, make, merge_origins
from edgewright.passes.ops import Conv, Linear, PatchEmbed, array_of, constant, value_of
from edgewright.passes.ops.products import patches
from edgewright.passes.rewriting import Rule, Uses


def _is_patch_conv(node: Node) -> bool:
    if not isinstance(node.op, Conv) or node.shape[0] != 1:
        return False
    patch = node.inputs[1].shape[2]
    _, _, height, width = node.inputs[0].shape
    return (
        patch > 1
        and node.inputs[1].shape[2:] == node.op.strides == (patch, patch)
        and node.op == Conv((patch, patch))
        and height % patch == width % patch == 0
        and value_of(node.inputs[1]) is not None
    )


@dataclass(frozen=True, slots=True)
class FusePatchEmbed(Rule):
    """Recognise the embedding of patches.

    Before: a Conv whose kernel is its stride, moved to (1, positions, channels); or a Linear over the patches that moves
    cut out of an image. After: PatchEmbed of the image, weight columns in (channel, row, column) order.
    Exact: up to the order of float sums. Source: ViT (Dosovitskiy et al., ICLR 2021), section 3.1.
    """

    event = "patch embeddings"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        if isinstance(node.op, Linear):
            return _from_linear(node)
        conv, alone = node, True
        while is_movement(conv):
            conv = conv.inputs[0]
            alone = alone and uses(conv) == 1
        if not _is_patch_conv(conv) or not alone:
            return None
        channels, positions = conv.shape[1], conv.shape[2] * conv.shape[3]
        moved = trace(node) if node.shape == (1, positions, channels) else None
        expected = np.arange(channels * positions).reshape(channels, positions).T
        return _from_conv(conv, node) if moved is not None and np.array_equal(moved.indices[0], expected) else None


def _from_conv(conv: Node, tokens: Node) -> Node:
    weight = array_of(conv.inputs[1])
    rows = constant(weight.reshape(weight.shape[0], -1), origin=conv.inputs[1].origin)
    bias = conv.inputs[2] if len(conv.inputs) == 3 else constant(np.zeros(weight.shape[0], np.float32))
    return make(PatchEmbed(weight.shape[2]), conv.inputs[0], rows, bias, origin=merge_origins(conv.origin, tokens.origin))


def _from_linear(linear: Node) -> Node | None:
    """Return Linear over elements of an image (1, C, H, W) that are its patches in any order within a patch."""
    x, w, b = linear.inputs
    weight = value_of(w)
    if len(x.shape) != 3 or x.shape[0] != 1 or not is_movement(x) or weight is None:
        return None
    moved = trace(x)
    if moved is None or len(moved.root.shape) != 4 or moved.root.type.size != x.type.size or moved.root.shape[0] != 1:
        return None
    channels = moved.root.shape[1]
    patch = math.isqrt(x.shape[2] // channels)
    if patch < 2 or channels * patch * patch != x.shape[2] or any(n % patch for n in moved.root.shape[2:]):
        return None
    expected = patches(np.arange(x.type.size).reshape(moved.root.shape), patch)[0]  # (positions, channels * patch^2)
    read = moved.indices[0]
    order = np.argsort(read[0])[np.argsort(np.argsort(expected[0]))]  # read[:, order] is expected, if they match
    if not np.array_equal(read[:, order], expected):
        return None
    rows = constant(weight[:, order], origin=w.origin)
    return make(PatchEmbed(patch), moved.root, rows, b, origin=merge_origins(linear.origin, x.origin))
