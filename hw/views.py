"""Views of stored values: what moves of rows and channels select, found by running them on the numbers of elements.

A stored value is a matrix: rows of channels. Which axis of a tensor holds its channels follows from what computed it: a
convolution's are axis 1, so that its rows are pixels; those of everything else are the last axis. What a chain of moves means
is not looked up by patterns: each move's own ``eval`` is applied to an array that holds, at each place, the number of the
element there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import (
    AddRequantised,
    Concat,
    Constant,
    Conv,
    Gather,
    Max,
    Mul,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    Slice,
    Table,
    Transpose,
)
from edgewright.passes.ops.groups import Group
from numpy.typing import NDArray

Index = NDArray[np.int64]
VIEWS: Group = (Slice, Reshape, Transpose)
"""Moves of one operand."""
SAME_PLACE: Group = (Requantise, Table, Relu, AddRequantised, Mul, Max)
"""Operators whose result has its channels where an operand of the same shape has them."""
REMEMBERED = 1 << 13
"""Nodes whose axis is remembered; a walk from a node to its operands asks for the same ones many times."""


@lru_cache(maxsize=REMEMBERED)
def channel_axis(node: Node) -> int:
    """Return the axis of a value that holds its channels."""
    last = max(0, node.type.rank - 1)
    op = node.op
    if isinstance(op, Conv):
        return 1
    if isinstance(op, SAME_PLACE):
        for constant in (n for n in node.inputs if isinstance(n.op, Constant) and n.type.rank <= node.type.rank):
            varies = [axis - constant.type.rank for axis, size in enumerate(constant.shape) if size > 1]
            if len(varies) == 1 and constant.shape[varies[0]] == node.shape[varies[0]] and not isinstance(op, Table):
                return node.type.rank + varies[0]  # a factor or term for each channel says which axis is theirs
        like = [n for n in node.inputs if n.shape == node.shape and not isinstance(n.op, Constant)]
        like.sort(key=lambda n: not isinstance(n.op, Requantise))  # a product is near, a chain of sums may be long
        return channel_axis(like[0]) if like else last
    if isinstance(op, ReduceSum):
        (source,) = node.inputs
        axis, reduced = channel_axis(source), {n % source.type.rank for n in op.axes}
        before = 0 if op.keepdims else sum(1 for n in reduced if n < axis)
        return axis - before if axis not in reduced else last
    if isinstance(op, Transpose):
        return op.perm.index(channel_axis(node.inputs[0]))
    if isinstance(op, Slice):
        return channel_axis(node.inputs[0])
    if isinstance(op, Gather) and isinstance(node.inputs[1].op, Constant):
        source, indices = node.inputs
        axis, gathered = channel_axis(source), op.axis % max(1, source.type.rank)
        return axis + indices.type.rank - 1 if axis > gathered else min(axis, last)
    if isinstance(op, Concat):
        return max((channel_axis(n) for n in node.inputs if not isinstance(n.op, Constant)), default=last)
    if isinstance(op, Reshape):
        (source,) = node.inputs
        axis = channel_axis(source)
        inner = math.prod(source.shape[axis + 1 :])
        kept = [
            at
            for at, size in enumerate(node.shape)
            if source.type.rank and size == source.shape[axis] and math.prod(node.shape[at + 1 :]) == inner
        ]
        return kept[0] if kept else last
    return last


def axis_from_end(node: Node) -> int:
    """Return the same, counted from the last axis, which is -1."""
    return channel_axis(node) - max(1, node.type.rank)


def rows_columns(node: Node, axis: int | None = None) -> tuple[int, int]:
    """Return a value's (rows, channels); ``axis``: that of the channels, from the end, if it is not the value's own."""
    columns = node.shape[axis_from_end(node) if axis is None else axis] if node.shape else 1
    return max(1, node.type.size // max(1, columns)), columns


def matrix(node: Node, value: Array, axis: int | None = None) -> Array:
    """Return a value as it is stored: (rows, channels), by its own axis of channels or another one."""
    full = np.asarray(value).reshape(node.shape or (1,))
    turned = np.moveaxis(full, axis_from_end(node) if axis is None else axis, -1)
    return turned.reshape(rows_columns(node, axis))


@dataclass(frozen=True, slots=True)
class StoredView:
    """``root[row::row_step][:rows]``, of these ``[column::column_step][:columns]``. A step of 0 repeats a row; ``order``, if
    there is one, numbers the rows instead."""

    root: Node
    row: int
    column: int
    rows: int
    columns: int
    row_step: int = 1
    column_step: int = 1
    order: tuple[int, ...] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the view is all of its root."""
        return self == StoredView(self.root, 0, 0, *rows_columns(self.root))

    @property
    def row_numbers(self) -> Index:
        """The row of the root that each row is."""
        if self.order is not None:
            return np.array(self.order, np.int64)
        return self.row + self.row_step * np.arange(self.rows)

    def part(self, first: int, rows: int) -> StoredView:
        """Return some of its rows."""
        if self.order is not None:
            return replace(self, rows=rows, order=self.order[first : first + rows])
        return replace(self, row=self.row + first * self.row_step, rows=rows)


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows and columns of ``base`` in any order, as a chain of moves selects them."""

    base: Node
    rows: Index
    columns: Index

    def view(self) -> StoredView | None:
        """Return the same as a view of ``base`` if the columns are evenly spaced, else None."""
        columns = progression(self.columns)
        if columns is None or (columns[1] < 1 and len(self.columns) > 1):
            return None
        count = len(self.rows), len(self.columns)
        rows = progression(self.rows)
        if rows is None:
            return StoredView(self.base, 0, columns[0], *count, 1, columns[1], tuple(self.rows.tolist()))
        return StoredView(self.base, rows[0], columns[0], *count, rows[1], columns[1])

    @property
    def takes_all_columns(self) -> bool:
        """Whether every channel is kept, in order."""
        return np.array_equal(self.columns, np.arange(rows_columns(self.base)[1]))

    @property
    def takes_all_rows(self) -> bool:
        """Whether every row is kept, in order."""
        return np.array_equal(self.rows, np.arange(rows_columns(self.base)[0]))


def progression(index: Index) -> tuple[int, int] | None:
    """Return (first, step) of an evenly spaced index, step >= 0, else None; a single element has step 1."""
    if len(index) == 1:
        return int(index[0]), 1
    steps = np.diff(index)
    if (steps != steps[0]).any() or steps[0] < 0:
        return None
    return int(index[0]), int(steps[0])


def whole(node: Node) -> Selection:
    """Select all of a value."""
    rows, columns = rows_columns(node)
    return Selection(node, np.arange(rows), np.arange(columns))


def is_move(node: Node) -> bool:
    """Return whether ``node`` only moves elements, to places that are known when a model is compiled."""
    op = node.op
    return isinstance(op, (*VIEWS, Concat)) or (isinstance(op, Gather) and isinstance(node.inputs[1].op, Constant))


@lru_cache(maxsize=REMEMBERED)
def located(node: Node) -> tuple[Node, Index]:
    """Return the value whose elements ``node`` moves, and for each of its own the number of that element.

    A join of parts of one value moves its elements; a join of several is a value of its own.
    """
    if not is_move(node):
        return own(node)
    op = node.op
    if isinstance(op, Gather):
        base, numbers = located(node.inputs[0])
        indices = node.inputs[1].op
        assert isinstance(indices, Constant)
        return base, np.asarray(op.eval(numbers, indices.value))
    parts = [located(source) for source in node.inputs]
    base = parts[0][0]
    if any(other is not base for other, _ in parts):
        return own(node)
    return base, np.asarray(op.eval(*(numbers for _, numbers in parts)))


def is_view(node: Node) -> bool:
    """Return whether ``node`` moves the elements of another value."""
    return located(node)[0] is not node


def own(node: Node) -> tuple[Node, Index]:
    """Return a value and the numbers of its own elements."""
    return node, np.arange(node.type.size).reshape(node.shape)


@dataclass(frozen=True, slots=True)
class Places:
    """Where each element of a value, as a matrix, is in the matrix of ``base``: ``rows`` and ``columns`` (rows, channels)."""

    base: Node
    rows: Index
    columns: Index


def places(node: Node, axis: int | None) -> Places:
    """Return where the elements of ``node``, its channels along ``axis``, are in the value that it moves."""
    base, numbers = located(node)
    by_matrix = np.empty(base.type.size, np.int64)  # the place of each element in the matrix
    by_matrix[matrix(base, np.arange(base.type.size)).reshape(-1)] = np.arange(base.type.size)
    at = by_matrix[matrix(node, numbers, axis)]
    width = rows_columns(base)[1]
    return Places(base, at // width, at % width)


@lru_cache(maxsize=256)
def runs(node: Node, axis: int | None = None) -> tuple[Selection, ...] | None:
    """Return ``node``, its channels along its own axis or another one (from the end), as selections of the value that it moves,
    side by side: few of them, so that all rows are cut alike. None if rows are not cut alike."""
    if not is_view(node) and axis in (None, axis_from_end(node)):
        return (whole(node),)
    at = places(node, axis)
    if (at.columns != at.columns[0]).any():
        return None
    return cut_alike(at.base, at.rows, at.columns[0])


def cut_alike(base: Node, rows: Index, columns: Index) -> tuple[Selection, ...]:
    """Return the selections of ``base``, side by side, that hold row ``rows[i, j]`` of channel ``columns[j]`` at (i, j)."""
    cut = (rows[:, 1:] != rows[:, :-1]).any(axis=0)
    if len(np.unique(columns)) < len(columns):  # a product meets each channel of a run once
        cut |= columns[1:] <= columns[:-1]
    edges = [0, *(np.flatnonzero(cut) + 1).tolist(), rows.shape[1]]
    return tuple(Selection(base, rows[:, begin], columns[begin:end]) for begin, end in pairwise(edges))


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Evenly spaced ``rows`` of a value, and the ``parts`` that lie side by side in them: selections of another value, or,
    where ``turned``, transpositions as `transposed` describes them."""

    rows: Index
    parts: tuple[Selection, ...]
    turned: bool = False

    @property
    def widths(self) -> list[int]:
        """Channels of each part."""
        return [len(part.rows if self.turned else part.columns) for part in self.parts]


