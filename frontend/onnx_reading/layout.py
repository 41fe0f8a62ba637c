"""Readers of operators that move data: reshapes, transposes, slices, concatenations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node
from edgewright.passes.ops import Cast, Concat, Gather, value_of

_LARGEST_PAD = 1 << 24  # elements of the result of padding or repeating


@reads("Identity", "Dropout")
def read_identity(site: Site) -> Results:
    """Read operators that do nothing in inference."""
    if site.node.op_type == "Dropout" and site.has(2) and bool(site.constant(2, "training mode")):
        raise Unsupported("it drops values at random (training mode)", "export the model after model.eval()")
    site.only_first_output()
    return site.input(0)


@reads("Cast")
def read_cast(site: Site) -> Results:
    """Read casts of float32 to float32, of integers to float32, and between int32 and int64 (ids and masks fit both)."""
    x, to = site.input(0), site.integer("to", 0)
    if to == ir.DataType.FLOAT:
        return x if x.type.is_float else site.make(Cast(), x)
    if to in (ir.DataType.INT32, ir.DataType.INT64) and not x.type.is_float:
        return x
    raise Unsupported(f"it casts {x.type} to another element type at run time", "export the model in float32")


@reads("Reshape")
def read_reshape(site: Site) -> Results:
    """Read Reshape with ONNX's 0 (copy) and -1 (infer)."""
    x, shape = site.input(0), [*site.integers(1, "shape")]
    if not site.integer("allowzero", 0):
        shape = [x.shape[i] if n == 0 and i < len(x.shape) else n for i, n in enumerate(shape)]
    if shape.count(-1) == 1:
        known = -math.prod(shape)
        shape[shape.index(-1)] = x.type.size // known if known > 0 else 0
    return site.reshape(x, tuple(shape))


@reads("Flatten")
def read_flatten(site: Site) -> Results:
    """Read a reshape to a matrix."""
    x = site.input(0)
    axis = site.integer("axis", 1)
    axis = axis + len(x.shape) if axis < 0 else axis
    return site.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze")
def read_squeeze(site: Site) -> Results:
    """Read the removal of axes of length 1."""
    x, axes = site.input(0), site.axes(1, since=13)
    dropped = {i for i, n in enumerate(x.shape) if n == 1} if axes is None else {site.axis(a, len(x.shape)) for a in axes}
    if any(x.shape[i] != 1 for i in dropped):
        raise Unsupported(f"it squeezes an axis of {x.shape} that is longer than 1")
    return site.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in dropped))


@reads("Unsqueeze")
def read_unsqueeze(site: Site) -> Results:
    """Read the insertion of axes of length 1."""
    x, axes = site.input(0), site.axes(1, since=13)
    if axes is None:
        raise Unsupported("it has no axes")
    rank = len(x.shape) + len(axes)
    inserted = {site.axis(a, rank) for a in axes}
    if len(inserted) < len(axes):
        raise Unsupported(f"it inserts an axis twice (axes {list(axes)} of {rank})")
    rest = iter(x.shape)
    return site.reshape(x, tuple(1 if i in inserted else next(rest) for i in range(rank)))


@reads("Transpose")
def read_transpose(site: Site) -> Results:
    """Read Transpose, which reverses all axes without `perm`."""
    x = site.input(0)
    perm = site.ints("perm") or tuple(reversed(range(len(x.shape))))
    return site.transpose(x, *perm)


@reads("Slice")
def read_slice(site: Site) -> Results:
    """Read slices along any axes, clamped as in ONNX, with steps from 1."""
    x = site.input(0)
    starts, ends = site.integers(1, "starts"), site.integers(2, "ends")
    axes = site.integers(3, "axes") if site.has(3) else range(len(starts))
    steps = site.integers(4, "steps") if site.has(4) else [1] * len(starts)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = site.axis(axis, len(x.shape))
        if step < 1:
            raise Unsupported(f"it steps backwards (step {step})")
        start, stop, _ = slice(start, end, step).indices(x.shape[axis])
        if stop <= start:
            raise Unsupported(f"it selects nothing: [{start}:{end}] of {x.shape[axis]}")
        x = site.slice(x, axis, start, stop, step)
    return x


