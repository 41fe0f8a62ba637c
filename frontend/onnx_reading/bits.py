"""Mask arithmetic: whatever a model computes from a mask of zeros and ones is one choice between two constants.

Exporters turn an attention mask into something to add to scores by casts, comparisons, subtractions, expansions and
selections, differently in every version.  All of these are functions of one element of the mask: each element of the
result is known once for a 0 and once for a 1.  Both are computed now, and the graph gets `Where(mask, one, zero)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.passes.diagnostics import CompileError, Diagnostic
from edgewright.passes.input_ranges import input_uses
from edgewright.passes.ir import Array, Graph, Node, Shape, make
from edgewright.passes.ops import Gather, Reshape, Where, constant
from onnx.reference import ReferenceEvaluator

LOWEST = float(np.finfo(np.float32).min)
_LARGEST = 1 << 22  # elements of a value that is followed
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
BROADCASTING = frozenset(("Add", "And", "Div", "Mul", "Sub", "Where"))
FOLLOWED = ELEMENTWISE | _MOVEMENT
KEEPS_VALUES = _MOVEMENT | {"Cast"}  # read like any others too: they may carry token ids


@dataclass(frozen=True, slots=True)
class Bits:
    """A value whose element i is one[i] where element index[i] of the mask `source` is 1, and zero[i] where it is 0.

    index is -1 where the element depends on nothing; all three arrays have the value's shape.
    """

    source: Node
    index: Array
    zero: Array
    one: Array

    @staticmethod
    def of_input(source: Node, dtype: np.dtype[np.generic]) -> Bits:
        """The mask itself."""
        shape = source.shape
        index = np.arange(source.type.size, dtype=np.int64).reshape(shape)
        return Bits(source, index, np.zeros(shape, dtype), np.ones(shape, dtype))

    def node(self, origin: tuple[str, ...], wanted: Sequence[Shape] = ()) -> Node:
        """As a graph node: Where on the mask. It may be shorter than the value (1 along axes that repeat) when
        `wanted` are the shapes it is broadcast with and they make up for that. Minus infinity becomes the lowest
        float32, so that 0 times it is 0."""
        index, zero, one = self.index, self.zero, self.one
        if wanted:
            short = _shortened(index, zero, one)
            with suppress(ValueError):  # shapes that do not fit are the operator's to refuse
                if np.broadcast_shapes(short[0].shape, *wanted) == np.broadcast_shapes(index.shape, *wanted):
                    index, zero, one = short
        flat = np.maximum(index, 0)
        if np.array_equal(flat.reshape(-1), np.arange(self.source.type.size)):
            mask = self.source
            if mask.shape != index.shape:
                mask = make(Reshape(index.shape), mask, origin=origin)
        else:
            line = make(Reshape((self.source.type.size,)), self.source, origin=origin)
            mask = make(Gather(0), line, constant(flat), origin=origin)
        return make(Where(), mask, *(constant(_plain(x), origin) for x in (one, zero)), origin=origin)


def _plain(value: Array) -> Array:
    """A choice's constant: one number where it is the same everywhere."""
    if value.dtype.kind == "f":
        value = np.maximum(np.asarray(value, np.float32), np.float32(LOWEST))
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
    """The result of an ONNX node on bits of one mask and constants; None when it is no function of single bits, or ONNX's
    reference implementation refuses the operands."""
    try:
        return _follow(node, opset, operands)
    except Exception:  # it raises what it likes: the operator's own reader then says what does not fit
        return None


def _follow(node: ir.Node, opset: int, operands: Sequence[Bits | Array | None]) -> Bits | None:
    bits = [operand for operand in operands if isinstance(operand, Bits)]
    if not bits or len(node.outputs) != 1 or any(b.source is not bits[0].source for b in bits):
        return None
    moves = node.op_type in _MOVEMENT and isinstance(operands[0], Bits) and len(bits) == 1
    if not moves and node.op_type not in ELEMENTWISE:
        return None
    if max(sum(b.index.size for b in bits), result_elements(node.op_type, _arrays(operands))) > _LARGEST:
        return None
    zero, one = (
        evaluate(node, opset, [getattr(x, which) if isinstance(x, Bits) else x for x in operands])
        for which in ("zero", "one")
    )
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
    if zero.dtype.kind not in "biuf" or one.dtype != zero.dtype:
        return None
    if zero.dtype.kind == "f" and (np.isnan(zero).any() or np.isnan(one).any()):
        return None
    if zero.shape != index.shape or not np.array_equal(zero[free], one[free]):
        return None
    return Bits(bits[0].source, index, zero, one)


def check_masks(graph: Graph) -> None:
    """Refuse a graph that takes one input for a mask and for something else. CompileError with N019."""
    found = []
    for node, uses in input_uses(graph).items():
        rows = [use for use in uses if isinstance(use, int)]
        if len(rows) < len(uses) and max(rows, default=0) > 2:
            found.append(
                Diagnostic(
                    "N019",
                    f"input {node.name!r} is used as a mask and as indices",
                    at=f"input {node.name!r}",
                    because="comparisons with token ids are not computed at run time; what is compared has to be 0 or 1",
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
