"""Values without operands: constants, and what the caller gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, Array, Elem, Node, Op, Quant, Shape, TensorType, elem_of, expect, make
from edgewright.passes.ir.facts import of_a_source


@dataclass(frozen=True, slots=True, eq=False)
class Constant(Op):
    """A read-only array kept in the dtype it was given (float64 and float16 become float32)."""

    facts = of_a_source()

    value: Array

    def __post_init__(self) -> None:
        value = np.asarray(self.value)
        dtype = np.dtype(np.float32) if value.dtype.kind == "f" else value.dtype
        owned = np.array(value, dtype=dtype, order="C")
        owned.setflags(write=False)
        object.__setattr__(self, "value", owned)

    def infer(self, *types: TensorType) -> TensorType:
        expect(not types, "takes no operands")
        return TensorType(self.value.shape, elem_of(self.value.dtype))

    def eval(self, *arrays: Array) -> Array:
        return self.value

    def __repr__(self) -> str:
        return "Constant()"


def constant(value: Array, origin: Iterable[str] = (), quant: Quant | None = None) -> Node:
    """Return a Constant node of the array's shape and dtype."""
    return make(Constant(value), origin=origin, quant=quant)


def value_of(node: Node) -> Array | None:
    """Return the array of a Constant node, None for any other."""
    return node.op.value if isinstance(node.op, Constant) else None


def array_of(node: Node) -> Array:
    """The array of a node that is known to be a Constant."""
    assert isinstance(node.op, Constant), node
    return node.op.value


def scalar_of(node: Node) -> float | None:
    """The number in a constant of one element, None for any other node."""
    value = value_of(node)
    return float(value.reshape(())) if value is not None and value.size == 1 else None


@dataclass(frozen=True, slots=True)
class Input(Op):
    """A value the caller gives. The name is the key in `interpret(graph, {name: array})`.

    `unbatched`: the model's own shape is that after the leading 1, which counts samples. `allowed`: lowest and highest
    integer that it may hold, where its uses alone do not say it.
    """

    facts = of_a_source()

    name: str
    type: TensorType
    unbatched: bool = False
    allowed: tuple[int, int] | None = None

    def infer(self, *types: TensorType) -> TensorType:
        expect(not types, "takes no operands")
        return self.type

    def eval(self, *arrays: Array) -> Array:
        raise RuntimeError(f"no value given for input {self.name}")


def graph_input(name: str, shape: Shape, elem: Elem = F32, unbatched: bool = False) -> Node:
    """Return an Input node; its origin is its name."""
    return make(Input(name, TensorType(shape, elem), unbatched), origin=(name,))
