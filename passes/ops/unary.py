"""What functions of one float share: a subclass gives the function and its facts."""

from __future__ import annotations

from abc import abstractmethod

from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


class Unary(Op):
    """f(x), element by element, in float32. Its attributes are the subclass's fields."""

    __slots__ = ()

    @abstractmethod
    def f(self, x: Array) -> Array:
        """The value in any float precision; rounded to float32 by `eval`."""

    def expect_attributes(self) -> None:
        """InferError where an attribute has no meaning."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        self.expect_attributes()
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(self.f(x))
