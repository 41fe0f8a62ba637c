"""Mask arithmetic: tabulate whatever a model computes from one element of an integer input.

Exporters turn an attention mask into something to add to scores by casts, comparisons, subtractions, expansions and
selections, differently in every version.  All of these are functions of one element of the mask, so each element of the
result is known for a 0 and for a 1.  Both are computed now, and the graph gets `Where(mask, value of 1, value of 0)`.

An input that is compared with more than one number, or with one beyond 1, does not hold a mask but counts (lengths before
padding).  Then the result is known for every count up to the largest that it is compared with, and the graph gets
`Gather(table, count)`; larger counts are outside the range of the input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from edgewright.frontend.canonical.scores import LOWEST
from edgewright.frontend.onnx_reading.checks_values import check_followed
from edgewright.frontend.onnx_reading.reference import evaluate
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.input_ranges import input_uses
from edgewright.passes.ir import Array, Graph, Node, Shape, make
from edgewright.passes.ops import Gather, Reshape, Slice, Where, constant

_LARGEST = 1 << 22  # elements of a value that is followed, over all values of its source
_MOST_COUNTS = 1 << 12  # every operator is evaluated once for each
# fmt: off
ELEMENTWISE = frozenset((
    "Abs", "Add", "And", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "Cast", "CastLike", "Clip", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Identity", "IsInf", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow",
    "Sign", "Sub", "Where", "Xor",
))
_MOVEMENT = frozenset((
    "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
))
# fmt: on
_COMPARISONS = frozenset(("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"))
_LINEAR = _MOVEMENT | {"Add", "Cast", "CastLike", "Mul", "Neg", "Sub"}
BROADCASTING = frozenset(("Add", "And", "Div", "Mul", "Sub", "Where"))
FOLLOWED = ELEMENTWISE | _MOVEMENT
KEEPS_VALUES = _MOVEMENT | {"Cast"}  # converted like any others as well: they may carry token ids


class CountsNeeded(Exception):
    """An input that was followed as a mask, or as fewer counts, is compared with numbers up to `count - 1`."""

    def __init__(self, source: Node, count: int) -> None:
        super().__init__(f"{source.name} holds counts below {count}")
        self.source = source
        self.count = count


@dataclass(frozen=True, slots=True)
class Bits:
    """A value whose element i is levels[v][i] if element index[i] of the integer input `source` is v: 0 or 1 of a mask, or
    a count.

    index is -1 for an element that depends on nothing; all arrays have the value's shape. linear: the levels differ by one
    step, as those of the input itself do.
    """

    source: Node
    index: Array
    levels: tuple[Array, ...]
    linear: bool

    @staticmethod
    def of_input(source: Node, dtype: np.dtype[np.generic], count: int = 2) -> Bits:
        """Return the input itself, below `count`. CompileError if it is too large."""
        check_followed(source, count)
        shape = source.shape
        index = np.arange(source.type.size, dtype=np.int64).reshape(shape)
        return Bits(source, index, tuple(np.full(shape, v, dtype) for v in range(count)), dtype != np.bool_)

    def node(self, origin: tuple[str, ...], broadcast_with: Sequence[Shape] = ()) -> Node:
        """Return the value as a graph node: Where on the mask, Gather by the counts. The node may be shorter than the value
        (1 along axes that repeat) if broadcasting it with these shapes restores the value's. Minus infinity becomes the
        lowest float32, so that 0 times it is 0."""
        index, *levels = self.index, *self.levels
        if broadcast_with:
            short = _shortened(index, *levels)
            with suppress(ValueError):  # the operator refuses shapes that do not fit
                if np.broadcast_shapes(short[0].shape, *broadcast_with) == np.broadcast_shapes(index.shape, *broadcast_with):
                    index, *levels = short
        if len(levels) > 2:
            return self._by_count(index, levels, origin)
        of_zero, of_one = levels
        flat = np.maximum(index, 0)
        if np.array_equal(flat.reshape(-1), np.arange(self.source.type.size)):
            mask = self.source
            if mask.shape != index.shape:
                mask = make(Reshape(index.shape), mask, origin=origin)
        else:
            line = make(Reshape((self.source.type.size,)), self.source, origin=origin)
            mask = make(Gather(0), line, constant(flat), origin=origin)
        return make(Where(), mask, *(constant(_plain(x), origin) for x in (of_one, of_zero)), origin=origin)

    def _by_count(self, index: Array, levels: Sequence[Array], origin: tuple[str, ...]) -> Node:
        """Return a lookup of the value by the count; of a boolean, and a choice, if the value takes only two."""
        table = np.stack(levels)
        low, high = table.min(), table.max()
        chosen = table == high
        if not np.all(chosen | (table == low)):
            return self._looked_up(index, _finite(table), origin)
        bits = self._looked_up(index, chosen, origin)
        if table.dtype == np.bool_ and low != high:
            return bits
        return make(Where(), bits, *(constant(_plain(x), origin) for x in (high, low)), origin=origin)

    def _looked_up(self, index: Array, table: Array, origin: tuple[str, ...]) -> Node:
        """Return table[source[index], position] for each position."""
        flat, size = np.maximum(index, 0).reshape(-1), self.source.type.size
        line = make(Reshape((size,)), self.source, origin=origin)
        used = np.unique(index[index >= 0])
        if used.size <= 1:  # one count for all positions
            place = int(used[0]) if used.size else 0
            line = line if size == 1 else make(Slice(0, place, place + 1), line, origin=origin)
            return make(Reshape(index.shape), make(Gather(0), constant(table), line, origin=origin), origin=origin)
        rows = make(Gather(0), constant(table.reshape(len(table), -1)), line, origin=origin)  # (counts, positions)
        row_values = make(Reshape((size * flat.size,)), rows, origin=origin)
        places = constant((flat * flat.size + np.arange(flat.size)).reshape(index.shape))
        return make(Gather(0), row_values, places, origin=origin)


def _finite(value: Array) -> Array:
    return np.maximum(np.asarray(value, np.float32), np.float32(LOWEST)) if value.dtype.kind == "f" else value


def _plain(value: Array) -> Array:
    """Return the constant of a choice, as a single number if it is the same everywhere."""
    value = _finite(np.asarray(value))
    first = value.reshape(-1)[:1]
    return first.reshape(()) if np.array_equal(np.broadcast_to(first, value.size), value.reshape(-1)) else value


def _shortened(*arrays: Array) -> tuple[Array, ...]:
    """Return the arrays, 1 long along every axis on which all of them repeat."""
    for axis in range(arrays[0].ndim):
        first = tuple(a.take([0], axis=axis) for a in arrays)
        if all(np.array_equal(np.broadcast_to(f, a.shape), a) for f, a in zip(first, arrays, strict=True)):
            arrays = first
    return arrays


def follow(node: ir.Node, opset: int, operands: Sequence[Bits | Array | None]) -> Bits | None:
    """Return the result of an ONNX node on bits of one input and constants; None if it is not a function of single elements,
    or ONNX's reference implementation refuses the operands.

    CountsNeeded if it compares the input with numbers that its levels do not cover.
    """
    try:
        return _follow(node, opset, operands)
    except CountsNeeded:
        raise
    except Exception:  # of any type: the operator's own reader then says what does not fit
        return None


def _follow(node: ir.Node, opset: int, operands: Sequence[Bits | Array | None]) -> Bits | None:
    bits = [operand for operand in operands if isinstance(operand, Bits)]
    if not bits or len(node.outputs) != 1 or any(b.source is not bits[0].source for b in bits):
        return None
    moves = node.op_type in _MOVEMENT and isinstance(operands[0], Bits) and len(bits) == 1
    if not moves and node.op_type not in ELEMENTWISE:
        return None
    count = len(bits[0].levels)
    if max(count * sum(b.index.size for b in bits), result_elements(node.op_type, _arrays(operands))) > _LARGEST:
        return None
    needed = _counts_compared(node, operands)
    if needed > _MOST_COUNTS:
        return None
    if needed > count:
        raise CountsNeeded(bits[0].source, needed)
    proto = ir.to_proto(node)
    levels = tuple(
        evaluate(proto, opset, [x.levels[v] if isinstance(x, Bits) else x for x in operands])[0] for v in range(count)
    )
    zero = levels[0]
    if moves:
        (index,) = evaluate(proto, opset, _arrays(operands))
    else:
        index = np.full(zero.shape, -1, np.int64)
        for b in bits:
            other = np.broadcast_to(b.index, zero.shape)
            if np.any((index >= 0) & (other >= 0) & (index != other)):
                return None
            index = np.maximum(index, other)
    free = index < 0
    if zero.dtype.kind not in "biuf" or any(level.dtype != zero.dtype for level in levels):
        return None
    if zero.dtype.kind == "f" and any(np.isnan(level).any() for level in levels):
        return None
    if zero.shape != index.shape or not all(np.array_equal(zero[free], level[free]) for level in levels):
        return None
    linear = node.op_type in _LINEAR and all(b.linear for b in bits) and zero.dtype.kind != "b"
    linear = linear and not (node.op_type == "Mul" and len(bits) > 1)
    return Bits(bits[0].source, index, levels, linear)


def _counts_compared(node: ir.Node, operands: Sequence[Bits | Array | None]) -> int:
    """Return how many levels of the source decide a comparison; 2 if those of a mask do."""
    bits = [operand for operand in operands if isinstance(operand, Bits)]
    if node.op_type not in _COMPARISONS or not all(b.linear for b in bits) or len(operands) != 2:
        return 2
    at_zero, at_one = (
        np.subtract(*(np.asarray(x.levels[v] if isinstance(x, Bits) else x, np.float64) for x in operands)) for v in range(2)
    )
    slope = at_one - at_zero
    with np.errstate(all="ignore"):
        turns = np.unique((-at_zero / slope)[(slope != 0) & np.isfinite(at_zero)])  # where the comparison changes
    turns = turns[turns >= 0]
    if turns.size == 0 or (turns.size == 1 and turns[0] <= 1):
        return 2
    return int(turns.max()) + 2


def check_masks(graph: Graph, counts: Mapping[str, int]) -> None:
    """Refuse (CompileError, N019) a graph that uses one input as a mask, or as counts (below `counts`, by name), and as
    something else."""
    refusals = []
    for node, uses in input_uses(graph).items():
        rows = [use for use in uses if isinstance(use, int)]
        if (len(rows) < len(uses) and max(rows, default=0) > 2) or max(rows, default=0) > counts.get(node.name, 1 << 62):
            because = "comparisons with token ids are not computed at run time; what is compared has to be 0 or 1, or a count"
            help_text = "give the model its attention mask as a separate input"
            message, at = f"input {node.name!r} is used as a mask and as indices", f"input {node.name!r}"
            refusals.append(Diagnostic("N019", message, at, because, help_text))
    if refusals:
        raise CompileError(refusals)


def _arrays(operands: Sequence[Bits | Array | None]) -> list[Array | None]:
    return [operand.index if isinstance(operand, Bits) else operand for operand in operands]