@reads("Split")
def read_split(site: Site) -> Results:
    """Read Split into sizes by attribute (before opset 13) or by input, or into equal parts."""
    x, axis = site.input(0), site.axis(site.integer("axis", 0), len(site.input(0).shape))
    total, parts = x.shape[axis], len(site.node.outputs)
    sizes: Sequence[int] | None = site.ints("split") if site.opset < 13 else None
    if site.opset >= 13 and site.has(1):
        sizes = site.integers(1, "split sizes")
    if sizes is None:
        part = -(-total // parts)
        sizes = [min(part, total - part * i) for i in range(parts)]
    if sum(sizes) != total or len(sizes) != parts or min(sizes) < 1:
        raise Unsupported(f"sizes {list(sizes)} do not divide an axis of {total} into {parts} parts")
    ends = np.cumsum(sizes).tolist()
    return [site.slice(x, axis, end - size, end) for size, end in zip(sizes, ends, strict=True)]


@reads("Concat")
def read_concat(site: Site) -> Results:
    """Read the concatenation of operands along one axis."""
    operands = [site.input(i) for i in range(len(site.operands))]
    axis = site.axis(site.integer("axis", 0), len(operands[0].shape))
    return operands[0] if len(operands) == 1 else site.make(Concat(axis), *operands)


@reads("Gather")
def read_gather(site: Site) -> Results:
    """Read Gather: of one index or consecutive ones as a Slice; of others, or of ids that pick rows of a table, as it is."""
    x, indices = site.input(0), value_of(site.input(1))
    axis = site.axis(site.integer("axis", 0), len(x.shape))
    if indices is None:
        if axis != 0 or site.input(1).type.is_float:
            raise Unsupported("its index list is computed at run time", "only rows of a table can be picked at run time")
        return site.make(Gather(0), x, site.input(1))
    size = x.shape[axis]
    flat = [int(i) + size if i < 0 else int(i) for i in indices.reshape(-1)]
    if not flat or min(flat) < 0 or max(flat) >= size:
        raise Unsupported(f"its indices exceed an axis of {size}")
    if flat == list(range(flat[0], flat[0] + len(flat))):
        part = site.slice(x, axis, flat[0], flat[-1] + 1)
        return site.reshape(part, x.shape[:axis] + indices.shape + x.shape[axis + 1 :])
    return site.make(Gather(axis), x, site.value(np.asarray(flat, np.int64).reshape(indices.shape)))


@reads("GatherND")
def read_gather_nd(site: Site) -> Results:
    """Read GatherND with constant indices: rows of the operand with its leading axes joined."""
    x, indices = site.input(0), site.constant(1, "indices")
    depth = indices.shape[-1] if indices.ndim else 0
    lead, rest = x.shape[:depth], x.shape[depth:]
    if site.integer("batch_dims", 0) or not 1 <= depth <= len(x.shape):
        raise Unsupported("it has batch dimensions, or indices of more axes than its operand")
    whole = np.where(indices < 0, indices + np.array(lead), indices)
    if not whole.size or (whole < 0).any() or (whole >= np.array(lead)).any():
        raise Unsupported(f"its indices exceed {lead}")
    if (count := whole.size // depth * math.prod(rest)) > _LARGEST_PAD:
        raise Unsupported(f"it gathers {count:,} elements")
    flat = np.ravel_multi_index(tuple(np.moveaxis(whole, -1, 0)), lead)
    rows = site.reshape(x, (math.prod(lead), *rest))
    return site.make(Gather(0), rows, site.value(np.asarray(flat, np.int64)))


@reads("Expand")
def read_expand(site: Site) -> Results:
    """Read Expand: axes of length 1 are repeated by a Gather, through which passes can follow the elements."""
    x, target = site.input(0), site.integers(1, "shape")
    try:
        shape = np.broadcast_shapes(x.shape, target)
    except ValueError:
        raise Unsupported(f"{x.shape} does not expand to {target}") from None
    aligned = (*(1 for _ in range(len(shape) - len(x.shape))), *x.shape)
    return _repeated(site, site.reshape(x, aligned), [n // m for n, m in zip(shape, aligned, strict=True)])


@reads("Tile")
def read_tile(site: Site) -> Results:
    """Read Tile, which repeats the whole along each axis."""
    x, counts = site.input(0), site.integers(1, "repeats")
    if len(counts) != len(x.shape) or min(counts, default=1) < 1:
        raise Unsupported(f"it repeats {x.shape} {list(counts)} times")
    return _repeated(site, x, counts)


def _repeated(site: Site, x: Node, counts: Sequence[int]) -> Node:
    """Return x repeated along each axis `counts` times."""
    size = x.type.size * math.prod(counts)
    if size == x.type.size:
        return x
    if size > _LARGEST_PAD:
        raise Unsupported(f"it repeats {x.shape} to {size:,} elements")
    array = value_of(x)
    if array is not None:
        return site.value(np.tile(array, counts))
    if not x.type.is_float:  # masks are not lengthened
        raise Unsupported(f"it repeats integers {x.shape} that are computed at run time")
    for axis, count in enumerate(counts):
        if count > 1:
            x = site.make(Gather(axis), x, site.value(np.tile(np.arange(x.shape[axis]), count).astype(np.int64)))
    return x


@reads("Pad")
def read_pad(site: Site) -> Results:
    """Read constant padding as Concat with constants, padding by own values as a Gather, negative padding as a Slice."""
    x, mode = site.input(0), site.text("mode", "constant")
    rank = len(x.shape)
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Unsupported(f"padding mode {mode!r} is unknown")
    pads = site.integers(1, "padding")
    fill = float(site.constant(2, "padding value").reshape(())) if site.has(2) else 0.0
    axes = [site.axis(a, rank) for a in site.integers(3, "axes")] if site.has(3) else list(range(rank))
    for position, axis in enumerate(axes):
        before, after = pads[position], pads[position + len(axes)]
        if max(before, after) * (x.type.size // x.shape[axis]) > _LARGEST_PAD:
            raise Unsupported(f"it pads {x.shape} by {max(before, after)}")
        x = site.slice(x, axis, max(0, -before), x.shape[axis] - max(0, -after))
        if mode != "constant":
            x = _continued(site, x, axis, max(0, before), max(0, after), mode)
            continue
        shapes = ((*x.shape[:axis], max(0, count), *x.shape[axis + 1 :]) for count in (before, after))
        left, right = (site.value(np.full(shape, fill, np.float32)) if shape[axis] else None for shape in shapes)
        parts = [part for part in (left, x, right) if part is not None]
        x = parts[0] if len(parts) == 1 else site.make(Concat(axis), *parts)
    return x


def _continued(site: Site, x: Node, axis: int, before: int, after: int, mode: str) -> Node:
    """Return x with its own values around it along one axis: mirrored without the edge, the edge, or those of the other end."""
    size = x.shape[axis]
    if not before and not after:
        return x
    if size == 0 or (mode != "edge" and max(before, after) > size - (mode == "reflect")):
        raise Unsupported(f"it pads an axis of {size} by {max(before, after)} of its values")
    indices = np.arange(-before, size + after)
    if mode == "edge":
        indices = indices.clip(0, size - 1)
    elif mode == "wrap":
        indices = indices % size
    else:
        indices = size - 1 - np.abs(size - 1 - np.abs(indices))
    return site.make(Gather(axis), x, site.value(indices.astype(np.int64)))
