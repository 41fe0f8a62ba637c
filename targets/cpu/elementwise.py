"""Steps without a product: elementwise chains, copies between layouts, and what works on whole rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, Context, Step
from edgewright.targets.cpu.tir import Expr, lanes, loop, put, row_offset, step_function
from edgewright.targets.cpu.view import View, collapse

ROW_ELEMENTS = 1024  # long walks are cut into rows of at most so many elements, for the threads


def walk(view: View) -> Callable[[View], View]:
    """Brings views of one shape to the order in which `view` lies in memory, the innermost axis last."""
    order = sorted(range(len(view.shape)), key=lambda axis: (-view.strides[axis] if view.shape[axis] > 1 else -math.inf, axis))
    return lambda other: other.transpose(order)


def rows_of(views: list[View]) -> Callable[[View], View]:
    """As `walk` over the first view, with axes merged where all views allow, and a last axis of workable length."""
    arrange = walk(views[0])
    arranged = [arrange(view) for view in views]
    sizes, strides = collapse(arranged[0].shape, [view.strides for view in arranged])
    merged = {view: own for view, own in zip(views, strides, strict=True)}
    columns = sizes[-1]
    split = next((d for d in range(min(columns, ROW_ELEMENTS), 0, -1) if columns % d == 0), 1)
    if split < 64 or columns <= ROW_ELEMENTS:
        split = columns

    def to_rows(view: View) -> View:
        known = merged[view]
        shape, steps = sizes, known
        if split != columns:
            shape, steps = (*sizes[:-1], columns // split, split), (*known[:-1], known[-1] * split, known[-1])
        return View(view.storage, shape, steps, view.offset)

    return to_rows


def elementwise(context: Context, group: Group) -> None:
    """Adds the step of a group of elementwise nodes."""
    seen: list[View] = []

    def gather(view: View) -> View:
        seen.append(view)
        return view

    context.tail(group, gather)  # once to learn which views take part
    shape = group.last.shape
    first = context.values[group.stored[0]]
    taking_part = [first, *(view for view in seen if view.shape == shape)]
    tail = context.tail(group, rows_of(list(dict.fromkeys(taking_part))))
    stored = next(iter(tail.stored.values()))
    count, columns = math.prod(stored.shape[:-1]), stored.shape[-1]

    def body(buffers: Mapping[View, Any]) -> None:
        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:
            tail.emit(buffers, row, 0, columns, None)

    context.add(group, tail.views, body)


def copied(context: Context, source: View, target: View, name: str) -> None:
    """Adds a step that copies between two views of one shape."""
    arrange = rows_of([target, source])
    to, frm = arrange(target), arrange(source)
    count, columns = math.prod(to.shape[:-1]), to.shape[-1]

    def body(buffers: Mapping[View, Any]) -> None:
        with loop(count, parallel=count * columns >= PARALLEL_ELEMENTS and count > 1) as row:

            def one(lane: Expr) -> None:
                put(buffers[target], _at(to, row, lane), buffers[source][_at(frm, row, lane)])

            lanes(columns, one)

    context.steps.append(Step(name, "Copy", step_function((target, source), body), (target, source), 0))


def _at(view: View, row: Expr, column: Expr) -> Expr:
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    base = row_offset(sizes, strides, row)
    step = view.strides[-1]
    return base + column * step if step else base
