"""CUDA kernels without a product: elementwise chains and copies between layouts, one element a thread."""

from __future__ import annotations

import math

from edgewright.targets.cpu.cuda_step import CudaContext
from edgewright.targets.cpu.cuda_tir import Argument, Buffers, Launch, let, quotient, remainder, when
from edgewright.targets.cpu.elementwise import rows_of
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.tir import Expr, put, row_offset
from edgewright.targets.cpu.view import View, collapse

THREADS = 128


def elementwise(context: CudaContext, group: Group) -> None:
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

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        element = let(block * THREADS + thread)
        with when(element < count * columns):
            tail.emit(buffers, let(quotient(element, columns)), let(remainder(element, columns)), None)

    context.add(group, tail.arguments, grid(count * columns), body)


def grid(elements: int) -> Launch:
    """One thread an element."""
    return Launch(-(-elements // THREADS), THREADS)


def copied(context: CudaContext, source: View, target: View, name: str) -> None:
    """Adds a step that copies between two views of one shape."""
    arrange = rows_of([target, source])
    to, frm = arrange(target), arrange(source)
    count, columns = math.prod(to.shape[:-1]), to.shape[-1]

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        element = let(block * THREADS + thread)
        with when(element < count * columns):
            row, column = let(quotient(element, columns)), let(remainder(element, columns))
            put(buffers[target], place(to, row, column), buffers[source][place(frm, row, column)])

    context.copy(name, [Argument(source), Argument(target)], grid(count * columns), body)


def place(view: View, row: Expr, column: Expr) -> Expr:
    """The flat offset of an element, its row counted over all axes but the last."""
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    base = row_offset(sizes, strides, row)
    return base + column * view.strides[-1] if view.strides[-1] else base
