from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make, merge_origins, rewrite
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Add, Div, Mul, PatchEmbed, Sub, constant, value_of
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class FoldImageAffine(Pass):
    """The normalisation of an image that a model brings along goes into its patch embedding.

    Before: PatchEmbed((x - mean) / std), the constants one for each plane or one for all. After: PatchEmbed(x) with other
    weights and bias, so that the patches are cut from the input itself.
    Not done where float32 cannot hold the new weights.
    Exact: within float rounding (computed in float64). Source: an affine map in front of a product without padding.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        def change(node: Node) -> Node | None:
            found = None
            while isinstance(node.op, PatchEmbed) and (folded := _folded(node)) is not None:
                note.count("folded")
                node = found = folded
            return found

        return rewrite(graph, change)


def _folded(node: Node) -> Node | None:
    """The patch embedding on what its image is an affine map of; None where it is none."""
    image, *parameters = node.inputs
    weight, bias = (value_of(n) for n in parameters)
    affine = _affine(image)
    if affine is None or weight is None or bias is None:
        return None
    x, factor, offset = affine
    planes = image.shape[1]
    by_plane = weight.astype(np.float64).reshape(len(weight), planes, -1)
    with np.errstate(all="ignore"):
        scaled = (by_plane * factor[:, None]).reshape(weight.shape).astype(np.float32)
        moved = (bias + (by_plane.sum(axis=2) * offset).sum(axis=1)).astype(np.float32)
    if not (np.isfinite(scaled).all() and np.isfinite(moved).all()):
        return None
    new = constant(scaled, parameters[0].origin), constant(moved, parameters[1].origin)
    return make(node.op, x, *new, origin=merge_origins(node.origin, image.origin))


def _affine(image: Node) -> tuple[Node, Array, Array] | None:
    """(x, factor, offset) where the image is factor * x + offset, both (planes,) in float64."""
    if not isinstance(image.op, (Add, Sub, Mul, Div)):
        return None
    left, right = image.inputs
    first = value_of(left) is None
    x, value = (left, value_of(right)) if first else (right, value_of(left))
    if value is None or x.shape != image.shape or not x.type.is_float:
        return None
    full = (1,) * (4 - value.ndim) + value.shape
    if full[0] != 1 or full[1] not in (1, image.shape[1]) or full[2:] != (1, 1):
        return None
    number = np.broadcast_to(value.astype(np.float64).reshape(-1), image.shape[1])
    one, zero = np.ones(len(number)), np.zeros(len(number))
    if isinstance(image.op, Mul):
        return x, number, zero
    if isinstance(image.op, Add):
        return x, one, number
    if isinstance(image.op, Sub):
        return (x, one, -number) if first else (x, -one, number)
    return (x, 1 / number, zero) if first and bool((number != 0).all()) else None
