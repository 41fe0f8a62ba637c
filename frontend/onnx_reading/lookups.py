"""Arithmetic on ids before they pick rows of a table: offsets, clamps, remainders, a padding id replaced by another.

Every such value is a function of one element of an integer input. It is worked out for a window of integers when the
model is read; the table's rows are then put in the order of the input itself, and which integers the model takes
(`Input.allowed`) is known: those whose row exists. A comparison of ids (with the padding's id) becomes a mask of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.bits import evaluate
from edgewright.frontend.onnx_reading.site import Unsupported
from edgewright.passes.input_ranges import Range
from edgewright.passes.ir import Array, Int, Node, elem_of, make
from edgewright.passes.ops import Concat, Gather, Slice, constant, value_of

WINDOW = 1 << 16
"""Integers from -WINDOW to WINDOW - 1 are tried, or as many as the input's type has."""
_LARGEST_TABLE = 1 << 26  # elements
_COLUMNS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """A value whose every element is values[x - low] + offset, x the element of the integer node `source` in its place.

    `offset` is an integer array that broadcasts against the value (0 where all elements are treated alike).
    """

    source: Node
    low: int
    values: Array
    offset: Array

    @staticmethod
    def of_input(source: Node, dtype: np.dtype[np.generic]) -> Lookup:
        """The input itself."""
        elem = elem_of(dtype)
        assert isinstance(elem, Int)
        low, high = max(elem.lowest, -WINDOW), min(elem.highest, WINDOW - 1)
        return Lookup(source, low, np.arange(low, high + 1).astype(dtype), np.zeros((), np.int64))

    @property
    def is_plain(self) -> bool:
        """Whether the value is the source's."""
        return not self.offset.any() and bool(np.array_equal(self.values, np.arange(self.low, self.low + len(self.values))))

    def on(self, source: Node) -> Lookup:
        """The same function of other elements. ValueError where elements are not treated alike."""
        if self.offset.ndim:
            raise ValueError("ids of different offsets are moved")
        return Lookup(source, self.low, self.values, self.offset)


def combined(node: ir.Node, opset: int, operands: Sequence[Lookup | Array | None]) -> Lookup | None:
    """An elementwise node on functions of the same source and constants; None where it is no such function."""
    own = [operand for operand in operands if isinstance(operand, Lookup)]
    first = own[0]
    if any(o.source is not first.source or o.low != first.low or o.offset.ndim for o in own) or len(node.outputs) != 1:
        return None
    flat: list[Array | None] = []
    for operand in operands:
        if isinstance(operand, np.ndarray) and operand.size > 1 and (operand != operand.reshape(-1)[0]).any():
            return _shifted(node, operands)
        flat.append(operand.values if isinstance(operand, Lookup) else None if operand is None else operand.reshape(-1)[:1])
    if not _keep_shape(first.source, *(o for o in operands if isinstance(o, np.ndarray))):
        return None
    try:
        values = evaluate(node, opset, flat)
    except Exception:  # ONNX's reference implementation raises what it likes; the reader then says what does not fit
        return None
    if values.dtype.kind not in "biuf" or values.shape != first.values.shape:
        return None
    return Lookup(first.source, first.low, values, np.zeros((), np.int64))


def _keep_shape(source: Node, *arrays: Array) -> bool:
    """Whether what is computed of a source and these constants has the source's shape."""
    try:
        return np.broadcast_shapes(source.shape, *(array.shape for array in arrays)) == source.shape
    except ValueError:  # they do not broadcast, which is the operator's to refuse
        return False


def _shifted(node: ir.Node, operands: Sequence[Lookup | Array | None]) -> Lookup | None:
    """Each element has an offset of its own, as columns of categories in one table have."""
    if node.op_type not in ("Add", "Sub") or len(operands) != 2:
        return None
    a, b = operands
    if node.op_type == "Add" and isinstance(b, Lookup):
        a, b = b, a
    if not isinstance(a, Lookup) or not isinstance(b, np.ndarray) or b.dtype.kind not in "iu":
        return None
    if not _keep_shape(a.source, b):
        return None
    return Lookup(a.source, a.low, a.values, b.astype(np.int64) if node.op_type == "Add" else -b.astype(np.int64))


