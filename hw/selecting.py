"""Selections of rows and channels as the engine reads them: views, lists, rows side by side, and why a value cannot be read."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from edgewright.hw.legal import ON_A_CPU
from edgewright.hw.memory import WORD_BYTES, round_up
from edgewright.hw.operations.direct import SummedRows
from edgewright.hw.operations.operation import Place
from edgewright.hw.operations.product import Integers, Scale, Taps
from edgewright.hw.padding import HeadPadding
from edgewright.hw.views import (
    Index,
    RowGroup,
    Selection,
    StoredView,
    broadcast_rows,
    channel_axis,
    progression,
    rows_columns,
    selection,
)
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import (
    Attention,
    LayerNormalization,
    ReduceSum,
    Requantise,
    RMSNormalization,
)

NORMS = (LayerNormalization, RMSNormalization)
LAST, MAP = -1, -3
"""The axes of channels, from the end, of tokens and of maps."""
MOST_POOLED = 2048
"""Rows that the array adds up as a product with ones; more go past it."""
MOST_PARTS = 256
"""Operations into which a join may be taken apart whose parts alternate in memory."""


class Refused(Exception):
    """A node does not fit a fused operation. ``args``: the node, what the engine lacks, what to do instead."""


def selected_of(node: Node, axis: int | None = None) -> Selection:
    """Return what ``node`` selects of the value that it moves, its channels along its own axis or another one."""
    seen = selection(node, axis)
    if seen is None:
        because = f"its channels are those of axis {channel_axis(node)} of {node.type}, and another axis is read as channels"
        raise Refused(node, because, f"values remain in memory as they were written; {ON_A_CPU}")
    return seen


def through(node: Node, selected: Selection, axis: int | None = None) -> Selection:
    """Return the rows and channels ``selected`` of ``node``, in terms of the value that ``node`` moves. ``axis``: of the
    channels of ``node`` as they were selected, from the end."""
    seen = selected_of(node, axis)
    columns = np.where(selected.columns < 0, -1, seen.columns[selected.columns])
    return Selection(seen.base, seen.rows[selected.rows], columns)


def is_attention(node: Node) -> bool:
    """Return whether ``node`` is a requantised attention."""
    return isinstance(node.op, Requantise) and isinstance(node.inputs[0].op, Attention)


def has_odd_heads(node: Node) -> bool:
    """Return whether the values of an attention's heads are not whole words."""
    assert isinstance(node.op, Attention)
    return node.shape[-1] // node.op.heads % WORD_BYTES != 0


def head_columns(node: Node, op: HeadPadding) -> Index:
    """Return the channel of ``node`` that each channel with padded heads is; -1 for zeros."""
    width = node.shape[-1] // op.heads
    head, within = np.divmod(np.arange(op.heads * op.width), op.width)
    return np.where(within < width, head * width + within, -1)


def spread(node: Node, shown: Selection) -> Selection:
    """Return the rows and channels ``shown`` of a sum as those of its operand ``node``, which may broadcast along rows."""
    rows = broadcast_rows(node, shown.base)
    if rows is None:
        raise Refused(shown.base, f"it repeats the channels of {node.type}", "only tokens can be repeated; expand the value")
    return Selection(node, rows[shown.rows], shown.columns)


def summed_rows(node: Node, rows: Index) -> SummedRows:
    """Return which rows of its operand each of the selected rows of a ReduceSum adds up."""
    (source,), op = node.inputs, node.op
    assert isinstance(op, ReduceSum)
    channels, rank = channel_axis(source), source.type.rank
    reduced = {axis % rank for axis in op.axes}
    axes = [axis for axis in range(rank) if axis != channels]
    numbers = np.arange(rows_columns(source)[0]).reshape([source.shape[axis] for axis in axes])
    order = [n for n, axis in enumerate(axes) if axis not in reduced] + [n for n, axis in enumerate(axes) if axis in reduced]
    groups = numbers.transpose(order).reshape(rows_columns(node)[0], -1)[rows]
    begins, within = progression(groups[:, 0]), progression(groups[0])
    if begins is None or within is None or not np.array_equal(groups, groups[:, :1] + groups[:1] - groups[0, 0]):
        raise Refused(node, f"it sums {source.type} over axes {op.axes}, whose rows are not evenly spaced", ON_A_CPU)
    return SummedRows(begins[0], begins[1], groups.shape[1], within[1])


def scale_of(node: Node, count: int, multiplier: int, shift: int) -> Scale:
    """Return one factor for all of ``count`` channels; the engine's multipliers have 16 bits."""
    while multiplier >= 1 << 16:
        multiplier, shift = multiplier // 2, shift - 1
    return Scale(node, np.full(count, multiplier, np.int64), np.full(count, shift, np.int64))


