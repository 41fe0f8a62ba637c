from __future__ import annotations

from dataclasses import dataclass

from edgewright.passes.ir.facts import of_a_source
from edgewright.passes.ir.graph import Node, make
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, Elem, Shape, TensorType


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
