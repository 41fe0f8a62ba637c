"""What lowering makes: steps with their operands, in order; and what the lowering of a node may use."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import tvm_ffi
from edgewright.passes.ir import Array, Graph, Node
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.view import Space, StridedView, TensorStorage, contiguous


@dataclass(frozen=True, slots=True, eq=False)
class ProgramStep:
    """One call of a TIR function on views. `stored`: the nodes whose values are complete after it."""

    name: str
    kind: str
    function: Any
    views: tuple[StridedView, ...]
    macs: int
    origin: tuple[str, ...] = ()
    stored: tuple[tuple[Node, StridedView], ...] = ()


StepT = TypeVar("StepT", bound=ProgramStep)


@dataclass(frozen=True, slots=True)
class LoweredProgram(Generic[StepT]):
    """A lowered graph: its steps in order, and where inputs and outputs are."""

    graph: Graph
    steps: tuple[StepT, ...]
    inputs: tuple[StridedView, ...]
    outputs: tuple[StridedView, ...]


class LoweringContext(Generic[StepT]):
    """What the lowering of a node may use: where values are, the steps so far, constants and temporaries."""

    def __init__(self) -> None:
        self.values: dict[Node, StridedView] = {}
        self.steps: list[StepT] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], StridedView] = {}

    def keep(self, value: Array) -> StridedView:
        """Return where a constant is stored; equal constants are stored once."""
        value = np.asarray(value, order="C")  # ascontiguousarray would give a scalar an axis
        key = (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest())  # not the bytes: weights are large
        if key not in self._constants:
            storage = TensorStorage(Space.WEIGHTS, str(value.dtype), max(value.size, 1), value)
            self._constants[key] = contiguous(storage, value.shape)
        return self._constants[key]

    def temporary(self, elements: int, dtype: str) -> StridedView:
        """Return memory that is kept as long as steps read it."""
        return contiguous(TensorStorage(Space.WORK, dtype, max(elements, 1)), (max(elements, 1),))

    def fields(self, group: Group) -> dict[str, Any]:
        """Return the fields of the `ProgramStep` that completes a group, but for its code."""
        return {
            "name": group.members[0].name,
            "kind": "+".join(dict.fromkeys(n.op.kind for n in group.members)),
            "origin": tuple(name for n in group.members for name in n.origin),
            "stored": tuple((n, self.values[n]) for n in group.stored),
        }


def distinct(functions: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Return the different functions, and the number of each given one among them."""
    different: list[Any] = []
    numbers: list[int] = []
    seen: dict[int, list[int]] = {}
    for function in functions:
        bucket = seen.setdefault(tvm_ffi.structural_hash(function), [])
        number = next((i for i in bucket if tvm_ffi.structural_equal(different[i], function)), None)
        if number is None:
            number = len(different)
            different.append(function)
            bucket.append(number)
        numbers.append(number)
    return different, numbers
