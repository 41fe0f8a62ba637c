"""The interface of operators: the type of the result, its value, and its work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from edgewright.passes.ir.facts import Facts
from edgewright.passes.ir.types import Array, TensorType


class InferError(Exception):
    """The operands' types do not fit the operator; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Work:
    """The cost of one evaluation on any machine: products, and bytes moved if nothing stays on chip.

    `additions`: those that are not part of a multiply-accumulate.
    """

    macs: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    additions: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Allowed(NamedTuple):
    """What an integer operand or attribute holds, and the range that the arithmetic allows it."""

    name: str
    value: Array
    low: int
    high: int


def fixed(name: str, value: Array | None, low: int, high: int) -> Allowed:
    """Return the range of an operand that has to be a constant; None, which is not one, counts as outside."""
    if value is None:
        return Allowed(f"{name} (not a constant)", np.array(high + 1), low, high)
    return Allowed(name, value, low, high)


class Op(ABC):
    """An operator: a frozen dataclass whose fields are its attributes, independent of graphs and machines.

    Every op accepts a leading batch larger than the types' 1 when it evaluates (constants broadcast), so
    that many samples run in one call; `interp.batchable` says whether a whole graph allows it.
    """

    __slots__ = ()

    facts: ClassVar[Facts]

    def __init_subclass__(cls) -> None:
        """Raise TypeError for an operator without its own facts; a class with an abstract method is not an operator yet."""
        abstract = any(getattr(getattr(cls, name, None), "__isabstractmethod__", False) for name in dir(cls))
        if "facts" not in vars(cls) and not abstract:
            raise TypeError(f"{cls.__name__} declares no facts (passes/ir/facts.py)")

    @abstractmethod
    def infer(self, *types: TensorType) -> TensorType:
        """Return the result's type; InferError when the operands do not fit. Quant is not inferred."""

    @abstractmethod
    def eval(self, *arrays: Array) -> Array:
        """Return the result: float32 from floats, int64 (exact) from integers of any width."""

    def macs(self, *types: TensorType) -> int:
        """Return multiply-accumulates of one evaluation."""
        return 0

    def additions(self, *types: TensorType) -> int:
        """Return the additions that are not part of those, where an operator adds instead of multiplying."""
        return 0

    def work(self, *types: TensorType) -> Work:
        return Work(
            macs=self.macs(*types),
            read_bytes=sum(t.size_bytes for t in types),
            written_bytes=self.infer(*types).size_bytes,
            additions=self.additions(*types),
        )

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterable[Allowed]:
        """In an integer graph, the ranges that the arithmetic relies on. values: the constant operands', None for others."""
        return ()

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        """Return the largest magnitude that the int32 accumulators can take with int8 activations, from the actual weights
        where `values` holds them; 0 without accumulators."""
        return 0

    @property
    def kind(self) -> str:
        """The op's name in printed graphs and reports."""
        return type(self).__name__


def expect(condition: bool, message: str) -> None:
    """Raise InferError(message) unless the condition holds."""
    if not condition:
        raise InferError(message)
