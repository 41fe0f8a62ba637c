"""One ONNX node seen while it is being read: operands already converted, attributes with defaults, ways to refuse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from edgewright.passes.ir import Array, Node, Op, Shape, make
from edgewright.passes.ops import Constant, Reshape, Slice, Transpose, value_of
from edgewright.passes.ops.groups import CARRYING_INTEGERS


class Unsupported(Exception):
    """This node cannot be expressed; the text says why, `help` what the user can do."""

    def __init__(self, because: str, help_text: str = "") -> None:
        super().__init__(because)
        self.because = because
        self.help = help_text or "export a variant of the model without it, or ask for the operator to be added"


Results = Node | Sequence[Node]
Reader = Callable[["Site"], Results]
READERS: dict[str, Reader] = {}


def check_integers(results: Sequence[Node]) -> None:
    """Unsupported where one is an integer that is computed from an input: ids and masks are only moved as integers."""
    for made in results:
        known = all(isinstance(operand.op, Constant) for operand in made.inputs)
        if not (made.type.is_float or known or isinstance(made.op, CARRYING_INTEGERS)):
            raise Unsupported(
                "it computes integers from an integer input",
                "cast its operand to float32 first, or give the model what it computes as an input",
            )


def reads(*op_types: str) -> Callable[[Reader], Reader]:
    """Register a function as the reader of ONNX operators of the default domain."""

    def register(function: Reader) -> Reader:
        for op_type in op_types:
            READERS[op_type] = function
        return function

    return register


@dataclass(frozen=True, slots=True)
class Site:
    """An ONNX node with its converted operands (None where an optional one is left out)."""

    node: ir.Node
    opset: int
    operands: tuple[Node | None, ...]
    origin: tuple[str, ...]

    def has(self, index: int) -> bool:
        """Whether an optional input is given."""
        return index < len(self.operands) and self.operands[index] is not None

    def input(self, index: int) -> Node:
        """A required input."""
        operand = self.operands[index] if index < len(self.operands) else None
        if operand is None:
            raise Unsupported(f"input {index} is missing")
        return operand

    def constant(self, index: int, what: str) -> Array:
        """The value of an input that has to be known now."""
        value = value_of(self.input(index))
        if value is None:
            raise Unsupported(
                f"its {what} is computed at run time",
                "pin all input dimensions with --shape NAME=1,... so that it becomes a constant",
            )
        return value

    def ints(self, name: str) -> tuple[int, ...] | None:
        """An integer-list attribute."""
        attribute = self.node.attributes.get(name)
        return None if attribute is None else tuple(int(i) for i in attribute.as_ints())

    def integer(self, name: str, default: int) -> int:
        """An integer attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else int(attribute.as_int())

    def real(self, name: str, default: float) -> float:
        """A float attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else float(attribute.as_float())

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        attribute = self.node.attributes.get(name)
        return default if attribute is None else str(attribute.as_string())

    def axes(self, index: int, since: int) -> tuple[int, ...] | None:
        """Axes given by attribute before opset `since` and by input from there on; None when left out."""
        if self.opset < since:
            return self.ints("axes")
        return tuple(int(a) for a in self.constant(index, "axes").reshape(-1)) if self.has(index) else None

    def make(self, op: Op, *inputs: Node) -> Node:
        """A graph node that comes from this ONNX node."""
        return make(op, *inputs, origin=self.origin)

    def value(self, array: Array) -> Node:
        """A constant that comes from this ONNX node."""
        return make(Constant(array), origin=self.origin)

    def scalar(self, number: float) -> Node:
        """A float constant of rank 0."""
        return self.value(np.asarray(number, np.float32))

    def reshape(self, x: Node, shape: Shape) -> Node:
        """x under another shape; x itself when it has it already."""
        return x if x.shape == shape else self.make(Reshape(shape), x)

    def transpose(self, x: Node, *perm: int) -> Node:
        """x with its axes permuted."""
        return self.make(Transpose(perm), x)

    def slice(self, x: Node, axis: int, start: int, stop: int, step: int = 1) -> Node:
        """Part of an axis; x itself when that is all of it."""
        if (start, stop, step) == (0, x.shape[axis], 1):
            return x
        return self.make(Slice(axis, start, stop, step), x)

    def axis(self, axis: int, rank: int) -> int:
        """A non-negative axis."""
        if not -rank <= axis < rank:
            raise Unsupported(f"axis {axis} is outside rank {rank}")
        return axis % rank

    def only_first_output(self) -> None:
        """Refuse when anything reads an output beyond the first."""
        for extra in self.node.outputs[1:]:
            if extra.uses() or extra.is_graph_output():
                raise Unsupported(f"its output {extra.name!r} is used, and only the first one is computed")
