"""Steps whose anchor works on whole rows: normalisations, softmax, sums over axes, look-ups by index."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8
from edgewright.passes.ops import Gather, LayerNormalization, ReduceMean, ReduceSum, RMSNormalization, Softmax, value_of
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, Context
from edgewright.targets.cpu.tail import Tail
from edgewright.targets.cpu.tir import (
    Expr,
    T,
    address,
    cast,
    constant,
    i32,
    i64,
    lanes,
    loop,
    put,
    row_offset,
    run,
    scratch,
)
from edgewright.targets.cpu.view import View, collapse, dtype_of

ROW_BLOCK = 8  # rows of an integer normalisation at a time: their roots are taken together
Normalization = LayerNormalization | RMSNormalization
NORMS: dict[type[Op], str] = {LayerNormalization: "ew_layer_norm", RMSNormalization: "ew_rms_norm"}


def row_step(context: Context, group: Group) -> None:
    """LayerNormalization, RMSNormalization or Softmax: one micro-kernel call per row, then the tail."""
    anchor = group.anchor
    assert anchor is not None
    op = anchor.op
    axis = op.axis % anchor.type.rank if isinstance(op, Softmax) else anchor.type.rank - 1
    order = [*(i for i in range(anchor.type.rank) if i != axis), axis]
    source = context.values[anchor.inputs[0]].transpose(order)
    tail = context.tail(group, lambda view: view.transpose(order))
    extra = [context.keep(_parameter(node)) for node in anchor.inputs[1:]]
    count, columns = math.prod(source.shape[:-1]), source.shape[-1]
    sizes, (strides,) = collapse(source.shape[:-1], [source.strides[:-1]])
    if isinstance(op, Normalization) and not anchor.type.is_float and len(strides) == 1 and source.strides[-1] == 1:
        _row_blocks(context, group, op, source, tail, extra)
        return
    dtype = dtype_of(anchor.elem)
    home = tail.stored.get(anchor)
    direct = home if home is not None and home.strides[-1] == 1 else None
    in_place = isinstance(op, Softmax) and anchor.type.is_float  # its kernel leaves exponentials and their sum

    def body(buffers: Mapping[View, Any]) -> None:
        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:
            here = row_offset(sizes, strides, row)
            if source.strides[-1] == 1 and not in_place:
                read = address(buffers[source], here)
            else:
                gathered = scratch(columns, source.dtype)
                lanes(columns, lambda lane: put(gathered, lane, buffers[source][here + lane * source.strides[-1]]))
                read = address(gathered, 0)
            if direct is not None:
                target, begin = buffers[direct], _row(direct, row)
            else:
                target, begin = (gathered if in_place else scratch(columns, dtype)), 0
            where = address(target, begin)
            weights = [address(buffers[view], 0) for view in extra]
            if in_place:
                total = scratch(1, "float32")
                run("ew_softmax_f32", read, i64(columns), constant(1, "float32"), address(total, 0))
                lanes(columns, lambda lane: put(target, begin + lane, gathered[lane] / total[0]))
            elif isinstance(op, Softmax):
                run("ew_softmax_s16", read, i64(columns), i32(op.multiplier), i32(op.shift), where)
            elif anchor.type.is_float:
                assert isinstance(op, Normalization)
                run(f"{NORMS[type(op)]}_f32", read, *weights, i64(columns), constant(op.epsilon, "float32"), where)
            else:  # rows that are not evenly spaced
                assert isinstance(op, Normalization)
                run(
                    _rows_kernel(op),
                    read,
                    i64(0),
                    i32(1),
                    *weights,
                    i64(columns),
                    i64(op.eps_term),
                    i32(op.shift),
                    where,
                    i64(0),
                )
            if tail.group.tail or direct is None:
                tail.emit(buffers, row, 0, columns, lambda lane: target[begin + lane])

    context.add(group, [source, *extra, *tail.views], body)


def _rows_kernel(op: Normalization) -> str:
    return f"{NORMS[type(op)]}_rows_s16" + ("" if op.elem == INT8 else "_s16")


def _row_blocks(context: Context, group: Group, op: Normalization, source: View, tail: Tail, factors: Sequence[View]) -> None:
    """An integer normalisation of evenly spaced rows, several a call."""
    anchor = group.anchor
    assert anchor is not None
    count, columns = math.prod(source.shape[:-1]), source.shape[-1]
    _, (strides,) = collapse(source.shape[:-1], [source.strides[:-1]])
    dtype = dtype_of(anchor.elem)
    name = _rows_kernel(op)
    home = tail.stored.get(anchor)
    pitches = collapse(home.shape[:-1], [home.strides[:-1]])[1][0] if home is not None and home.strides[-1] == 1 else ()
    direct, pitch = (home, pitches[0]) if len(pitches) == 1 else (None, columns)
    blocks = -(-count // ROW_BLOCK)

    def body(buffers: Mapping[View, Any]) -> None:
        with loop(blocks, parallel=count * columns >= PARALLEL_ELEMENTS and blocks > 1) as block:
            first = block * ROW_BLOCK
            many = ROW_BLOCK if count % ROW_BLOCK == 0 else T.min(ROW_BLOCK, count - first)
            target = scratch(ROW_BLOCK * columns, dtype) if direct is None else buffers[direct]
            begin = 0 if direct is None else first * pitch
            run(
                name,
                address(buffers[source], first * strides[0]),
                i64(strides[0]),
                many,
                *(address(buffers[view], 0) for view in factors),
                i64(columns),
                i64(op.eps_term),
                i32(op.shift),
                address(target, begin),
                i64(pitch),
            )
            if group.tail or direct is None:
                with loop(many) as row:
                    here = begin + row * pitch
                    tail.emit(buffers, first + row, 0, columns, lambda lane: target[here + lane])

    context.add(group, [source, *factors, *tail.views], body)


def _row(view: View, row: Expr) -> Expr:
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    return row_offset(sizes, strides, row)


def _parameter(node: Node) -> np.ndarray[Any, Any]:
    value = value_of(node)
    assert value is not None
    if value.dtype.kind == "f":
        return value.astype(np.float32)
    return value.astype(np.int64 if value.dtype.itemsize == 8 else np.int32)


def reduce_step(context: Context, group: Group) -> None:
    """ReduceSum and ReduceMean: sums over some axes, in lanes along the innermost axis that stays."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, (ReduceMean, ReduceSum))
    (operand,) = anchor.inputs
    rank = operand.type.rank
    axes = _axes(anchor.op, rank)
    source = context.values[operand]
    kept = [i for i in range(rank) if i not in axes]
    # the innermost kept axis in memory makes the lanes
    column = min(kept, key=lambda i: (source.shape[i] == 1, abs(source.strides[i]), -i)) if kept else None
    rows = [i for i in kept if i != column]
    keepdims = anchor.type.rank == rank

    def arrange(view: View) -> View:
        if column is None:
            return View(view.storage, (1, 1), (0, 0), view.offset)
        order = [*rows, column] if keepdims else [kept.index(i) for i in (*rows, column)]
        return view.transpose(order) if view.shape else view

    tail = context.tail(group, arrange)
    shape = tuple(source.shape[i] for i in rows) or (1,)
    steps = tuple(source.strides[i] for i in rows) or (0,)
    count = math.prod(shape)
    columns = source.shape[column] if column is not None else 1
    lane_step = source.strides[column] if column is not None else 0
    sizes, (strides,) = collapse(shape, [steps])
    sum_sizes, (sum_strides,) = collapse(tuple(source.shape[i] for i in axes), [tuple(source.strides[i] for i in axes)])
    terms = math.prod(source.shape[i] for i in axes)
    dtype = "float32" if anchor.type.is_float else dtype_of(anchor.elem)

    def body(buffers: Mapping[View, Any]) -> None:
        with loop(count, parallel=count > 1 and source.span >= PARALLEL_ELEMENTS) as row:
            total = scratch(columns, dtype)
            begin = row_offset(sizes, strides, row)
            lanes(columns, lambda lane: put(total, lane, constant(0, dtype)))
            with loop(terms) as term:
                here = begin + row_offset(sum_sizes, sum_strides, term)

                def add(lane: Expr) -> None:
                    value = buffers[source][here + lane * lane_step if lane_step else here]
                    put(total, lane, total[lane] + cast(value, dtype))

                lanes(columns, add)
            scale = constant(1.0 / terms, dtype) if isinstance(anchor.op, ReduceMean) else None
            tail.emit(buffers, row, 0, columns, lambda lane: total[lane] * scale if scale is not None else total[lane])

    context.add(group, [source, *tail.views], body)


