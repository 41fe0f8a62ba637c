"""Functions of two values that broadcast, and the choice between them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import INT32, Array, Op, TensorType, expect
from edgewright.passes.ir.facts import AS_TABLE, BOTH_LEVELS, FLOAT_ONLY, ONE_OPERATION, of_a_choice, of_two_numbers
from edgewright.passes.ops.arith import ACCUMULATOR_LIMIT, QUOTIENT_FRACTION_MAX, int64, quotient
from edgewright.passes.ops.numeric import accumulated, broadcast, expect_count, float32


class Binary(Op):
    """function(a, b) with numpy broadcasting, in float32. A subclass gives the function and its facts."""

    __slots__ = ()

    @property
    @abstractmethod
    def function(self) -> np.ufunc:
        """What gives the value; exact int64 of int64 operands where integers are allowed."""

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        return broadcast(*types)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return int64(self.function(int64(a), int64(b))) if a.dtype.kind in "iu" else float32(self.function(a, b))


@dataclass(frozen=True, slots=True)
class Add(Binary):
    """a + b."""

    facts = of_two_numbers(affine=True, accumulates=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION)
    function = np.add


@dataclass(frozen=True, slots=True)
class Sub(Binary):
    """a - b."""

    facts = of_two_numbers(affine=True, accumulates=False, on_host=True, levels=FLOAT_ONLY, instructions=ONE_OPERATION)
    function = np.subtract


@dataclass(frozen=True, slots=True)
class Mul(Binary):
    """a * b. Integers: int8 operands, both with zero point 0, into int32."""

    facts = of_two_numbers(affine=True, accumulates=True, on_host=True, levels=BOTH_LEVELS, instructions=ONE_OPERATION)
    function = np.multiply

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        return TensorType(np.broadcast_shapes(*(t.shape for t in types)), accumulated(*types))


@dataclass(frozen=True, slots=True)
class Div(Binary):
    """a / b. Integers, both with zero point 0, into int32: `arith.quotient` of a and b + offset, with `fraction` bits."""

    facts = of_two_numbers(affine=True, accumulates=True, on_host=True, levels=BOTH_LEVELS, instructions=(0.75, 10.0))
    function = np.divide

    fraction: int = 0
    offset: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        if any(t.is_float for t in types):
            return broadcast(*types)
        expect(0 <= self.fraction <= QUOTIENT_FRACTION_MAX, f"{self.fraction} fractional bits")
        expect(abs(self.offset) < ACCUMULATOR_LIMIT, f"offset {self.offset}")
        return TensorType(np.broadcast_shapes(*(t.shape for t in types)), INT32)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        if a.dtype.kind == "f":
            return float32(np.divide(a, b))
        return quotient(a, int64(b) + self.offset, self.fraction)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return ACCUMULATOR_LIMIT - 1


@dataclass(frozen=True, slots=True)
class Pow(Binary):
    """a to the power b."""

    facts = of_two_numbers(affine=False, accumulates=False, on_host=False, levels=FLOAT_ONLY, instructions=(7.8, AS_TABLE))
    function = np.power


class Extreme(Binary):
    """One of two values; integers share one scale and zero point."""

    __slots__ = ()

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        a, b = types
        expect(a.elem == b.elem, f"compares {a} with {b}")
        return TensorType(np.broadcast_shapes(a.shape, b.shape), a.elem)


@dataclass(frozen=True, slots=True)
class Max(Extreme):
    """The larger of two values."""

    facts = of_a_choice(carries_integers=False)
    function = np.maximum


@dataclass(frozen=True, slots=True)
class Min(Extreme):
    """The smaller of two values."""

    facts = of_a_choice(carries_integers=False)
    function = np.minimum


@dataclass(frozen=True, slots=True)
class Where(Op):
    """Where(condition, a, b): a where the condition, an integer, is not 0, else b; numpy broadcasting."""

    facts = of_a_choice(carries_integers=True)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        condition, a, b = types
        expect(not condition.is_float, f"the condition is an integer, got {condition}")
        expect(a.elem == b.elem, f"chooses between {a} and {b}")
        return TensorType(np.broadcast_shapes(*(t.shape for t in types)), a.elem)

    def eval(self, *arrays: Array) -> Array:
        condition, a, b = arrays
        return np.asarray(np.where(condition != 0, a, b))
