"""Values as rows of columns, for elementwise steps and for operators that work on whole rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from edgewright.passes.ir import Node
from edgewright.passes.ops import ReduceMean, ReduceSum, Softmax, value_of
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.step import LoweringContext
from edgewright.targets.lowering.tail import Arrange, GroupTail
from edgewright.targets.lowering.view import StridedView, collapse

ROW_ELEMENTS = 1024  # longer walks are cut into rows of at most so many elements, for the threads
TailT = TypeVar("TailT", bound=GroupTail)


def rows_of(views: list[StridedView]) -> Arrange:
    """Return what brings views of one shape to the order in which the first of them is in memory, the innermost axis last,
    with axes merged where all views allow, and a last axis of workable length."""
    first = views[0]
    rank = range(len(first.shape))
    order = sorted(rank, key=lambda axis: (-first.strides[axis] if first.shape[axis] > 1 else -math.inf, axis))
    arranged = [view.transpose(order) for view in views]
    sizes, strides = collapse(arranged[0].shape, [view.strides for view in arranged])
    merged = dict(zip(views, strides, strict=True))
    columns = sizes[-1]
    split = next((d for d in range(min(columns, ROW_ELEMENTS), 0, -1) if columns % d == 0), 1)
    if split < 64 or columns <= ROW_ELEMENTS:
        split = columns

    def to_rows(view: StridedView) -> StridedView:
        shape, steps = sizes, merged[view]
        if split != columns:
            shape, steps = (*sizes[:-1], columns // split, split), (*steps[:-1], steps[-1] * split, steps[-1])
        return StridedView(view.storage, shape, steps, view.offset)

    return to_rows


def elementwise_tail(
    context: LoweringContext[Any], group: Group, tail: Callable[[Group, Arrange], TailT]
) -> tuple[TailT, int, int]:
    """Return the tail of a group without an anchor, made by `tail`, and how many rows and columns it has."""
    seen: list[StridedView] = []

    def record(view: StridedView) -> StridedView:
        seen.append(view)
        return view

    tail(group, record)  # once to learn which views take part
    views = [context.values[group.stored[0]], *(view for view in seen if view.shape == group.last.shape)]
    arranged = tail(group, rows_of(list(dict.fromkeys(views))))
    stored = next(iter(arranged.stored.values()))
    return arranged, math.prod(stored.shape[:-1]), stored.shape[-1]


def row_operands(context: LoweringContext[Any], node: Node) -> tuple[list[int], StridedView, list[StridedView]]:
    """Return, for a normalisation or a softmax, the order of the axes that has the rows' own last, the operand in that
    order, and the constants."""
    rank = node.type.rank
    axis = node.op.axis % rank if isinstance(node.op, Softmax) else rank - 1
    order = [*(i for i in range(rank) if i != axis), axis]
    parameters = []
    for operand in node.inputs[1:]:
        value = np.asarray(value_of(operand))
        integer = np.int64 if value.dtype.itemsize == 8 else np.int32
        parameters.append(context.keep(value.astype(np.float32 if value.dtype.kind == "f" else integer)))
    return order, context.values[node.inputs[0]].transpose(order), parameters


@dataclass(frozen=True, slots=True)
class Reduction:
    """A sum over some axes: `kept`, the others; `terms` values in each sum, over axes of these sizes and strides."""

    source: StridedView
    kept: list[int]
    terms: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]

    @classmethod
    def of(cls, context: LoweringContext[Any], node: Node) -> Reduction:
        assert isinstance(node.op, (ReduceMean, ReduceSum))
        rank = node.inputs[0].type.rank
        source = context.values[node.inputs[0]]
        axes = sorted(axis % rank for axis in node.op.axes)
        shape = tuple(source.shape[i] for i in axes)
        sizes, (strides,) = collapse(shape, [tuple(source.strides[i] for i in axes)])
        return cls(source, [i for i in range(rank) if i not in axes], math.prod(shape), sizes, strides)
