"""Readers of operators that move data: reshapes, permutations, slices, joins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node
from edgewright.passes.ops import Cast, Concat, Gather, value_of

_LARGEST_PAD = 1 << 24  # elements that padding or repeating makes


@reads("Identity", "Dropout")
def read_identity(site: Site) -> Results:
    """Inference leaves the value as it is."""
    if site.node.op_type == "Dropout" and site.has(2) and bool(site.constant(2, "training mode")):
        raise Unsupported("it drops values at random (training mode)", "export the model after model.eval()")
    site.only_first_output()
    return site.input(0)


@reads("Cast")
def read_cast(site: Site) -> Results:
    """float32 to float32, integers to float32, and between integers of 32 and 64 bits (ids and masks fit both)."""
    x, to = site.input(0), site.integer("to", 0)
    if to == ir.DataType.FLOAT:
        return x if x.type.is_float else site.make(Cast(), x)
    if to in (ir.DataType.INT32, ir.DataType.INT64) and not x.type.is_float:
        return x
    raise Unsupported(f"it changes {x.type} to another element type at run time", "export the model in float32")


@reads("Reshape")
def read_reshape(site: Site) -> Results:
    """With ONNX's 0 (copy) and -1 (infer)."""
    x, wanted = site.input(0), [int(n) for n in site.constant(1, "shape").reshape(-1)]
    if not site.integer("allowzero", 0):
        wanted = [x.shape[i] if n == 0 and i < len(x.shape) else n for i, n in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = -math.prod(wanted)
        wanted[wanted.index(-1)] = x.type.size // known if known > 0 else 0
    return site.reshape(x, tuple(wanted))


@reads("Flatten")
def read_flatten(site: Site) -> Results:
    """To a matrix."""
    x = site.input(0)
    axis = site.integer("axis", 1)
    axis = axis + len(x.shape) if axis < 0 else axis
    return site.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze")
def read_squeeze(site: Site) -> Results:
    """Drop axes of length 1."""
    x, axes = site.input(0), site.axes(1, since=13)
    dropped = {i for i, n in enumerate(x.shape) if n == 1} if axes is None else {site.axis(a, len(x.shape)) for a in axes}
    if any(x.shape[i] != 1 for i in dropped):
        raise Unsupported(f"it squeezes an axis of {x.shape} that is longer than 1")
    return site.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in dropped))


@reads("Unsqueeze")
def read_unsqueeze(site: Site) -> Results:
    """Insert axes of length 1."""
    x, axes = site.input(0), site.axes(1, since=13)
    if axes is None:
        raise Unsupported("it names no axes")
    rank = len(x.shape) + len(axes)
    inserted = {site.axis(a, rank) for a in axes}
    if len(inserted) < len(axes):
        raise Unsupported(f"it inserts an axis twice (axes {list(axes)} of {rank})")
    rest = iter(x.shape)
    return site.reshape(x, tuple(1 if i in inserted else next(rest) for i in range(rank)))


@reads("Transpose")
def read_transpose(site: Site) -> Results:
    """Without `perm`, all axes reversed."""
    x = site.input(0)
    perm = site.ints("perm") or tuple(reversed(range(len(x.shape))))
    return site.transpose(x, *perm)


@reads("Slice")
def read_slice(site: Site) -> Results:
    """Any axes, clamped as in ONNX; steps from 1."""
    x = site.input(0)
    starts, ends = (site.constant(i, w).reshape(-1).tolist() for i, w in ((1, "starts"), (2, "ends")))
    axes = site.constant(3, "axes").reshape(-1).tolist() if site.has(3) else range(len(starts))
    steps = site.constant(4, "steps").reshape(-1).tolist() if site.has(4) else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = site.axis(axis, len(x.shape))
        if step < 1:
            raise Unsupported(f"it walks backwards (step {step})")
        start, stop, _ = slice(start, end, step).indices(x.shape[axis])
        if stop <= start:
            raise Unsupported(f"it selects nothing: [{start}:{end}] of {x.shape[axis]}")
        x = site.slice(x, axis, start, stop, step)
    return x