def picked(table: Node, lookup: Lookup, origin: tuple[str, ...]) -> tuple[Node, Range]:
    """Gather(0)(table, value) on the source itself, and the integers that it may hold. Unsupported where none may."""
    rows = value_of(table)
    if rows is None or lookup.values.dtype.kind not in "iu":
        raise Unsupported("its rows are computed, and its indices too")
    if not lookup.offset.ndim:
        low, high = _valid(lookup.values.astype(np.int64), lookup.low, rows.shape[0])
        return _rows(table, rows, lookup, 0, (low, high), origin), (low, high)
    offset = np.broadcast_to(lookup.offset, lookup.source.shape)
    columns = offset.reshape(-1, offset.shape[-1]) if offset.ndim else offset.reshape(1, 1)
    if not (columns == columns[0]).all() or columns.shape[1] > _COLUMNS:
        raise Unsupported("its indices have offsets that differ along more than the last axis")
    parts, ranges, axis = [], [], len(offset.shape) - 1
    for column, shift in enumerate(columns[0].tolist()):
        low, high = _valid(lookup.values.astype(np.int64) + shift, lookup.low, rows.shape[0])
        ranges.append((low, high))
        source = make(Slice(axis, column, column + 1, 1), lookup.source, origin=origin)
        one = Lookup(source, lookup.low, lookup.values, lookup.offset)
        parts.append((one, shift))
    allowed = (max(r[0] for r in ranges), max(r[1] for r in ranges))
    made = [_rows(table, rows, one, shift, allowed, origin) for one, shift in parts]
    return (made[0] if len(made) == 1 else make(Concat(axis), *made, origin=origin)), allowed


def tabled(lookup: Lookup, origin: tuple[str, ...]) -> Node:
    """The value itself as a node: integers or booleans as integers, reals as float32."""
    if lookup.is_plain:
        return lookup.source
    kind = np.float32 if lookup.values.dtype.kind == "f" else np.int64
    table = constant(_arranged(lookup.values.astype(kind), lookup.low), origin)
    return make(Gather(0), table, lookup.source, origin=origin)


def _valid(values: Array, low: int, rows: int) -> Range:
    """The longest run of integers whose values are rows."""
    good = np.concatenate([[False], (values >= 0) & (values < rows), [False]])
    edges = np.flatnonzero(good[1:] != good[:-1])
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        raise Unsupported(f"no id picks one of its {rows} rows")
    longest = int((stops - starts).argmax())
    return low + int(starts[longest]), low + int(stops[longest]) - 1


def _rows(table: Node, rows: Array, lookup: Lookup, shift: int, allowed: Range, origin: tuple[str, ...]) -> Node:
    low, high = allowed
    indices = lookup.values[low - lookup.low : high + 1 - lookup.low].astype(np.int64) + shift
    indices = np.clip(indices, 0, len(rows) - 1)
    if low == 0 and np.array_equal(indices, np.arange(len(rows))):
        return make(Gather(0), table, lookup.source, origin=origin)
    order = _arranged(indices, low)
    if len(order) > 2 * len(rows) + 64:  # many ids share rows
        return make(Gather(0), table, make(Gather(0), constant(order, origin), lookup.source, origin=origin), origin=origin)
    if order.size * max(1, rows[0].size) > _LARGEST_TABLE:
        raise Unsupported(f"its table has {rows.shape[0]:,} rows, too many to be put in another order")
    return make(Gather(0), constant(rows[order], origin), lookup.source, origin=origin)


def _arranged(values: Array, low: int) -> Array:
    """values[x - low] at place x, from the end for negative x; integers below a positive low get the first value."""
    negative = max(0, -low)
    front = values[negative:]
    filled = np.repeat(values[:1], max(0, low), axis=0)
    return np.concatenate([filled, front, values[:negative]])
