"""Functions of one float: what they share, and those with a formula of numpy's."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, Array, Op, TensorType
from edgewright.passes.ir.facts import AS_TABLE, FLOAT_ONLY, ONE_OPERATION, of_one_value
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


class Unary(Op):
    """f(x), element by element, in float32. A subclass gives the function and its facts; its fields are attributes."""

    __slots__ = ()

    @abstractmethod
    def f(self, x: Array) -> Array:
        """Return the value in any float precision; `eval` rounds it to float32."""

    def expect_attributes(self) -> None:
        """Raise InferError where an attribute has no meaning."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 1)
        expect_float(*types)
        self.expect_attributes()
        return TensorType(types[0].shape, F32)

    def eval(self, *arrays: Array) -> Array:
        (x,) = arrays
        return float32(self.f(x))


_SIMPLE = of_one_value(
    affine=False, accumulates=False, table=False, on_host=False, levels=FLOAT_ONLY, instructions=ONE_OPERATION
)  # facts of more than one


@dataclass(frozen=True, slots=True)
class Exp(Unary):
    """e to the x."""

    facts = of_one_value(
        affine=False, accumulates=False, table=False, on_host=False, levels=FLOAT_ONLY, instructions=(7.8, AS_TABLE)
    )

    def f(self, x: Array) -> Array:
        return np.asarray(np.exp(x))


@dataclass(frozen=True, slots=True)
class Neg(Unary):
    """-x."""

    facts = of_one_value(
        affine=True, accumulates=True, table=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION
    )

    def f(self, x: Array) -> Array:
        return np.asarray(-x)


@dataclass(frozen=True, slots=True)
class Reciprocal(Unary):
    """1 / x."""

    facts = of_one_value(
        affine=False, accumulates=False, table=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION
    )

    def f(self, x: Array) -> Array:
        return np.asarray(1 / np.asarray(x, np.float32))


@dataclass(frozen=True, slots=True)
class Sign(Unary):
    """1 above zero, -1 below, 0 at zero."""

    facts = _SIMPLE

    def f(self, x: Array) -> Array:
        return np.asarray(np.sign(x))


@dataclass(frozen=True, slots=True)
class Sqrt(Unary):
    """Square root; nan below zero."""

    facts = _SIMPLE

    def f(self, x: Array) -> Array:
        return np.asarray(np.sqrt(x))
