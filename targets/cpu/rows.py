"""Steps whose anchor works on whole rows: normalisations, softmax, sums over axes, look-ups by index."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgewright.passes.ir import INT8, Op
from edgewright.passes.ops import Gather, LayerNormalization, ReduceMean, RMSNormalization, Softmax
from edgewright.passes.ops.arith import LAYER_NORM_NARROW
from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, Context
from edgewright.targets.cpu.tail import Tail, row_pitch
from edgewright.targets.cpu.tir import address, lanes, loop, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.rows import Reduction, row_operands
from edgewright.targets.lowering.tir import Expr, T, cast, constant, flat_offset, i32, i64, put, row_offset, row_start
from edgewright.targets.lowering.view import StridedView, collapse, dtype_of

ROW_BLOCK = 8  # rows of an integer normalisation at a time: their roots are taken together
Normalization = LayerNormalization | RMSNormalization
NORMS: dict[type[Op], str] = {LayerNormalization: "ew_layer_norm", RMSNormalization: "ew_rms_norm"}


def row_step(context: Context, group: Group) -> None:
    """Add the step of a LayerNormalization, RMSNormalization or Softmax: one micro-kernel call per row, then the tail."""
    anchor, op = group.head, group.head.op
    order, source, extra = row_operands(context, anchor)
    tail = context.tail(group, lambda view: view.transpose(order))
    count, columns = math.prod(source.shape[:-1]), source.shape[-1]
    sizes, (strides,) = collapse(source.shape[:-1], [source.strides[:-1]])
    if isinstance(op, Normalization) and not anchor.type.is_float and len(strides) == 1 and source.strides[-1] == 1:
        _row_blocks(context, group, op, source, tail, extra)
        return
    step = int(bool(extra) and extra[0].shape[0] > 1)
    dtype = dtype_of(anchor.elem)
    stored = tail.stored.get(anchor)
    direct = stored if stored is not None and stored.strides[-1] == 1 else None
    in_place = isinstance(op, Softmax) and anchor.type.is_float  # its kernel returns exponentials and their sum

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:
            here = row_offset(sizes, strides, row)
            if source.strides[-1] == 1 and not in_place:
                read = address(buffers[source], here)
            else:
                gathered = scratch(columns, source.dtype)
                lanes(columns, lambda lane: put(gathered, lane, buffers[source][here + lane * source.strides[-1]]))
                read = address(gathered, 0)
            if direct is not None:
                target, begin = buffers[direct], row_start(direct, row)
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
                _run_rows(op, read, i64(0), i32(1), weights, step, columns, where, i64(0))
            if tail.group.tail or direct is None:
                tail.emit(buffers, row, 0, columns, lambda lane: target[begin + lane])

    context.add(group, [source, *extra, *tail.views], body)


def _run_rows(
    op: Normalization,
    read: Expr,
    ldx: Expr,
    rows: Expr,
    weights: Sequence[Expr],
    step: int,
    columns: int,
    out: Expr,
    ldout: Expr,
) -> None:
    """Call the kernel of integer rows; step: 0 where one multiplier and one offset serve all columns."""
    wide = columns > LAYER_NORM_NARROW
    name = f"{NORMS[type(op)]}_{'wide' if wide else 'rows'}_s16" + ("" if op.elem == INT8 else "_s16")
    steps = [i64(step)] if wide else []
    run(name, read, ldx, rows, *weights, *steps, i64(columns), i64(op.eps_term), i32(op.shift), out, ldout)


def _row_blocks(
    context: Context, group: Group, op: Normalization, source: StridedView, tail: Tail, factors: Sequence[StridedView]
) -> None:
    """Add the step of an integer normalisation of evenly spaced rows, several per call."""
    anchor = group.head
    count, columns = math.prod(source.shape[:-1]), source.shape[-1]
    _, (strides,) = collapse(source.shape[:-1], [source.strides[:-1]])
    dtype = dtype_of(anchor.elem)
    step = int(factors[0].shape[0] > 1)
    block_rows = ROW_BLOCK if columns <= LAYER_NORM_NARROW else 1
    direct = tail.stored.get(anchor)
    pitch = None if direct is None else row_pitch(direct)
    if pitch is None:
        direct, pitch = None, columns
    blocks = -(-count // block_rows)

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(blocks, parallel=count * columns >= PARALLEL_ELEMENTS and blocks > 1) as block:
            first = block * block_rows
            many = block_rows if count % block_rows == 0 else T.min(block_rows, count - first)
            target = scratch(block_rows * columns, dtype) if direct is None else buffers[direct]
            begin = 0 if direct is None else first * pitch
            read, weights = address(buffers[source], first * strides[0]), [address(buffers[view], 0) for view in factors]
            _run_rows(op, read, i64(strides[0]), many, weights, step, columns, address(target, begin), i64(pitch))
            if group.tail or direct is None:
                with loop(many) as row:
                    here = begin + row * pitch
                    tail.emit(buffers, first + row, 0, columns, lambda lane: target[here + lane])

    context.add(group, [source, *factors, *tail.views], body)


def reduce_step(context: Context, group: Group) -> None:
    """Add the step of a ReduceSum or ReduceMean: sums over some axes, in lanes along the innermost of the other axes."""
    anchor = group.head
    reduction = Reduction.of(context, anchor)
    source, kept, terms = reduction.source, reduction.kept, reduction.terms
    # the innermost kept axis in memory makes the lanes
    column = min(kept, key=lambda i: (source.shape[i] == 1, abs(source.strides[i]), -i)) if kept else None
    rows = [i for i in kept if i != column]
    keepdims = anchor.type.rank == len(source.shape)

    def arrange(view: StridedView) -> StridedView:
        if column is None:
            return StridedView(view.storage, (1, 1), (0, 0), view.offset)
        order = [*rows, column] if keepdims else [kept.index(i) for i in (*rows, column)]
        return view.transpose(order) if view.shape else view

    tail = context.tail(group, arrange)
    shape = tuple(source.shape[i] for i in rows) or (1,)
    steps = tuple(source.strides[i] for i in rows) or (0,)
    count = math.prod(shape)
    columns = source.shape[column] if column is not None else 1
    lane_step = source.strides[column] if column is not None else 0
    sizes, (strides,) = collapse(shape, [steps])
    dtype = "float32" if anchor.type.is_float else dtype_of(anchor.elem)

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(count, parallel=count > 1 and source.span >= PARALLEL_ELEMENTS) as row:
            total = scratch(columns, dtype)
            begin = row_offset(sizes, strides, row)
            lanes(columns, lambda lane: put(total, lane, constant(0, dtype)))
            with loop(terms) as term:
                here = begin + row_offset(reduction.sizes, reduction.strides, term)

                def add(lane: Expr) -> None:
                    value = buffers[source][here + lane * lane_step if lane_step else here]
                    put(total, lane, total[lane] + cast(value, dtype))

                lanes(columns, add)
            scale = constant(1.0 / terms, dtype) if isinstance(anchor.op, ReduceMean) else None
            tail.emit(buffers, row, 0, columns, lambda lane: total[lane] * scale if scale is not None else total[lane])

    context.add(group, [source, *tail.views], body)


def gather_step(context: Context, group: Group) -> None:
    """Add the step of a Gather along any axis (negative indices: from the end); lanes along the last axis of the result."""
    anchor = group.head
    assert isinstance(anchor.op, Gather)
    data, indices = (context.values[n] for n in anchor.inputs)
    axis = anchor.op.axis % len(data.shape)
    many = len(indices.shape)
    tail = context.tail(group, lambda view: view if view.shape else StridedView(view.storage, (1,), (0,), view.offset))
    shape = anchor.shape or (1,)
    count, columns = math.prod(shape[:-1]), shape[-1]

    def body(buffers: Mapping[StridedView, Any]) -> None:
        def where(place: list[Expr]) -> Expr:
            """Return the offset in the data of the result's element `place`."""
            which = cast(buffers[indices][flat_offset(place[axis : axis + many], indices.strides)], "int64")
            index = cast(T.if_then_else(which < 0, which + data.shape[axis], which), "int32")
            outer, inner = (
                flat_offset(place[:axis], data.strides[:axis]),
                flat_offset(place[axis + many :], data.strides[axis + 1 :]),
            )
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
    multi_index: list[Expr] = []
    for i, n in enumerate(shape):
        below = math.prod(shape[i + 1 :])
        index = row // below if below > 1 else row
        multi_index.append(index % n if i else index)
    return multi_index
