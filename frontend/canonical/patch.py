"""Patch embedding: a convolution whose kernel is its stride, or patches cut out by reshapes in front of a Linear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical.layout import is_movement, trace
from edgewright.passes.ir import Graph, Node, make, merge_origins, rebuild
from edgewright.passes.ir.graph import moved as on_operands
from edgewright.passes.ops import Conv, Linear, PatchEmbed, constant, value_of
from edgewright.passes.ops.patch_embed import patches
from edgewright.passes.transform import Note, Pass


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


def _token_end(conv: Node, users: dict[Node, list[Node]], outputs: tuple[Node, ...]) -> Node | None:
    """The node behind conv that holds its result as (1, positions, channels), reached by movement alone."""
    channels, positions = conv.shape[1], conv.shape[2] * conv.shape[3]
    wanted = np.arange(channels * positions).reshape(channels, positions).T
    node = conv
    while len(users[node]) == 1 and node not in outputs and is_movement(users[node][0]):
        node = users[node][0]
        if node.shape == (1, positions, channels):
            moved = trace(node)
            if moved is not None and moved.root is conv and np.array_equal(moved.indices[0], wanted):
                return node
    return None


@dataclass(frozen=True, slots=True)
class FusePatchEmbed(Pass):
    """Recognise the embedding of patches.

    Before: a Conv whose kernel is its stride, moved to (1, positions, channels); or a Linear over the patches that moves
    cut out of an image. After: PatchEmbed of the image, weight columns in (channel, row, column) order.
    Exact: up to the order of float sums. Source: ViT (Dosovitskiy et al., ICLR 2021), section 3.1.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        ends: dict[Node, Node] = {}
        for node in graph.nodes():
            end = _token_end(node, users, graph.outputs) if _is_patch_conv(node) else None
            if end is not None:
                ends[end] = node
        rewritten: dict[Node, Node] = {}

        def change(old: Node, operands: tuple[Node, ...]) -> Node:
            result = rewritten[old] = on_operands(old, operands)
            fused = None
            if old in ends:
                conv = rewritten[ends[old]]
                fused = _from_conv(conv, merge_origins(conv.origin, old.origin))
            elif isinstance(result.op, Linear):
                fused = _from_linear(result)
            note.count("patch embeddings", fused is not None)
            return fused or result

        return rebuild(graph, change)


def _from_conv(conv: Node, origin: tuple[str, ...]) -> Node:
    weight = value_of(conv.inputs[1])
    assert weight is not None
    rows = constant(weight.reshape(weight.shape[0], -1), origin=conv.inputs[1].origin)
    bias = conv.inputs[2] if len(conv.inputs) == 3 else constant(np.zeros(weight.shape[0], np.float32))
    return make(PatchEmbed(weight.shape[2]), conv.inputs[0], rows, bias, origin=origin)


def _from_linear(linear: Node) -> Node | None:
    """Linear over elements of an image (1, C, H, W) that are its patches in any order within a patch."""
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
    wanted = patches(np.arange(x.type.size).reshape(moved.root.shape), patch)[0]  # (positions, channels * patch^2)
    found = moved.indices[0]
    order = np.argsort(found[0])[np.argsort(np.argsort(wanted[0]))]  # found[:, order] is wanted, if they match
    if not np.array_equal(found[:, order], wanted):
        return None
    rows = constant(weight[:, order], origin=w.origin)
    return make(PatchEmbed(patch), moved.root, rows, b, origin=merge_origins(linear.origin, x.origin))