def _axes(op: ReduceMean | ReduceSum, rank: int) -> list[int]:
    return sorted(axis % rank for axis in op.axes)


def gather_step(context: Context, group: Group) -> None:
    """Gather along any axis by indices (negative: from the end); lanes along the last axis of the result."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, Gather)
    data, indices = (context.values[n] for n in anchor.inputs)
    axis = anchor.op.axis % len(data.shape)
    many = len(indices.shape)
    tail = context.tail(group, lambda view: view if view.shape else View(view.storage, (1,), (0,), view.offset))
    shape = anchor.shape or (1,)
    count, columns = math.prod(shape[:-1]), shape[-1]

    def body(buffers: Mapping[View, Any]) -> None:
        def where(place: list[Expr]) -> Expr:
            """Offset in the data of the result's element `place`."""
            which = cast(buffers[indices][sum_of(place[axis : axis + many], indices.strides)], "int64")
            index = cast(T.if_then_else(which < 0, which + data.shape[axis], which), "int32")
            outer, inner = sum_of(place[:axis], data.strides[:axis]), sum_of(place[axis + many :], data.strides[axis + 1 :])
            return outer + index * data.strides[axis] + inner

        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:
            lead = _unravel(row, shape[:-1])
            if axis < len(data.shape) - 1:  # the index is that of the row
                begin, step = where([*lead, 0]), data.strides[-1]
                tail.emit(buffers, row, 0, columns, lambda lane: buffers[data][begin + lane * step])
            else:
                tail.emit(buffers, row, 0, columns, lambda lane: buffers[data][where([*lead, lane][: anchor.type.rank])])

    context.add(group, [data, indices, *tail.views], body)


def _unravel(row: Expr, shape: tuple[int, ...]) -> list[Expr]:
    found: list[Expr] = []
    for i, n in enumerate(shape):
        below = math.prod(shape[i + 1 :])
        index = row // below if below > 1 else row
        found.append(index % n if i else index)
    return found


def sum_of(index: list[Expr], strides: tuple[int, ...]) -> Expr:
    """The flat offset of a multi-index."""
    total: Expr = 0
    for i, stride in zip(index, strides, strict=True):
        total = total + i * stride
    return total
