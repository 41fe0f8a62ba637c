"""Arithmetic on ids before they pick rows of a table: offsets, clamps, remainders, a padding id replaced by another.

Every such value is a function of one element of an integer input. It is tabulated for a window of integers when the model
is read; the table's rows are then reordered to match the input itself, and the integers that the model accepts
(`Input.allowed`) are those whose row exists. A comparison of ids (with the padding's id) becomes a separate mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.reference import evaluate
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
    """A value whose every element is values[x - low] + offset, where x is the same element of the integer node `source`.

    `offset` is an integer array that broadcasts against the value (a scalar 0 if all elements are treated alike).
    """

    source: Node
    low: int
    values: Array
    offset: Array

    @staticmethod
    def of_input(source: Node, dtype: np.dtype[np.generic]) -> Lookup:
        """Return the input itself."""
        elem = elem_of(dtype)
        assert isinstance(elem, Int)
        low, high = max(elem.lowest, -WINDOW), min(elem.highest, WINDOW - 1)
        return Lookup(source, low, np.arange(low, high + 1).astype(dtype), np.zeros((), np.int64))

    @property
    def is_plain(self) -> bool:
        """Whether the value equals the source's."""
        return not self.offset.any() and bool(np.array_equal(self.values, np.arange(self.low, self.low + len(self.values))))

    def on(self, source: Node) -> Lookup:
        """Return the same function of another node. ValueError if elements are not treated alike."""
        if self.offset.ndim:
            raise ValueError("ids of different offsets are moved")
        return Lookup(source, self.low, self.values, self.offset)


def combined(node: ir.Node, opset: int, operands: Sequence[Lookup | Array | None]) -> Lookup | None:
    """Return an elementwise node on functions of one source and constants; None if it is not such a function."""
    lookups = [operand for operand in operands if isinstance(operand, Lookup)]
    first = lookups[0]
    if any(o.source is not first.source or o.low != first.low or o.offset.ndim for o in lookups) or len(node.outputs) != 1:
        return None
    flat: list[Array | None] = []
    for operand in operands:
        if isinstance(operand, np.ndarray) and operand.size > 1 and (operand != operand.reshape(-1)[0]).any():
            return _shifted(node, operands)
        flat.append(operand.values if isinstance(operand, Lookup) else None if operand is None else operand.reshape(-1)[:1])
    if not _keep_shape(first.source, *(o for o in operands if isinstance(o, np.ndarray))):
        return None
    try:
        (values,) = evaluate(ir.to_proto(node), opset, flat)
    except Exception:  # of any type, from ONNX's reference implementation: the reader then says what does not fit
        return None
    if values.dtype.kind not in "biuf" or values.shape != first.values.shape:
        return None
    return Lookup(first.source, first.low, values, np.zeros((), np.int64))


def _keep_shape(source: Node, *arrays: Array) -> bool:
    """Return whether broadcasting a source with these constants gives the source's shape."""
    try:
        return np.broadcast_shapes(source.shape, *(array.shape for array in arrays)) == source.shape
    except ValueError:  # they do not broadcast, which the operator refuses
        return False


def _shifted(node: ir.Node, operands: Sequence[Lookup | Array | None]) -> Lookup | None:
    """Return a sum or difference in which each element has an offset of its own, as columns of categories in one table have."""
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
    """Return Gather(0)(table, value) on the source itself, and the source's range. Unsupported if no integer picks a row."""
    rows = value_of(table)
    if rows is None or lookup.values.dtype.kind not in "iu":
        raise Unsupported("its rows and its indices are both computed")
    if not lookup.offset.ndim:
        low, high = _valid(lookup.values.astype(np.int64), lookup.low, rows.shape[0])
        return _rows(table, rows, lookup, 0, (low, high), origin), (low, high)
    offset = np.broadcast_to(lookup.offset, lookup.source.shape)
    columns = offset.reshape(-1, offset.shape[-1]) if offset.ndim else offset.reshape(1, 1)
    if not (columns == columns[0]).all() or columns.shape[1] > _COLUMNS:
        raise Unsupported("its indices have offsets that differ along more than the last axis")
    shifts, axis = columns[0].tolist(), len(offset.shape) - 1
    ranges = [_valid(lookup.values.astype(np.int64) + shift, lookup.low, rows.shape[0]) for shift in shifts]
    allowed = (max(low for low, _ in ranges), max(high for _, high in ranges))
    parts = []
    for column, shift in enumerate(shifts):
        source = make(Slice(axis, column, column + 1, 1), lookup.source, origin=origin)
        parts.append(_rows(table, rows, replace(lookup, source=source), shift, allowed, origin))
    return (parts[0] if len(parts) == 1 else make(Concat(axis), *parts, origin=origin)), allowed


def tabled(lookup: Lookup, origin: tuple[str, ...]) -> Node:
    """Return the value itself as a node: integers or booleans as integers, reals as float32."""
    if lookup.is_plain:
        return lookup.source
    kind = np.float32 if lookup.values.dtype.kind == "f" else np.int64
    table = constant(_arranged(lookup.values.astype(kind), lookup.low), origin)
    return make(Gather(0), table, lookup.source, origin=origin)


def _valid(values: Array, low: int, rows: int) -> Range:
    """Return the longest run of integers whose values are rows."""
    valid = np.concatenate([[False], (values >= 0) & (values < rows), [False]])
    edges = np.flatnonzero(valid[1:] != valid[:-1])
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
        raise Unsupported(f"its table has {rows.shape[0]:,} rows, too many to be reordered")
    return make(Gather(0), constant(rows[order], origin), lookup.source, origin=origin)


def _arranged(values: Array, low: int) -> Array:
    """Return values[x - low] at index x, from the end for negative x; integers below a positive low get the first value."""
    negative = max(0, -low)
    below_low = np.repeat(values[:1], max(0, low), axis=0)
    return np.concatenate([below_low, values[negative:], values[:negative]])
