"""CUDA kernels without an anchor: elementwise chains, and copies between layouts, one element a thread."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgewright.targets.gpu.step import CudaContext
from edgewright.targets.gpu.tir import Argument, Body, Buffers, Launch, let, quotient, remainder, when
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.rows import elementwise_tail, rows_of
from edgewright.targets.lowering.tir import Expr, element, put
from edgewright.targets.lowering.view import StridedView

THREADS = 128


def elementwise(context: CudaContext, group: Group) -> None:
    """Add the launch of a group of elementwise nodes."""
    tail, count, columns = elementwise_tail(context, group, context.tail)

    def emit(buffers: Buffers, row: Expr, column: Expr) -> None:
        tail.emit(buffers, row, column, None)

    context.add(group, tail.arguments, grid(count * columns), each_element(count, columns, emit))


def copied(context: CudaContext, source: StridedView, target: StridedView, name: str) -> None:
    """Add a launch that copies between two views of one shape."""
    arrange = rows_of([target, source])
    to, frm = arrange(target), arrange(source)
    count, columns = math.prod(to.shape[:-1]), to.shape[-1]

    def emit(buffers: Buffers, row: Expr, column: Expr) -> None:
        put(buffers[target], element(to, row, column), buffers[source][element(frm, row, column)])

    context.add(name, [Argument(source), Argument(target)], grid(count * columns), each_element(count, columns, emit))


def grid(elements: int) -> Launch:
    """Return the launch of one thread an element."""
    return Launch(-(-elements // THREADS), THREADS)


def each_element(rows: int, columns: int, body: Callable[[Buffers, Expr, Expr], None]) -> Body:
    """Return the code of a kernel that runs `body(buffers, row, column)` in the thread of each element."""

    def kernel(buffers: Buffers, block: Expr, thread: Expr) -> None:
        number = let(block * THREADS + thread)
        with when(number < rows * columns):
            body(buffers, let(quotient(number, columns)), let(remainder(number, columns)))

    return kernel