@reads("Split")
def read_split(site: Site) -> Results:
    """Sizes by attribute (before opset 13), by input, or equal parts."""
    x, axis = site.input(0), site.axis(site.integer("axis", 0), len(site.input(0).shape))
    total, parts = x.shape[axis], len(site.node.outputs)
    sizes: Sequence[int] | None = site.ints("split") if site.opset < 13 else None
    if site.opset >= 13 and site.has(1):
        sizes = [int(n) for n in site.constant(1, "split sizes").reshape(-1)]
    if sizes is None:
        part = -(-total // parts)
        sizes = [min(part, total - part * i) for i in range(parts)]
    if sum(sizes) != total or len(sizes) != parts or min(sizes) < 1:
        raise Unsupported(f"sizes {list(sizes)} do not divide an axis of {total} into {parts} parts")
    ends = np.cumsum(sizes).tolist()
    return [site.slice(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


@reads("Concat")
def read_concat(site: Site) -> Results:
    """Operands along one axis."""
    operands = [site.input(i) for i in range(len(site.operands))]
    axis = site.axis(site.integer("axis", 0), len(operands[0].shape))
    return operands[0] if len(operands) == 1 else site.make(Concat(axis), *operands)


@reads("Gather")
def read_gather(site: Site) -> Results:
    """One index or a run of them is a Slice; others stay a Gather, and so do ids that pick rows of a table."""
    x, indices = site.input(0), value_of(site.input(1))
    axis = site.axis(site.integer("axis", 0), len(x.shape))
    if indices is None:
        if axis != 0 or site.input(1).type.is_float:
            raise Unsupported("its index list is computed at run time", "only rows of a table are picked at run time")
        return site.make(Gather(0), x, site.input(1))
    size = x.shape[axis]
    flat = [int(i) + size if i < 0 else int(i) for i in indices.reshape(-1)]
    if not flat or min(flat) < 0 or max(flat) >= size:
        raise Unsupported(f"its indices leave an axis of {size}")
    if flat == list(range(flat[0], flat[0] + len(flat))):
        part = site.slice(x, axis, flat[0], flat[-1] + 1)
        return site.reshape(part, x.shape[:axis] + indices.shape + x.shape[axis + 1 :])
    return site.make(Gather(axis), x, site.value(np.asarray(flat, np.int64).reshape(indices.shape)))


@reads("Expand")
def read_expand(site: Site) -> Results:
    """What is 1 long is repeated, element by element: rows of a Gather, through which data movement is followed."""
    x, wanted = site.input(0), tuple(int(n) for n in site.constant(1, "shape").reshape(-1))
    try:
        shape = np.broadcast_shapes(x.shape, wanted)
    except ValueError:
        raise Unsupported(f"{x.shape} does not expand to {wanted}") from None
    aligned = (*(1 for _ in range(len(shape) - len(x.shape))), *x.shape)
    return _repeated(site, site.reshape(x, aligned), [n // m for n, m in zip(shape, aligned, strict=True)])


@reads("Tile")
def read_tile(site: Site) -> Results:
    """The whole, so many times along each axis."""
    x, counts = site.input(0), [int(n) for n in site.constant(1, "repeats").reshape(-1)]
    if len(counts) != len(x.shape) or min(counts, default=1) < 1:
        raise Unsupported(f"it repeats {x.shape} {counts} times")
    return _repeated(site, x, counts)


def _repeated(site: Site, x: Node, counts: Sequence[int]) -> Node:
    """x so many times along each axis."""
    size = x.type.size * math.prod(counts)
    if size > _LARGEST_PAD and size > x.type.size:
        raise Unsupported(f"it makes {size:,} elements of {x.shape}")
    known = value_of(x)
    if known is not None:
        return site.value(np.tile(known, counts)) if size > x.type.size else x
    if size > x.type.size and not x.type.is_float:  # masks stay as short as they are
        raise Unsupported(f"it repeats integers {x.shape} that are computed at run time")
    for axis, count in enumerate(counts):
        if count > 1:
            x = site.make(Gather(axis), x, site.value(np.tile(np.arange(x.shape[axis]), count).astype(np.int64)))
    return x


@reads("Pad")
def read_pad(site: Site) -> Results:
    """Constant padding becomes Concat with constants, negative padding a Slice."""
    x, mode = site.input(0), site.text("mode", "constant")
    rank = len(x.shape)
    if mode != "constant":
        raise Unsupported(f"padding mode {mode!r} is not constant")
    pads = [int(p) for p in site.constant(1, "padding").reshape(-1)]
    fill = float(site.constant(2, "padding value").reshape(())) if site.has(2) else 0.0
    axes = [site.axis(int(a), rank) for a in site.constant(3, "axes").reshape(-1)] if site.has(3) else list(range(rank))
    for position, axis in enumerate(axes):
        before, after = pads[position], pads[position + len(axes)]
        if max(before, after) * (x.type.size // x.shape[axis]) > _LARGEST_PAD:
            raise Unsupported(f"it pads {x.shape} by {max(before, after)}")
        x = site.slice(x, axis, max(0, -before), x.shape[axis] - max(0, -after))
        sides = [_block(site, x, axis, count, fill) for count in (before, after)]
        joined = [part for part in (sides[0], x, sides[1]) if part is not None]
        x = joined[0] if len(joined) == 1 else site.make(Concat(axis), *joined)
    return x


def _block(site: Site, x: Node, axis: int, count: int, fill: float) -> Node | None:
    """A constant block `count` long on one axis, to be joined to x."""
    if count <= 0:
        return None
    return site.value(np.full((*x.shape[:axis], count, *x.shape[axis + 1 :]), fill, np.float32))
