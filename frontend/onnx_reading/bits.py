"""Mask arithmetic: whatever a model computes from one element of an integer input is looked up.

Exporters turn an attention mask into something to add to scores by casts, comparisons, subtractions, expansions and
selections, differently in every version.  All of these are functions of one element of the mask: each element of the
result is known once for a 0 and once for a 1.  Both are computed now, and the graph gets `Where(mask, one, zero)`.

An input that is compared with more than one number, or with one beyond 1, holds no mask but counts (the lengths of what
is padded).  Then the result is known for every count up to the largest it is compared with, and the graph gets
`Gather(table, count)`; larger counts are outside of what the input may hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks_values import check_followed
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.input_ranges import input_uses
from edgewright.passes.ir import Array, Graph, Node, Shape, make
from edgewright.passes.ops import Gather, Reshape, Slice, Where, constant
from onnx.reference import ReferenceEvaluator

LOWEST = float(np.finfo(np.float32).min)
_LARGEST = 1 << 22  # elements of a value that is followed, for all that its source may hold
_MOST_COUNTS = 1 << 12  # for each of them, every operator is evaluated once
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
KEEPS_VALUES = _MOVEMENT | {"Cast"}  # read like any others too: they may carry token ids


class CountsNeeded(Exception):
    """An input that was followed as a mask, or as fewer counts, is compared with numbers up to `count - 1`."""

    def __init__(self, source: Node, count: int) -> None:
        super().__init__(f"{source.name} holds counts below {count}")
        self.source = source
        self.count = count


@dataclass(frozen=True, slots=True)
class Bits:
    """A value whose element i is levels[v][i] where element index[i] of the integer input `source` is v: 0 or 1 of a
    mask, or a count.

    index is -1 where the element depends on nothing; all arrays have the value's shape. linear: the levels differ by one
    step, as those of the input itself.
    """

    source: Node
    index: Array
    levels: tuple[Array, ...]
    linear: bool

    @staticmethod
    def of_input(source: Node, dtype: np.dtype[np.generic], count: int = 2) -> Bits:
        """The input itself, below `count`. CompileError where it is too large."""
        check_followed(source, count)
        shape = source.shape
        index = np.arange(source.type.size, dtype=np.int64).reshape(shape)
        return Bits(source, index, tuple(np.full(shape, v, dtype) for v in range(count)), dtype != np.bool_)

    def node(self, origin: tuple[str, ...], wanted: Sequence[Shape] = ()) -> Node:
        """As a graph node: Where on the mask, Gather by the counts. It may be shorter than the value (1 along axes that
        repeat) when `wanted` are the shapes it is broadcast with and they make up for that. Minus infinity becomes the
        lowest float32, so that 0 times it is 0."""
        index, *levels = self.index, *self.levels
        if wanted:
            short = _shortened(index, *levels)
            with suppress(ValueError):  # shapes that do not fit are the operator's to refuse
                if np.broadcast_shapes(short[0].shape, *wanted) == np.broadcast_shapes(index.shape, *wanted):
                    index, *levels = short
        if len(levels) > 2:
            return self._by_count(index, levels, origin)
        zero, one = levels
        flat = np.maximum(index, 0)
        if np.array_equal(flat.reshape(-1), np.arange(self.source.type.size)):
            mask = self.source
            if mask.shape != index.shape:
                mask = make(Reshape(index.shape), mask, origin=origin)
        else:
            line = make(Reshape((self.source.type.size,)), self.source, origin=origin)
            mask = make(Gather(0), line, constant(flat), origin=origin)
        return make(Where(), mask, *(constant(_plain(x), origin) for x in (one, zero)), origin=origin)

    def _by_count(self, index: Array, levels: Sequence[Array], origin: tuple[str, ...]) -> Node:
        """A table of what there is for each count; of integers where only two values are to choose from."""
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
        """table[source[index], position] for each position."""
        flat, size = np.maximum(index, 0).reshape(-1), self.source.type.size
        line = make(Reshape((size,)), self.source, origin=origin)
        used = np.unique(index[index >= 0])
        if used.size <= 1:  # one count for all
            place = int(used[0]) if used.size else 0
            line = line if size == 1 else make(Slice(0, place, place + 1), line, origin=origin)
            return make(Reshape(index.shape), make(Gather(0), constant(table), line, origin=origin), origin=origin)
        rows = make(Gather(0), constant(table.reshape(len(table), -1)), line, origin=origin)  # (counts, positions)
        every = make(Reshape((size * flat.size,)), rows, origin=origin)
        places = constant((flat * flat.size + np.arange(flat.size)).reshape(index.shape))
        return make(Gather(0), every, places, origin=origin)


def _finite(value: Array) -> Array:
    return np.maximum(np.asarray(value, np.float32), np.float32(LOWEST)) if value.dtype.kind == "f" else value


def _plain(value: Array) -> Array:
    """A choice's constant: one number where it is the same everywhere."""
    value = _finite(np.asarray(value))
    first = value.reshape(-1)[:1]
    return first.reshape(()) if np.array_equal(np.broadcast_to(first, value.size), value.reshape(-1)) else value


