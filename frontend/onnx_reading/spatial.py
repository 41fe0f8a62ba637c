"""The reader of interpolation."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.onnx_reading.interpolation import KNOWN_MODES, interpolation_matrix, nearest_sources
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Gather, Linear, value_of

_LARGEST_WORK = 1 << 30  # products of an interpolation by dense matrices
_LARGEST_RESULT = 1 << 26  # elements


@reads("Resize")
def read_resize(site: Site) -> Results:
    """Read Resize by fixed sizes or factors, one axis after the other: by picking rows (nearest) or as matrix products."""
    x = site.input(0)
    mode = site.text("mode", "nearest")
    coordinates = site.text("coordinate_transformation_mode", "half_pixel")
    if coordinates not in KNOWN_MODES:
        raise Unsupported(f"its coordinates follow {coordinates!r}")
    if site.integer("antialias", 0):
        raise Unsupported("it filters before it interpolates (antialias)", "export with antialias=False")
    if site.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Unsupported("it chooses its size by an aspect ratio")
    axes = [site.axis(a, len(x.shape)) for a in site.ints("axes") or range(len(x.shape))]
    for axis, size, factor in zip(axes, *_sizes(site, [x.shape[a] for a in axes]), strict=True):
        if size == x.shape[axis] and factor == 1.0:
            continue
        result = x.type.size // x.shape[axis] * size
        if mode != "nearest" and result * x.shape[axis] > _LARGEST_WORK:
            raise Unsupported(f"interpolating {x.shape} by matrices takes {result * x.shape[axis]:,} products")
        if result > _LARGEST_RESULT:
            raise Unsupported(f"it resizes {x.shape} to {result:,} elements, and at most {_LARGEST_RESULT:,} are allowed")
        if mode == "nearest":
            rounding = site.text("nearest_mode", "round_prefer_floor")
            x = _picked(site, x, axis, nearest_sources(coordinates, x.shape[axis], size, factor, rounding))
            continue
        cubic, outside = site.real("cubic_coeff_a", -0.75), bool(site.integer("exclude_outside", 0))
        x = _along(site, x, axis, interpolation_matrix(mode, coordinates, x.shape[axis], size, factor, cubic, outside))
    return x


def _sizes(site: Site, before: list[int]) -> tuple[list[int], list[float]]:
    """Return the new lengths and the factors of the axes whose lengths are `before`."""
    if site.has(3) and site.input(3).type.size:
        sizes = [*site.integers(3, "sizes")]
        factors = [new / old for new, old in zip(sizes, before, strict=True)]
    elif site.has(2) and site.input(2).type.size:
        factors = [float(f) for f in site.constant(2, "scales").reshape(-1)]
        sizes = [int(np.floor(np.float32(old) * np.float32(f))) for old, f in zip(before, factors, strict=True)]
    else:
        raise Unsupported("it has neither sizes nor scales")
    if min(sizes) < 1 or len(sizes) != len(before):
        raise Unsupported(f"its result of sizes {sizes} is empty")
    return sizes, factors


def _picked(site: Site, x: Node, axis: int, sources: Array) -> Node:
    """Return the rows of one axis at `sources`."""
    known = value_of(x)
    if known is not None:
        return site.value(np.take(known, sources, axis))
    return site.make(Gather(axis), x, site.value(sources))


def _along(site: Site, x: Node, axis: int, matrix: Array) -> Node:
    """Return the product with a matrix (new, old) along one axis."""
    known, rank = value_of(x), len(x.shape)
    if known is not None:
        moved = np.moveaxis(known.astype(np.float64), axis, -1) @ matrix.T
        return site.value(np.moveaxis(moved, -1, axis).astype(np.float32))
    perm = [*(i for i in range(rank) if i != axis), axis]
    last = x if axis == rank - 1 else site.transpose(x, *perm)
    bias = np.zeros(len(matrix), np.float32)
    linear = site.make(Linear(), last, site.value(matrix.astype(np.float32)), site.value(bias))
    return linear if axis == rank - 1 else site.transpose(linear, *(perm.index(i) for i in range(rank)))
