"""Max pooling: which windows of a map a chain of maxima compares, by the rows that each of its values compares."""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np
from edgewright.hw.blocks.window import MOST_STRIDE, SIDE
from edgewright.hw.operations.window import Windows
from edgewright.hw.views import Index, channel_axis, rows_columns, selection
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Max


class ComparedRows(NamedTuple):
    """Rows of ``base`` of which each row of a value is the maximum, channel by channel: (rows of the value, compared rows)."""

    base: Node
    rows: Index


@lru_cache(maxsize=64)
def compared(node: Node) -> ComparedRows | None:
    """Return what a chain of maxima and moves of rows compares; None if it compares several values, or other channels."""
    selected = selection(node)
    if selected is None or not selected.takes_all_columns:
        return None
    base, rows = selected.base, selected.rows
    if not isinstance(base.op, Max):
        return ComparedRows(base, rows[:, None])
    if any(operand.shape != base.shape for operand in base.inputs):
        return None
    left, right = (compared(operand) for operand in base.inputs)
    if left is None or right is None or left.base is not right.base:
        return None
    both = np.concatenate([left.rows, right.rows], axis=1)
    return ComparedRows(left.base, np.unique(both, axis=1)[rows])


def pooled(node: Node) -> tuple[Node, Windows] | None:
    """Return the map, and its windows, whose maxima ``node`` holds: pixels in raster order of one image. None if it holds
    others."""
    found = compared(node)
    sides = pixels(node), pixels(found.base) if found else None
    if found is None or sides[0] is None or sides[1] is None:
        return None
    output, (height, width) = sides[0], sides[1]
    y, x = np.divmod(found.rows, width)
    above, below, left, right = (edge.reshape(output) for edge in (y.min(1), y.max(1), x.min(1), x.max(1)))
    inside = (below - above + 1) * (right - left + 1)
    if not np.array_equal([len(np.unique(row)) for row in found.rows], inside.reshape(-1)):
        return None
    down, across = (windows_along(*edges) for edges in ((above, below, height, 0), (left, right, width, 1)))
    if down is None or across is None:
        return None
    kernel, strides, padding = zip(down, across, strict=True)
    channels = rows_columns(found.base)[1]
    return found.base, Windows(
        height=height,
        width=width,
        channels=channels,
        kernel=kernel,
        strides=strides,
        padding=padding,
        output=output,
        maximum=True,
    )


def pixels(node: Node) -> tuple[int, int] | None:
    """Return the (rows, columns) of the only image that a value holds, None if it is not a map."""
    sizes = [size for axis, size in enumerate(node.shape) if axis != channel_axis(node)]
    return (sizes[-2], sizes[-1]) if len(sizes) >= 2 and all(size == 1 for size in sizes[:-2]) else None


def windows_along(first: Index, last: Index, length: int, axis: int) -> tuple[int, int, int] | None:
    """Return (kernel, stride, padding) of the windows that read from ``first`` to ``last`` of ``length`` pixels, both by
    (row, column) of the result; None if the other axis matters, or no windows that the engine has do so."""
    alike = np.moveaxis(np.stack([first, last]), axis + 1, 1)  # [first, last], along the axis, across it
    if (alike != alike[:, :, :1]).any():
        return None
    starts, ends = alike[:, :, 0]
    for stride, kernel in product(range(1, MOST_STRIDE + 1), range(1, SIDE + 1)):
        for padding in range(kernel):
            begin = np.arange(len(starts)) * stride - padding
            if np.array_equal(starts, np.maximum(begin, 0)) and np.array_equal(ends, np.minimum(begin + kernel, length) - 1):
                return kernel, stride, padding
    return None
