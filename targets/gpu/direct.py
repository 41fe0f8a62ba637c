"""CUDA kernels in which one thread or warp computes a result from memory: sums over axes, look-ups, depthwise and grouped
convolutions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from edgewright.passes.ops import Conv, Gather, ReduceMean
from edgewright.targets.gpu.elementwise import THREADS, grid
from edgewright.targets.gpu.formulas import f32
from edgewright.targets.gpu.step import CudaContext
from edgewright.targets.gpu.tir import (
    WARP,
    Argument,
    Buffers,
    Launch,
    counted,
    let,
    loaded,
    quotient,
    registers,
    remainder,
    total_of,
    when,
)
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.operands import weight_and_bias
from edgewright.targets.lowering.rows import Reduction
from edgewright.targets.lowering.tir import Expr, T, cast, constant, flat_offset, i64, put, row_offset, tirx
from edgewright.targets.lowering.view import StridedView, channels_last, collapse, dtype_of


def reduce_step(context: CudaContext, group: Group) -> None:
    """Add the launch of a ReduceSum or ReduceMean: a thread per result, or a warp where the values of a sum are adjacent."""
    anchor = group.head
    reduction = Reduction.of(context, anchor)
    source, kept, terms = reduction.source, reduction.kept, reduction.terms
    keepdims = anchor.type.rank == len(source.shape)

    def arrange(view: StridedView) -> StridedView:
        if not kept:
            return StridedView(view.storage, (1, 1), (0, 0), view.offset)
        order = kept if keepdims else list(range(len(kept)))
        view = StridedView(
            view.storage, tuple(view.shape[i] for i in order), tuple(view.strides[i] for i in order), view.offset
        )
        return StridedView(view.storage, (1, *view.shape), (0, *view.strides), view.offset)

    tail = context.tail(group, arrange)
    shape = (1, *(source.shape[i] for i in kept)) if kept else (1, 1)
    steps = (0, *(source.strides[i] for i in kept)) if kept else (0, 0)
    sizes, (strides,) = collapse(shape, [steps])
    count, columns = math.prod(shape), shape[-1]
    dtype = dtype_of(anchor.elem)
    by_warp = reduction.strides[-1] == 1 and terms >= 2 * WARP
    mean = isinstance(anchor.op, ReduceMean)

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        result = let(quotient(block * THREADS + thread, WARP) if by_warp else block * THREADS + thread)
        lane = let(remainder(thread, WARP)) if by_warp else 0
        with when(result < count):
            begin = let(row_offset(sizes, strides, result))
            held = registers(1, dtype)
            put(held, 0, constant(0, dtype))
            with counted(-(-terms // WARP) if by_warp else terms) as turn:
                term = let(turn * WARP + lane) if by_warp else turn
                where = term < terms if by_warp and terms % WARP else None
                value = loaded(buffers[source], begin + row_offset(reduction.sizes, reduction.strides, term), where)
                put(held, 0, held[0] + cast(value, dtype))
            total = let(total_of(held[0], dtype) if by_warp else held[0])
            with when(lane == 0 if by_warp else None):
                value = total * f32(1 / terms) if mean else total
                tail.emit(buffers, let(quotient(result, columns)), let(remainder(result, columns)), value)

    launch = Launch(-(-count * WARP // THREADS), THREADS) if by_warp else grid(count)
    context.add(group, [Argument(source), *tail.arguments], launch, body)


def gather_step(context: CudaContext, group: Group) -> None:
    """Add the launch of a Gather along one axis (negative: from the end); an index out of range, which `interp`
    refuses, is clipped."""
    anchor = group.head
    assert isinstance(anchor.op, Gather)
    data, indices = (context.values[n] for n in anchor.inputs)
    axis = anchor.op.axis % len(data.shape)
    many = len(indices.shape)
    shape = anchor.shape or (1,)
    count, columns = math.prod(shape), shape[-1]
    tail = context.tail(group, lambda view: StridedView(view.storage, (1, *shape), (0, *(view.strides or (0,))), view.offset))

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        element = let(block * THREADS + thread)
        with when(element < count):
            place = _unravel(element, anchor.shape)
            which = buffers[indices][flat_offset(place[axis : axis + many], indices.strides)]
            inside = T.max(T.min(cast(which, "int64"), i64(data.shape[axis] - 1)), i64(-data.shape[axis]))
            index = let(cast(inside, "int32"))  # enough: axes are shorter
            row = let(T.if_then_else(index < 0, index + data.shape[axis], index))
            outer = flat_offset(place[:axis], data.strides[:axis])
            inner = flat_offset(place[axis + many :], data.strides[axis + 1 :])
            value = buffers[data][outer + row * data.strides[axis] + inner]
            tail.emit(buffers, let(quotient(element, columns)), let(remainder(element, columns)), value)

    context.add(group, [Argument(data), Argument(indices), *tail.arguments], grid(count), body)


def direct_convolution(context: CudaContext, group: Group) -> None:
    """Add the launch of a depthwise or grouped convolution: a thread per result, adjacent threads on adjacent channels."""
    anchor = group.head
    assert isinstance(anchor.op, Conv)
    op = anchor.op
    weight, bias = weight_and_bias(anchor)
    outs, ins, kh, kw = weight.shape
    per_group = outs // op.groups
    image = channels_last(context.values[anchor.inputs[0]])
    _, height, width, _ = image.shape
    s_batch, s_row, s_column, s_channel = image.strides
    integer = not anchor.type.is_float
    dtype = "int32" if integer else "float32"
    taps = context.keep(np.ascontiguousarray(weight.transpose(2, 3, 1, 0)).astype(np.int8 if integer else np.float32))
    biases = None if bias is None else context.keep(bias.astype(dtype))
    tail = context.tail(group, channels_last)
    out_height, out_width = anchor.shape[2:]
    count = anchor.type.size
    padded = any(op.pads)

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        element = let(block * THREADS + thread)
        with when(element < count):
            pixel, out = let(quotient(element, outs)), let(remainder(element, outs))
            x = let(remainder(pixel, out_width) * op.strides[1] - op.pads[1])
            y = let(remainder(quotient(pixel, out_width), out_height) * op.strides[0] - op.pads[0])
            begin = let(quotient(pixel, out_width * out_height) * s_batch + quotient(out, per_group) * (ins * s_channel))
            held = registers(1, dtype)
            put(held, 0, constant(0, dtype) if biases is None else buffers[biases][out])
            with counted(kh) as ky, counted(kw) as kx, counted(ins) as channel:
                row, column = let(y + ky * op.dilations[0]), let(x + kx * op.dilations[1])
                where = tirx.all(row >= 0, row < height, column >= 0, column < width) if padded else None
                at = begin + row * s_row + column * s_column + channel * s_channel
                value = cast(loaded(buffers[image], at, where, op.pad_value), dtype)
                tap = cast(buffers[taps][((ky * kw + kx) * ins + channel) * outs + out], dtype)
                put(held, 0, held[0] + value * tap)
            tail.emit(buffers, pixel, out, held[0])

    views = [image, taps, *([biases] if biases is not None else [])]
    arguments = [*(Argument(view) for view in views), *tail.arguments]
    context.add(group, arguments, grid(count), body, macs=count * ins * kh * kw)


def _unravel(index: Expr, shape: Sequence[int]) -> list[Expr]:
    multi_index: list[Expr] = []
    for i in range(len(shape)):
        rest = quotient(index, math.prod(shape[i + 1 :]))
        multi_index.append(let(remainder(rest, shape[i]) if i else rest))
    return multi_index
