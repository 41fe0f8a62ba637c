"""Readers of operators that make images larger: transposed convolutions and interpolation."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.onnx_reading.interpolation import KNOWN_MODES, interpolation_matrix, nearest_sources
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import ConvTranspose, Gather, Linear, value_of

_LARGEST_WORK = 1 << 30  # products of an interpolation by dense matrices
_LARGEST_RESULT = 1 << 26  # elements of a result


@reads("ConvTranspose")
def read_conv_transpose(site: Site) -> Results:
    """Two-dimensional; the result's sides are multiples of the strides."""
    x, w = site.input(0), site.input(1)
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise Unsupported(f"only two-dimensional convolutions are read, not {len(w.shape) - 2}-dimensional ones")
    if any(d != 1 for d in site.ints("dilations") or ()):
        raise Unsupported("its kernel is dilated")
    if value_of(w) is None:
        raise Unsupported("its weights are computed at run time")
    strides, pads = site.ints("strides") or (1, 1), site.ints("pads") or (0, 0, 0, 0)
    if site.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or site.ints("output_shape") is not None:
        raise Unsupported("it asks for automatic padding", "export the model with explicit padding")
    extra = site.ints("output_padding") or (0, 0)
    size = [
        (n - 1) * stride + k + more - before - after
        for n, stride, k, more, before, after in zip(x.shape[2:], strides, w.shape[2:], extra, pads[:2], pads[2:], strict=True)
    ]
    if min(size) < 1 or any(n % stride for n, stride in zip(size, strides, strict=True)):
        raise Unsupported(f"its result of {size[0]} x {size[1]} is no multiple of its strides {strides}")
    if min(pads) < 0:
        raise Unsupported(f"negative padding {pads}")
    op = ConvTranspose((size[0], size[1]), (strides[0], strides[1]), (pads[0], pads[1]), site.integer("group", 1))
    return site.make(op, x, w, *([site.input(2)] if site.has(2) else []))


@reads("Resize")
def read_resize(site: Site) -> Results:
    """By fixed sizes or factors, one axis after the other: picking rows (nearest), or products with a matrix."""
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
            raise Unsupported(f"it makes {result:,} elements of {x.shape}, and {_LARGEST_RESULT:,} are the most")
        if mode == "nearest":
            rounding = site.text("nearest_mode", "round_prefer_floor")
            x = _picked(site, x, axis, nearest_sources(coordinates, x.shape[axis], size, factor, rounding))
            continue
        cubic, outside = site.real("cubic_coeff_a", -0.75), bool(site.integer("exclude_outside", 0))
        x = _along(site, x, axis, interpolation_matrix(mode, coordinates, x.shape[axis], size, factor, cubic, outside))
    return x


def _sizes(site: Site, before: list[int]) -> tuple[list[int], list[float]]:
    """(new length, factor) along each axis that is named."""
    if site.has(3) and site.input(3).type.size:
        sizes = [int(n) for n in site.constant(3, "sizes").reshape(-1)]
        factors = [new / old for new, old in zip(sizes, before, strict=True)]
    elif site.has(2) and site.input(2).type.size:
        factors = [float(f) for f in site.constant(2, "scales").reshape(-1)]
        sizes = [int(np.floor(np.float32(old) * np.float32(f))) for old, f in zip(before, factors, strict=True)]
    else:
        raise Unsupported("it gives neither sizes nor scales")
    if min(sizes) < 1 or len(sizes) != len(before):
        raise Unsupported(f"its result of sizes {sizes} is empty")
    return sizes, factors


def _picked(site: Site, x: Node, axis: int, sources: Array) -> Node:
    """Rows of one axis by their places."""
    known = value_of(x)
    if known is not None:
        return site.value(np.take(known, sources, axis))
    return site.make(Gather(axis), x, site.value(sources))


def _along(site: Site, x: Node, axis: int, matrix: Array) -> Node:
    """matrix (new, old) applied along one axis."""
    known, rank = value_of(x), len(x.shape)
    if known is not None:
        moved = np.moveaxis(known.astype(np.float64), axis, -1) @ matrix.T
        return site.value(np.moveaxis(moved, -1, axis).astype(np.float32))
    perm = [*(i for i in range(rank) if i != axis), axis]
    last = x if axis == rank - 1 else site.transpose(x, *perm)
    bias = np.zeros(len(matrix), np.float32)
    linear = site.make(Linear(), last, site.value(matrix.astype(np.float32)), site.value(bias))
    return linear if axis == rank - 1 else site.transpose(linear, *(perm.index(i) for i in range(rank)))
