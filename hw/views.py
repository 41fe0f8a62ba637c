"""Parts of stored values: what slices, reshapes and transposes only look at, without moving anything.

A stored value is rows of channels, one row a token. A view of it is every ``row_step``-th row and every
``column_step``-th column from somewhere on; the engine's addresses follow any step of rows, and columns without a step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Reshape, Slice, Transpose
from numpy.typing import NDArray

Index = NDArray[np.int64]


def rows_columns(node: Node) -> tuple[int, int]:
    """A value as (tokens, channels): the leading axes are tokens."""
    shape = node.shape
    columns = shape[-1] if shape else 1
    return max(1, node.type.size // max(1, columns)), columns


@dataclass(frozen=True, slots=True)
class StoredView:
    """``root[row::row_step][:rows]``, of these ``[column::column_step][:columns]``. A step of 0 repeats a row."""

    root: Node
    row: int
    column: int
    rows: int
    columns: int
    row_step: int = 1
    column_step: int = 1

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its root."""
        return self == StoredView(self.root, 0, 0, *rows_columns(self.root))


@dataclass(frozen=True, slots=True)
class Selection:
    """Some rows and columns of ``base``, in any order: what a chain of moves shows of it.

    ``uneven``: the first move behind which the rows were not evenly spaced.
    """

    base: Node
    rows: Index
    columns: Index
    uneven: Node | None = None

    def view(self) -> StoredView | None:
        """The same as a view of ``base`` if both are evenly spaced."""
        rows, columns = progression(self.rows), progression(self.columns)
        if rows is None or columns is None or (columns[1] < 1 and len(self.columns) > 1):
            return None
        return StoredView(self.base, rows[0], columns[0], len(self.rows), len(self.columns), rows[1], columns[1])

    @property
    def takes_all_columns(self) -> bool:
        """Whether every channel is kept, in order."""
        return np.array_equal(self.columns, np.arange(rows_columns(self.base)[1]))


def progression(index: Index) -> tuple[int, int] | None:
    """(first, step) of an evenly spaced index, step >= 0; a single element has step 1."""
    if len(index) == 1:
        return int(index[0]), 1
    steps = np.diff(index)
    if (steps != steps[0]).any() or steps[0] < 0:
        return None
    return int(index[0]), int(steps[0])


def whole(node: Node) -> Selection:
    """All of a value."""
    rows, columns = rows_columns(node)
    return Selection(node, np.arange(rows), np.arange(columns))


def is_move(node: Node) -> bool:
    """Whether ``node`` only picks or renames rows and channels of its operand."""
    if isinstance(node.op, Slice):
        return True
    if not isinstance(node.op, Reshape | Transpose):
        return False
    return keeps_order(node) or (isinstance(node.op, Transpose) and node.op.perm[-1] == len(node.op.perm) - 1)


def keeps_order(node: Node) -> bool:
    """Whether a Reshape or Transpose leaves (tokens, channels) as they are: it adds, removes or moves axes of 1 only,
    or regroups tokens."""
    source = node.inputs[0]
    if isinstance(node.op, Transpose):
        long_axes = [axis for axis in node.op.perm if source.shape[axis] > 1]
        if long_axes != sorted(long_axes):
            return False
    return rows_columns(source) == rows_columns(node)


def selection(node: Node) -> Selection:
    """What ``node`` shows of the first value below it that is no move."""
    chain = []
    while is_move(node):
        chain.append(node)
        node = node.inputs[0]
    found = whole(node)
    for move in reversed(chain):
        found = moved(found, move)
        if found.uneven is None and progression(found.rows) is None:
            found = replace(found, uneven=move)
    return found


def moved(source: Selection, move: Node) -> Selection:
    """``move`` of what ``source`` shows."""
    shape = move.inputs[0].shape
    op = move.op
    if isinstance(op, Slice):
        axis = op.axis % len(shape)
        picked = slice(op.start, op.stop, op.step)
        if axis == len(shape) - 1:
            return replace(source, columns=source.columns[picked])
        rows = source.rows.reshape(shape[:-1])[(slice(None),) * axis + (picked,)]
        return replace(source, rows=rows.reshape(-1))
    if isinstance(op, Transpose) and not keeps_order(move):
        rows = source.rows.reshape(shape[:-1]).transpose(op.perm[:-1])
        return replace(source, rows=rows.reshape(-1))
    return source


def broadcast_rows(node: Node, shape: tuple[int, ...]) -> Index | None:
    """For each row of a value of ``shape``, the row of ``node`` that broadcasts to it; None if channels broadcast."""
    own = (1,) * (len(shape) - node.type.rank) + node.shape
    if not shape or own[-1] != shape[-1]:
        return None
    rows = np.arange(rows_columns(node)[0]).reshape(own[:-1])
    return np.broadcast_to(rows, shape[:-1]).reshape(-1)
