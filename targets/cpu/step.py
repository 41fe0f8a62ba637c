"""What lowering makes: steps with their operands, in order; and the context that makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.tail import Tail
from edgewright.targets.cpu.tir import step_function
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.cpu.view import Space, Storage, View, contiguous

PARALLEL_MACS = 150_000  # below, waking another thread (some 2 us) costs more than it saves
PARALLEL_ELEMENTS = 30_000


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call of the program: a TIR function on views. `stored`: the nodes whose values are complete after it."""

    name: str
    kind: str
    function: Any
    views: tuple[View, ...]
    macs: int
    origin: tuple[str, ...] = ()
    stored: tuple[tuple[Node, View], ...] = ()


@dataclass(slots=True)
class Context:
    """What lowering a node may use: where values are, and how to add steps, constants and temporaries."""

    variant: Variant
    values: dict[Node, View] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    _constants: dict[tuple[str, tuple[int, ...], bytes], View] = field(default_factory=dict)

    def keep(self, value: Array) -> View:
        """Where a constant lives; equal constants live once."""
        value = np.asarray(value, order="C")  # ascontiguousarray would give a scalar an axis
        key = (value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest())  # not the bytes: weights are large
        if key not in self._constants:
            storage = Storage(Space.WEIGHTS, str(value.dtype), max(value.size, 1), value)
            self._constants[key] = contiguous(storage, value.shape)
        return self._constants[key]

    def temporary(self, elements: int, dtype: str) -> View:
        """Memory of the arena that lives as long as steps read it."""
        return contiguous(Storage(Space.WORK, dtype, max(elements, 1)), (max(elements, 1),))

    def tail(self, group: Group, arrange: Callable[[View], View], tiles: bool = False) -> Tail:
        return Tail(group, self.values, self.keep, arrange, tiles)

    def add(self, group: Group, views: Sequence[View], body: Callable[[Any], None], kind: str = "", macs: int = 0) -> None:
        """Append a step whose statements `body` makes from the buffers of `views`."""
        used = tuple(dict.fromkeys(views))
        self.steps.append(
            Step(
                group.members[0].name,
                kind or "+".join(dict.fromkeys(n.op.kind for n in group.members)),
                step_function(used, body),
                used,
                macs,
                tuple(name for n in group.members for name in n.origin),
                () if kind else tuple((n, self.values[n]) for n in group.stored),
            )
        )