def groups(node: Node, axis: int | None, most: int) -> list[RowGroup] | None:
    """Return ``node`` as groups of rows that are cut alike: heads that become rows are a group each, and so are the lines of
    each phase of a map whose channels become pixels. None if there are more than ``most``."""
    at = places(node, axis)
    rows_of_groups = alike(at.columns)
    if len(rows_of_groups) > most:
        return None
    return [RowGroup(rows, cut_alike(at.base, at.rows[rows], at.columns[rows[0]])) for rows in rows_of_groups]


def turned_groups(node: Node, axis: int | None, most: int) -> list[RowGroup] | None:
    """Return ``node`` as groups of rows that are transpositions: pixels of a line that become its channels are a group each.
    None if there are more than ``most``."""
    at = places(node, axis)
    rows_of_groups = alike(at.rows)
    if len(rows_of_groups) > most:
        return None
    return [RowGroup(rows, tuple(cut_turned(at.base, at.rows[rows[0]], at.columns[rows])), True) for rows in rows_of_groups]


def alike(table: Index) -> list[Index]:
    """Return the indices of equal rows of a table, in evenly spaced runs."""
    kinds = np.unique(table, axis=0, return_inverse=True)[1].reshape(-1)
    return [run for kind in range(kinds.max() + 1) for run in even_runs(np.flatnonzero(kinds == kind))]


