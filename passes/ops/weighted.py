"""What products of values with a constant weight share in integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgewright.passes.ir.op import Allowed, Op, fixed
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops.arith import product_bound


class Weighted(Op):
    """Operands (x, weight of one filter per channel, bias (channels,) or none); on integers int8, int8, int32."""

    __slots__ = ()

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("weight", values[1], -127, 127)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return product_bound(types[1].shape, values[1], values[2:])
