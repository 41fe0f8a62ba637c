"""Convolutions on channels-last storage: 1 x 1 as a product on the image itself, others on rows gathered from a padded
copy, depthwise ones line by line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from edgewright.passes.ir import Node
from edgewright.passes.ops import Conv, PatchEmbed
from edgewright.targets.cpu.elementwise import copied
from edgewright.targets.cpu.product import Rows, product, strided_rows
from edgewright.targets.cpu.step import PARALLEL_MACS, Context
from edgewright.targets.cpu.tail import TILE_ROWS, Load
from edgewright.targets.cpu.tir import address, copy, lanes, loop, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.operands import weight_and_bias
from edgewright.targets.lowering.tir import Expr, T, cast, constant, i64, put, row_offset
from edgewright.targets.lowering.view import ITEM_BYTES, StridedView, channels_last, collapse

LONG_RUN = 48  # for shorter ones the micro-kernel's start and end cost more than gathering


def patch_embed(context: Context, group: Group) -> None:
    """Add the step of a patch embedding: a product whose rows are patches, C * P runs of P pixels."""
    anchor = group.head
    assert isinstance(anchor.op, PatchEmbed)
    image = context.values[anchor.inputs[0]]
    patch = anchor.op.patch
    _, channels, _, width = image.shape
    across = width // patch
    _, s_channel, s_row, s_column = image.strides

    def fill(buffers: Mapping[StridedView, Any], rows: Any, base: Expr, first: Expr, m: Expr) -> None:
        source = buffers[image]
        with loop(m) as i:
            token = first + i
            corner = (token // across) * (patch * s_row) + (token % across) * (patch * s_column)
            with loop(channels * patch) as run:
                begin = corner + (run // patch) * s_channel + (run % patch) * s_row
                target = base + (i * channels * patch + run) * patch
                lanes(patch, lambda lane: put(rows, target + lane, source[begin + lane * s_column]))

    rows = Rows((image,), anchor.shape[0] * anchor.shape[1], fill=fill)
    product(context, group, rows, *weight_and_bias(anchor), context.tail(group, tiles=True))


def convolution(context: Context, group: Group) -> None:
    """Add the steps of a convolution."""
    anchor = group.head
    assert isinstance(anchor.op, Conv)
    op = anchor.op
    weight, bias = weight_and_bias(anchor)
    outs, ins, kh, kw = weight.shape
    if op.groups == anchor.inputs[0].shape[1] and ins == 1 and outs == op.groups:
        _depthwise(context, group, op, weight, bias)
        return
    if op.groups > 1:
        _grouped(context, group, op, weight, bias)
        return
    image = context.values[anchor.inputs[0]]
    rows = None
    if (kh, kw) == (1, 1) and op.strides == (1, 1) and not any(op.pads):
        rows = strided_rows(channels_last(image))
    if rows is None:
        rows = _windows(context, _padded(context, image, op, anchor), op, (kh, kw), anchor)
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(outs, -1)
    product(context, group, rows, matrix, bias, context.tail(group, channels_last, tiles=True))


def _padded(context: Context, image: StridedView, op: Conv, anchor: Node) -> StridedView:
    """Return the image with its border, channels last and dense: (batch, rows, columns, channels)."""
    batch, channels, height, width = image.shape
    top, left, bottom, right = op.pads
    shape = (batch, height + top + bottom, width + left + right, channels)
    last = channels_last(image)
    if not any(op.pads) and last.strides[3] == 1 and last.strides[1] == last.strides[2] * width:
        return last
    padded = context.dense(shape, image.dtype)
    if any(op.pads):
        value = getattr(op, "pad_value", 0)
        _border(context, padded, op.pads, value, anchor.name)
    inner = padded.slice(1, top, top + height).slice(2, left, left + width)
    copied(context, last, inner, f"{anchor.name} (pad)")
    return padded


def _border(context: Context, padded: StridedView, pads: tuple[int, int, int, int], value: int, name: str) -> None:
    batch, height, width, channels = padded.shape
    top, left, bottom, right = pads
    line = width * channels

    def body(buffers: Mapping[StridedView, Any]) -> None:
        target = buffers[padded]
        with loop(batch) as b:
            start = b * (height * line)

            def blank(begin: Expr, count: int) -> None:
                if count:
                    lanes(count, lambda lane: put(target, begin + lane, constant(value, padded.dtype)))

            blank(start, top * line)
            blank(start + (height - bottom) * line, bottom * line)
            with loop(height - top - bottom) as y:
                row = start + (y + top) * line
                blank(row, left * channels)
                blank(row + (width - right) * channels, right * channels)

    context.add_move(f"{name} (border)", "Pad", (padded,), body)


def _windows(context: Context, padded: StridedView, op: Conv, kernel: tuple[int, int], anchor: Node) -> Rows:
    """Return a row of values around each output pixel: runs of kw * C values (C if dilated), which are multiplied in
    place, or gathered if they are short."""
    kh, kw = kernel
    batch, _, _, channels = padded.shape
    s_batch, s_row, s_column, _ = padded.strides
    height, width = anchor.shape[2:]
    along = op.dilations[1] == 1
    length = kw * channels if along else channels
    starts = [
        ky * op.dilations[0] * s_row + kx * op.dilations[1] * s_column
        for ky in range(kh)
        for kx in ([0] if along else range(kw))
    ]
    step = s_column * op.strides[1]
    sizes, strides = (batch, height), (s_batch, s_row * op.strides[0])
    if length >= LONG_RUN and length % context.variant.ka == 0:
        segments = tuple((start, length) for start in starts)
        return Rows((padded,), width, step, sizes, strides, segments)
    size_bytes = length * ITEM_BYTES[padded.dtype]

    def fill(buffers: Mapping[StridedView, Any], rows: Any, base: Expr, first: Expr, m: Expr) -> None:
        source = buffers[padded]
        with loop(m) as i:
            pixel = first + i
            begin = row_offset(sizes, strides, pixel // width) + (pixel % width) * step
            for n, start in enumerate(starts):
                copy(address(rows, base + (i * len(starts) + n) * length), address(source, begin + start), size_bytes)

    return Rows((padded,), batch * height * width, fill=fill)


def _depthwise(context: Context, group: Group, op: Conv, weight: np.ndarray[Any, Any], bias: Any) -> None:
    anchor = group.head
    image = context.values[anchor.inputs[0]]
    padded = _padded(context, image, op, anchor)
    channels, _, kh, kw = weight.shape
    integer = not anchor.type.is_float
    accumulator = "int32" if integer else "float32"
    taps = context.keep(np.ascontiguousarray(weight.reshape(channels, kh * kw).T).astype(padded.dtype))
    biases = context.keep((np.zeros(channels) if bias is None else bias).astype(accumulator))
    batch, _, height, width = anchor.shape
    s_batch, s_row, s_column, _ = padded.strides
    offsets = [ky * op.dilations[0] * s_row + kx * op.dilations[1] * s_column for ky in range(kh) for kx in range(kw)]
    places = context.keep(np.array(offsets, np.int64))
    nothing = context.keep(np.zeros(channels, np.int32))  # a bias, which not every variant's requantisation can omit
    step = s_column * op.strides[1]
    tail = context.tail(group, channels_last, tiles=True)
    direct = tail.stored.get(anchor) if not group.tail else None
    if direct is not None and not _dense(direct):
        direct = None
    parts = -(-width // TILE_ROWS)  # of a line
    most = -(-width // parts)
    macs = anchor.type.size * kh * kw

    def body(buffers: Mapping[StridedView, Any]) -> None:
        source, w, b = buffers[padded], buffers[taps], buffers[biases]
        with loop(batch * height, parallel=macs >= PARALLEL_MACS // 4) as line, loop(parts) as part:
            begin = (line % height) * (s_row * op.strides[0]) + part * (most * step)
            if batch > 1:
                begin = begin + (line // height) * s_batch
            first = line * width + part * most
            many = most if parts * most == width else T.min(most, width - part * most)
            acc = scratch(most * channels, accumulator) if direct is None else buffers[direct]
            run(
                f"ew_depthwise_line_{'s8' if integer else 'f32'}",
                address(source, begin),
                address(buffers[places], 0),
                i64(len(offsets)),
                i64(step),
                address(w, 0),
                address(b, 0),
                i64(channels),
                i64(many),
                address(acc, 0 if direct is None else first * channels),
            )

            def computed(row: Expr) -> Load:
                return lambda lane: acc[row * channels + lane]

            if direct is None:
                rows = (first, many)
                tail.emit_tile(buffers, acc, channels, address(buffers[nothing], 0), rows, 0, channels, computed)

    context.add(group, [padded, taps, biases, places, nothing, *tail.views], body, macs=macs)


def _dense(image: StridedView) -> bool:
    """Return whether the pixels of a channels-last image follow each other without gaps."""
    _, (strides,) = collapse(image.shape[:-1], [image.strides[:-1]])
    return strides == (image.shape[-1],) and image.strides[-1] == 1


def _grouped(context: Context, group: Group, op: Conv, weight: np.ndarray[Any, Any], bias: Any) -> None:
    """Add a convolution of several groups: plain loops, lanes along the output channels of a group."""
    anchor = group.head
    padded = _padded(context, context.values[anchor.inputs[0]], op, anchor)
    outs, ins, kh, kw = weight.shape
    per_group = outs // op.groups
    integer = not anchor.type.is_float
    accumulator = "int32" if integer else "float32"
    # (groups, kh, kw, ins, outs of the group)
    ordered = weight.reshape(op.groups, per_group, ins, kh, kw).transpose(0, 3, 4, 2, 1)
    taps = context.keep(np.ascontiguousarray(ordered).astype(accumulator))
    biases = context.keep((np.zeros(outs) if bias is None else bias).astype(accumulator))
    tail = context.tail(group, channels_last)
    batch, _, height, width = anchor.shape
    s_batch, s_row, s_column, _ = padded.strides
    macs = anchor.type.size * ins * kh * kw

    def body(buffers: Mapping[StridedView, Any]) -> None:
        source, w, b = buffers[padded], buffers[taps], buffers[biases]
        with loop(batch * height, parallel=macs >= PARALLEL_MACS // 4) as line, loop(width) as x:
            begin = (line % height) * (s_row * op.strides[0]) + x * (s_column * op.strides[1])
            if batch > 1:
                begin = begin + (line // height) * s_batch
            acc = scratch(outs, accumulator)
            lanes(outs, lambda lane: put(acc, lane, b[lane]))
            with loop(op.groups) as g, loop(kh) as ky, loop(kw) as kx, loop(ins) as c:
                value = cast(
                    source[begin + ky * (op.dilations[0] * s_row) + kx * (op.dilations[1] * s_column) + g * ins + c],
                    accumulator,
                )
                row = (((g * kh + ky) * kw + kx) * ins + c) * per_group

                def accumulate(lane: Expr) -> None:
                    put(acc, g * per_group + lane, acc[g * per_group + lane] + value * w[row + lane])

                lanes(per_group, accumulate)
            tail.emit(buffers, line * width + x, 0, outs, lambda lane: acc[lane])

    context.add(group, [padded, taps, biases, *tail.views], body, macs=macs)
