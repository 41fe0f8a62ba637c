"""What the tables of cases share: how a case is registered, and layers of random weights."""

from __future__ import annotations

from collections.abc import Callable

from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT8, INT32, Int
from edgewright.passes.ops import (
    LayerNormalization,
    Linear,
    Requantise,
    RMSNormalization,
)

from tests.targets.cpu.lowered import Draw

Make = Callable[[Draw], Node | tuple[Node, ...]]


class Cases(dict[str, dict[str, Make]]):
    """Cases by family and name."""

    def case(self, family: str, name: str) -> Callable[[Make], Make]:
        def register(make_case: Make) -> Make:
            assert name not in self.setdefault(family, {}), name
            self[family][name] = make_case
            return make_case

        return register


def linear(d: Draw, x: Node, outs: int) -> Node:
    """A product with bias, float or integer as its operand."""
    if x.type.is_float:
        return d(Linear(), x, d.real(outs, x.shape[-1], scale=0.5), d.real(outs))
    w = d.integers(outs, x.shape[-1])
    return d(Linear(), x, w, d.integers(outs, low=-2000, high=2000, dtype="int32"))


def requantise(d: Draw, acc: Node, shape: tuple[int, ...], elem: Int = INT8, zero_point: int = 0) -> Node:
    """Factors of a shape such that few results saturate."""
    shift = {8: 23, 16: 15}[elem.bits] if acc.elem == INT32 else {8: 16, 16: 15}[elem.bits]
    multiplier = d.integers(*shape, low=1 << 15, high=(1 << 16) - 1, dtype="int32")
    return d(Requantise(zero_point, elem), acc, multiplier, d.integers(*shape, low=shift, high=shift + 1))


def integer_norm(
    d: Draw, x: Node, elem: Int = INT8, op: type[LayerNormalization] | type[RMSNormalization] = LayerNormalization
) -> Node:
    width = x.shape[-1]
    multiplier = d.integers(width, low=-60000, high=60000, dtype="int32")
    offset = d.integers(width, low=-(1 << 24), high=1 << 24, dtype="int64")
    shift = 22 if elem == INT8 else 14
    return d(op(1e-6, eps_term=12345, shift=shift, elem=elem), x, multiplier, offset)
