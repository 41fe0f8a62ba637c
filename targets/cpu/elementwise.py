"""Steps without an anchor: elementwise chains, and copies between layouts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, Context
from edgewright.targets.cpu.tir import lanes, loop
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.rows import elementwise_tail, rows_of
from edgewright.targets.lowering.tir import Expr, element, put
from edgewright.targets.lowering.view import StridedView


def elementwise(context: Context, group: Group) -> None:
    """Add the step of a group of elementwise nodes."""
    tail, count, columns = elementwise_tail(context, group, context.tail)

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:
            tail.emit(buffers, row, 0, columns, None)

    context.add(group, tail.views, body)


def copied(context: Context, source: StridedView, target: StridedView, name: str) -> None:
    """Add a step that copies between two views of one shape."""
    arrange = rows_of([target, source])
    to, frm = arrange(target), arrange(source)
    count, columns = math.prod(to.shape[:-1]), to.shape[-1]

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:

            def copy(lane: Expr) -> None:
                put(buffers[target], element(to, row, lane), buffers[source][element(frm, row, lane)])

            lanes(columns, copy)

    context.add_move(name, "Copy", (target, source), body)


def contiguous_rows(context: Context, view: StridedView, name: str) -> StridedView:
    """Return a value with a contiguous last axis: the view, or a copy that a step called after the node `name` makes."""
    if view.strides[-1] == 1 or view.shape[-1] <= 1:
        return view
    dense = context.dense(view.shape, view.dtype)
    copied(context, view, dense, f"{name} (rows)")
    return dense