def _shortened(*arrays: Array) -> tuple[Array, ...]:
    """1 long along every axis on which all of the arrays repeat."""
    for axis in range(arrays[0].ndim):
        first = tuple(a.take([0], axis=axis) for a in arrays)
        if all(np.array_equal(np.broadcast_to(f, a.shape), a) for f, a in zip(first, arrays, strict=True)):
            arrays = first
    return arrays


def follow(node: ir.Node, opset: int, operands: Sequence[Bits | Array | None]) -> Bits | None:
    """The result of an ONNX node on bits of one input and constants; None when it is not a function of single elements, or
    ONNX's reference implementation refuses the operands.

    CountsNeeded when it compares the input with more than its levels cover.
    """
    try:
        return _follow(node, opset, operands)
    except CountsNeeded:
        raise
    except Exception:  # it raises what it likes: the operator's own reader then says what does not fit
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
    levels = tuple(evaluate(node, opset, [x.levels[v] if isinstance(x, Bits) else x for x in operands]) for v in range(count))
    zero = levels[0]
    if moves:
        index = evaluate(node, opset, [x.index if isinstance(x, Bits) else x for x in operands])
    else:
        index = np.full(zero.shape, -1, np.int64)
        for b in bits:
            own = np.broadcast_to(b.index, zero.shape)
            if np.any((index >= 0) & (own >= 0) & (index != own)):
                return None
            index = np.maximum(index, own)
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
    """What the source must stay below so that its levels decide a comparison; 2 where they do so of a mask."""
    bits = [operand for operand in operands if isinstance(operand, Bits)]
    if node.op_type not in _COMPARISONS or not all(b.linear for b in bits) or len(operands) != 2:
        return 2
    zero, one = (
        np.subtract(*(np.asarray(x.levels[v] if isinstance(x, Bits) else x, np.float64) for x in operands)) for v in range(2)
    )
    slope = one - zero
    with np.errstate(all="ignore"):
        turns = np.unique((-zero / slope)[(slope != 0) & np.isfinite(zero)])  # where the comparison changes
    turns = turns[turns >= 0]
    if turns.size == 0 or (turns.size == 1 and turns[0] <= 1):
        return 2
    return int(turns.max()) + 2


def check_masks(graph: Graph, counts: Mapping[str, int]) -> None:
    """Refuse a graph that takes one input for a mask, or for counts (below `counts`, by name), and for something else.
    CompileError with N019."""
    found = []
    for node, uses in input_uses(graph).items():
        rows = [use for use in uses if isinstance(use, int)]
        if (len(rows) < len(uses) and max(rows, default=0) > 2) or max(rows, default=0) > counts.get(node.name, 1 << 62):
            found.append(
                Diagnostic(
                    "N019",
                    f"input {node.name!r} is used as a mask and as indices",
                    at=f"input {node.name!r}",
                    because="comparisons with token ids are not computed at run time; what is compared has to be 0 or 1, or "
                    "a count",
                    help="give the model its attention mask as an input of its own",
                )
            )
    if found:
        raise CompileError(found)


def _arrays(operands: Sequence[Bits | Array | None]) -> list[Array | None]:
    return [operand.index if isinstance(operand, Bits) else operand for operand in operands]


def evaluate(node: ir.Node, opset: int, operands: Sequence[Array | None]) -> Array:
    """One node by ONNX's own definition."""
    proto = ir.to_proto(node)
    del proto.input[:]
    proto.input.extend(f"x{i}" if x is not None else "" for i, x in enumerate(operands))
    del proto.output[:]
    proto.output.append("y")
    feeds = {f"x{i}": x for i, x in enumerate(operands) if x is not None}
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in feeds.items()
    ]
    output = onnx.helper.make_empty_tensor_value_info("y")
    graph = onnx.helper.make_graph([proto], "one", inputs, [output])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    with np.errstate(all="ignore"):
        (result,) = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(result)
