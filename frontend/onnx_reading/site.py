"""An ONNX node while it is converted: its converted operands, its attributes with defaults, and how to refuse it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from edgewright.passes.ir import Array, Node, Op, Shape, make
from edgewright.passes.ops import Constant, Reshape, Slice, Transpose, value_of
from edgewright.passes.ops.groups import CARRYING_INTEGERS


class Unsupported(Exception):
    """This node cannot be converted; the text says why, `help` what the user can do."""

    def __init__(self, because: str, help_text: str = "") -> None:
        super().__init__(because)
        self.because = because
        self.help = help_text or "export a variant of the model without it, or ask for the operator to be added"


Results = Node | Sequence[Node]
Reader = Callable[["Site"], Results]
READERS: dict[str, Reader] = {}


def integer_of(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute."""
    attribute = node.attributes.get(name)
    return default if attribute is None else int(attribute.as_int())


def require_floats(verb: str, *operands: Node) -> None:
    """Refuse operands that are integers; `verb` says what the node does with them."""
    if not all(operand.type.is_float for operand in operands):
        raise Unsupported(f"it {verb} integers that are computed at run time")


def check_integers(results: Sequence[Node]) -> None:
    """Refuse results that are integers computed from an input: ids and masks are only moved as integers."""
    for result in results:
        known = all(isinstance(operand.op, Constant) for operand in result.inputs)
        if not (result.type.is_float or known or isinstance(result.op, CARRYING_INTEGERS)):
            help_text = "cast its operand to float32 first, or give the model what it computes as an input"
            raise Unsupported("it computes integers from an integer input", help_text)


def reads(*op_types: str) -> Callable[[Reader], Reader]:
    """Register a function as the reader of ONNX operators of the default domain."""

    def register(function: Reader) -> Reader:
        for op_type in op_types:
            READERS[op_type] = function
        return function

    return register


@dataclass(frozen=True, slots=True)
class Site:
    """An ONNX node with its converted operands (None for an optional one that is omitted)."""

    node: ir.Node
    opset: int
    operands: tuple[Node | None, ...]
    origin: tuple[str, ...]

    def has(self, index: int) -> bool:
        """Return whether an optional input is present."""
        return index < len(self.operands) and self.operands[index] is not None

    def input(self, index: int) -> Node:
        """Return a required input."""
        operand = self.operands[index] if index < len(self.operands) else None
        if operand is None:
            raise Unsupported(f"input {index} is missing")
        return operand

    def constant(self, index: int, meaning: str) -> Array:
        """Return the value of an input that has to be constant; `meaning` names it in the refusal."""
        value = value_of(self.input(index))
        if value is None:
            help_text = "pin all input dimensions with --shape NAME=1,... so that it becomes a constant"
            raise Unsupported(f"its {meaning} is computed at run time", help_text)
        return value

    def ints(self, name: str) -> tuple[int, ...] | None:
        """Return an attribute that is a list of integers."""
        attribute = self.node.attributes.get(name)
        return None if attribute is None else tuple(int(i) for i in attribute.as_ints())

    def integer(self, name: str, default: int) -> int:
        """Return an integer attribute."""
        return integer_of(self.node, name, default)

    def real(self, name: str, default: float) -> float:
        """Return a float attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else float(attribute.as_float())

    def text(self, name: str, default: str) -> str:
        """Return a string attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else str(attribute.as_string())

    def axes(self, index: int, since: int) -> tuple[int, ...] | None:
        """Return the axes, an attribute before opset `since` and an input from it on; None if they are omitted."""
        if self.opset < since:
            return self.ints("axes")
        return self.integers(index, "axes") if self.has(index) else None

    def integers(self, index: int, meaning: str) -> tuple[int, ...]:
        """Return the values of a constant input as a flat list of integers."""
        return tuple(int(n) for n in self.constant(index, meaning).reshape(-1))

    def make(self, op: Op, *inputs: Node) -> Node:
        """Return a graph node whose origin is this ONNX node."""
        return make(op, *inputs, origin=self.origin)

    def value(self, array: Array) -> Node:
        """Return a constant whose origin is this ONNX node."""
        return make(Constant(array), origin=self.origin)

    def scalar(self, number: float) -> Node:
        """Return a float constant of rank 0."""
        return self.value(np.asarray(number, np.float32))

    def reshape(self, x: Node, shape: Shape) -> Node:
        """Return x reshaped, or x itself if it has that shape."""
        return x if x.shape == shape else self.make(Reshape(shape), x)

    def transpose(self, x: Node, *perm: int) -> Node:
        """Return x with its axes permuted."""
        return self.make(Transpose(perm), x)

    def slice(self, x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
        """Return part of an axis, or x itself if that is all of it."""
        if (start, stop, step) == (0, x.shape[axis], 1):
            return x
        return self.make(Slice(axis, start, stop, step), x)

    def axis(self, axis: int, rank: int) -> int:
        """Return the axis counted from 0."""
        if not -rank <= axis < rank:
            raise Unsupported(f"axis {axis} is outside rank {rank}")
        return axis % rank

    def only_first_output(self) -> None:
        """Refuse the node if an output beyond the first is used."""
        for extra in self.node.outputs[1:]:
            if extra.uses() or extra.is_graph_output():
                raise Unsupported(f"its output {extra.name!r} is used, and only the first one is computed")