def even_runs(index: Index) -> list[Index]:
    """Cut an increasing index into evenly spaced runs, each as long as it can be."""
    found, begin = [], 0
    while begin < len(index):
        steps = np.diff(index[begin:])
        other = np.flatnonzero(steps != steps[0]) if len(steps) else steps
        end = begin + 1 + int(other[0]) if len(other) else len(index)
        found.append(index[begin:end])
        begin = end
    return found


def transposed(node: Node, axis: int | None = None) -> list[Selection] | None:
    """Return runs of channels of ``node``, side by side, each of which is the transposition of rows and channels of the value
    that it moves: row i is channel ``columns[i]`` at ``rows``. None if channels move in other ways. Heads that are transposed
    one by one are a run each."""
    at = places(node, axis)
    if (at.rows != at.rows[0]).any():
        return None
    return cut_turned(at.base, at.rows[0], at.columns)


def cut_turned(base: Node, rows: Index, columns: Index) -> list[Selection]:
    """Return the transpositions, side by side, that hold channel ``columns[i, j]`` of row ``rows[j]`` at (i, j)."""
    edges = [0, *(np.flatnonzero((columns[:, 1:] != columns[:, :-1]).any(axis=0)) + 1).tolist(), columns.shape[1]]
    return [Selection(base, rows[begin:end], columns[:, begin]) for begin, end in pairwise(edges)]


def selection(node: Node, axis: int | None = None) -> Selection | None:
    """Return what ``node``, its channels along its own axis or another one, selects of the value that it moves; of ``node``
    itself where one selection cannot say it. None if not even that can."""
    found = runs(node, axis)
    if found is not None and len(found) == 1:
        return found[0]
    return whole(node) if axis in (None, axis_from_end(node)) else None


def broadcast_rows(node: Node, like: Node) -> Index | None:
    """Return for each row of ``like`` the row of ``node`` that broadcasts to it; None if channels broadcast."""
    rank, axis = like.type.rank, channel_axis(like)
    padded = (1,) * (rank - node.type.rank) + node.shape
    if not rank or padded[axis] != like.shape[axis]:
        return None
    tokens = padded[:axis] + padded[axis + 1 :]
    rows = np.arange(math.prod(tokens)).reshape(tokens)
    return np.broadcast_to(rows, like.shape[:axis] + like.shape[axis + 1 :]).reshape(-1)
