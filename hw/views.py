"""Views of stored values: what slices, reshapes and transposes select without moving data.

A stored value is rows of channels, one row per token. A view is every ``row_step``-th row and every ``column_step``-th
column from a first one on; the engine addresses any step of rows, but only adjacent columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Reshape, Slice, Transpose
from numpy.typing import NDArray

Index = NDArray[np.int64]


def rows_columns(node: Node) -> tuple[int, int]:
    """Return a value's (tokens, channels): the leading axes are tokens."""
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
        """Whether the view is all of its root."""
        return self == StoredView(self.root, 0, 0, *rows_columns(self.root))


@dataclass(frozen=True, slots=True)
class Selection:
    """Rows and columns of ``base`` in any order, as a chain of moves selects them.

    ``uneven``: the first move after which the rows are not evenly spaced.
    """

    base: Node
    rows: Index
    columns: Index
    uneven: Node | None = None

    def view(self) -> StoredView | None:
        """Return the same as a view of ``base`` if rows and columns are evenly spaced, else None."""
        rows, columns = progression(self.rows), progression(self.columns)
        if rows is None or columns is None or (columns[1] < 1 and len(self.columns) > 1):
            return None
        return StoredView(self.base, rows[0], columns[0], len(self.rows), len(self.columns), rows[1], columns[1])

    @property
    def takes_all_columns(self) -> bool:
        """Whether every channel is kept, in order."""
        return np.array_equal(self.columns, np.arange(rows_columns(self.base)[1]))


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
    """Return whether ``node`` only selects or renames rows and channels of its operand."""
    if isinstance(node.op, Slice):
        return True
    if not isinstance(node.op, Reshape | Transpose):
        return False
    return keeps_order(node) or (isinstance(node.op, Transpose) and node.op.perm[-1] == len(node.op.perm) - 1)


def keeps_order(node: Node) -> bool:
    """Return whether a Reshape or Transpose keeps (tokens, channels): it only adds, removes or moves axes of 1, or regroups
    tokens."""
    source = node.inputs[0]
    if isinstance(node.op, Transpose):
        long_axes = [axis for axis in node.op.perm if source.shape[axis] > 1]
        if long_axes != sorted(long_axes):
            return False
    return rows_columns(source) == rows_columns(node)


def selection(node: Node) -> Selection:
    """Return what ``node`` selects of the first value below it that is not a move."""
    chain = []
    while is_move(node):
        chain.append(node)
        node = node.inputs[0]
    selected = whole(node)
    for move in reversed(chain):
        selected = moved(selected, move)
        if selected.uneven is None and progression(selected.rows) is None:
            selected = replace(selected, uneven=move)
    return selected


def moved(source: Selection, move: Node) -> Selection:
    """Apply ``move`` to a selection."""
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
    """Return for each row of a value of ``shape`` the row of ``node`` that broadcasts to it; None if channels broadcast."""
    padded = (1,) * (len(shape) - node.type.rank) + node.shape
    if not shape or padded[-1] != shape[-1]:
        return None
    rows = np.arange(rows_columns(node)[0]).reshape(padded[:-1])
    return np.broadcast_to(rows, shape[:-1]).reshape(-1)