def taps_of(parts: tuple[Selection, ...], rows: Index) -> Taps | None:
    """Return runs of channels as rows that lie at equal distances from each token's first, None if they do not."""
    first = parts[0]
    columns = first.columns
    adjacent = len(columns) == 1 or progression(columns) == (columns[0], 1)
    view = StoredView(first.base, 0, int(columns[0]), 1, len(columns))
    if not adjacent or not aligned(view) or not ends_row(view):
        return None
    if any(part.base is not first.base or not np.array_equal(part.columns, columns) for part in parts):
        return None
    apart = [part.rows[rows] - first.rows[rows] for part in parts]
    if any((away != away[0]).any() or away[0] < 0 for away in apart):
        return None
    offsets = np.array([away[0] for away in apart])
    for lines in range(1, len(parts) + 1):
        if len(parts) % lines == 0:
            step = int(offsets[lines]) if lines < len(parts) else 0
            taps = Taps(len(parts) // lines, lines, step, int(offsets[1]) if lines > 1 else 0)
            if np.array_equal(taps.offsets, offsets):
                return taps
    return None


def spaced(weight: Integers, width: int) -> Integers:
    """Pad each run of ``width`` columns of a weight to whole words."""
    runs_ = weight.reshape(len(weight), -1, width)
    full = np.zeros((*runs_.shape[:2], round_up(width, WORD_BYTES)), np.int64)
    full[:, :, :width] = runs_
    return full.reshape(len(weight), -1)


def places_of(node: Node, axis: int, first: int, count: int) -> list[tuple[Place, Index]]:
    """Return the places of the part of a Concat that takes ``count`` from ``first`` on along ``axis``, each with the rows of
    the part that go there."""
    if axis == channel_axis(node):
        if first % WORD_BYTES:
            raise misplaced(node, first)
        return [(Place(node, first_column=first), every_row(node))]
    shape = tuple(n for at, n in enumerate(node.shape) if at != channel_axis(node))
    at = axis - (axis > channel_axis(node))
    rows = np.arange(rows_columns(node)[0]).reshape(shape)[(slice(None),) * at + (slice(first, first + count),)]
    taken = progression(rows.reshape(-1))
    if taken is not None:
        return [(Place(node, *taken), np.arange(rows.size))]
    groups = rows.reshape(int(np.prod(shape[:at])), -1)
    if len(groups) > MOST_PARTS:
        because = f"it joins along axis {axis} after {len(groups)} others, so that its parts alternate in memory"
        raise Refused(node, because, "join along the first axis that is longer than 1")
    size = groups.shape[1]
    return [(Place(node, int(group[0])), np.arange(n * size, (n + 1) * size)) for n, group in enumerate(groups)]


def in_words(found: Iterable[RowGroup]) -> bool:
    """Return whether every part of groups of rows begins at a memory word."""
    return all(width % WORD_BYTES == 0 for group in found for width in group.widths[:-1])


def misplaced(node: Node, first: int) -> Refused:
    """Return why a part of a joined value cannot be stored in place."""
    because = f"a part starts at channel {first}, and values are written {WORD_BYTES} channels at a time"
    return Refused(node, because, f"join at multiples of {WORD_BYTES} channels, or along tokens")


def every(node: Node) -> Index:
    """Return all columns of a value."""
    return np.arange(rows_columns(node)[1])


def every_row(node: Node) -> Index:
    """Return all rows of a value."""
    return np.arange(rows_columns(node)[0])


def whole_of(node: Node) -> Selection:
    """Select all of ``node`` itself."""
    return Selection(node, every_row(node), every(node))


def rows_view(root: Node, rows: Index, column: int, columns: int) -> StoredView:
    """Return some rows of a stored value, of adjacent channels."""
    even = progression(rows)
    if even is None:
        return StoredView(root, 0, column, len(rows), columns, order=tuple(rows.tolist()))
    return StoredView(root, even[0], column, len(rows), columns, even[1])


def widened(weight: Integers, columns: Index, low: int, high: int) -> Integers:
    """Spread weights of some columns over all columns from ``low`` to ``high``."""
    full = np.zeros((len(weight), high - low), np.int64)
    full[:, columns - low] = weight
    return full


def ends_row(view: StoredView) -> bool:
    """Return whether the words of a view hold no other channels: it consists of whole words, or ends where its rows end."""
    return view.columns % WORD_BYTES == 0 or view.column + view.columns == rows_columns(view.root)[1]


def aligned(view: StoredView) -> bool:
    """Return whether the engine can read a view: 16-byte words, adjacent channels, no tile beyond its row."""
    assert not view.root.type.is_float
    element_bytes = view.root.elem.bits // 8
    padded = round_up(rows_columns(view.root)[1], WORD_BYTES)
    end = view.column + round_up(view.columns, WORD_BYTES)
    return view.column_step == 1 and view.column * element_bytes % WORD_BYTES == 0 and end <= padded


def unreachable(node: Node, seen: Selection) -> Refused:
    """Return why addresses cannot express a part of a value, and no product may select it."""
    because = (
        f"it reads channels from {int(seen.columns[0])} on of a 16-bit value that is not a product, and memory is read "
        f"in words of {WORD_BYTES} bytes"
    )
    return Refused(node, because, f"slice at multiples of {WORD_BYTES} channels, without a step; or {ON_A_CPU}")
