"""Readers of reductions: means, sums, norms and extremes over axes."""

from __future__ import annotations

import math

from edgewright.frontend.onnx_reading.arith import softmax_axis
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads, require_floats
from edgewright.passes.ir import Node
from edgewright.passes.ops import Add, Clip, Div, Elementwise, Exp, Max, Min, Mul, ReduceMean, Sqrt, Sub

_SINCE = {"ReduceSum": 13}  # the opset from which axes are an input; 18 for the others
_LENGTH_MIN = 1e-18  # keeps x / |x| finite for x = 0; float32 holds its square


def _axes(site: Site) -> tuple[int, ...]:
    """Return the axes to reduce; none if the node leaves its operand as it is."""
    rank = len(site.input(0).shape)
    axes = site.axes(1, since=_SINCE.get(site.node.op_type, 18))
    if not axes:
        return () if site.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted({site.axis(a, rank) for a in axes}))


def _keepdims(site: Site) -> bool:
    return bool(site.integer("keepdims", 1))


def _sum(site: Site, x: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    """Return a mean times the count."""
    count = math.prod(x.shape[a] for a in axes)
    return site.make(Mul(), site.make(ReduceMean(axes, keepdims), x), site.scalar(count)) if axes else x


@reads("ReduceMean")
def read_reduce_mean(site: Site) -> Results:
    """Read ReduceMean."""
    axes = _axes(site)
    return site.make(ReduceMean(axes, _keepdims(site)), site.input(0)) if axes else site.input(0)


@reads("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
def read_sums(site: Site) -> Results:
    """Read sums of an elementwise function, and an elementwise function of such a sum."""
    x, axes, keepdims, kind = site.input(0), _axes(site), _keepdims(site), site.node.op_type
    require_floats("sums", x)
    if kind == "ReduceLogSumExp":
        largest = _extreme(site, x, axes, True, Max())
        total = _sum(site, site.make(Exp(), site.make(Sub(), x, largest)), axes, keepdims)
        return site.make(Add(), site.make(Elementwise("Log"), total), site.reshape(largest, total.shape))
    if kind in ("ReduceL2", "ReduceSumSquare"):
        x = site.make(Mul(), x, x)
    elif kind == "ReduceL1":
        x = site.make(Elementwise("Abs"), x)
    total = _sum(site, x, axes, keepdims)
    if kind == "ReduceL2":
        return site.make(Sqrt(), total)
    return site.make(Elementwise("Log"), total) if kind == "ReduceLogSum" else total


@reads("LogSoftmax")
def read_log_softmax(site: Site) -> Results:
    """Read LogSoftmax as distances from the largest value minus the logarithm of the sum of their exponentials."""
    x, axes = site.input(0), (softmax_axis(site),)
    shifted = site.make(Sub(), x, _extreme(site, x, axes, True, Max()))
    return site.make(Sub(), shifted, site.make(Elementwise("Log"), _sum(site, site.make(Exp(), shifted), axes, True)))


@reads("LpNormalization")
def read_lp_normalization(site: Site) -> Results:
    """Read x divided by its length along one axis, by sums of squares (p = 2) or of magnitudes (p = 1); 0 stays 0."""
    x, order = site.input(0), site.integer("p", 2)
    if order not in (1, 2):
        raise Unsupported(f"its norm is of order {order}")
    axes = (site.axis(site.integer("axis", -1), x.type.rank),)
    if order == 2:
        length = site.make(Sqrt(), _sum(site, site.make(Mul(), x, x), axes, True))
    else:
        length = _sum(site, site.make(Elementwise("Abs"), x), axes, True)
    return site.make(Div(), x, site.make(Clip(_LENGTH_MIN), length))


def _extreme(site: Site, x: Node, axes: tuple[int, ...], keepdims: bool, op: Max | Min) -> Node:
    """Return the extreme by comparing halves, which may overlap."""
    for axis in axes:
        while (size := x.shape[axis]) > 1:
            half = -(-size // 2)
            x = site.make(op, site.slice(x, axis, 0, half), site.slice(x, axis, size - half, size))
    return x if keepdims else site.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


@reads("ReduceMax", "ReduceMin")
def read_extremes(site: Site) -> Results:
    """Read extremes of floats."""
    x = site.input(0)
    require_floats("compares", x)
    return _extreme(site, x, _axes(site), _keepdims(site), Max() if site.node.op_type == "ReduceMax" else Min())


@reads("GlobalAveragePool", "GlobalMaxPool")
def read_global_pool(site: Site) -> Results:
    """Read pooling over all axes after the channels."""
    x = site.input(0)
    axes = tuple(range(2, len(x.shape)))
    if site.node.op_type == "GlobalMaxPool":
        return _extreme(site, x, axes, True, Max())
    return site.make(ReduceMean(axes, True), x)
