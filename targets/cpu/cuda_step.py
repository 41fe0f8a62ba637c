"""What lowering for CUDA makes: kernels with their operands, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.cuda_tail import CudaTail
from edgewright.targets.cpu.cuda_tir import Argument, Body, Launch, kernel_function
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.view import Space, Storage, View, contiguous

ARCHITECTURES = {"sm_53": False, "sm_72": True, "sm_87": True}  # whether it has dp4a (sm_61 and later)


@dataclass(frozen=True, slots=True, eq=False)
class CudaStep:
    """One launch of a kernel: a TIR function of pointers. `stored`: the nodes whose values are complete after it."""

    name: str
    kind: str
    function: Any
    arguments: tuple[Argument, ...]
    launch: Launch
    macs: int
    origin: tuple[str, ...] = ()
    stored: tuple[tuple[Node, View], ...] = ()


@dataclass(slots=True)
class CudaContext:
    """What lowering a node may use: where values are, and how to add steps, constants and temporaries."""

    arch: str
    values: dict[Node, View] = field(default_factory=dict)
    steps: list[CudaStep] = field(default_factory=list)
    _constants: dict[tuple[str, tuple[int, ...], bytes], View] = field(default_factory=dict)

    @property
    def has_dp4a(self) -> bool:
        return ARCHITECTURES[self.arch]

    def keep(self, value: Array) -> View:
        """Where a constant lives; equal constants live once."""
        value = np.asarray(value, order="C")  # scalars stay scalars
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._constants:
            storage = Storage(Space.WEIGHTS, str(value.dtype), max(value.size, 1), value)
            self._constants[key] = contiguous(storage, value.shape)
        return self._constants[key]

    def tail(self, group: Group, arrange: Callable[[View], View] = lambda view: view) -> CudaTail:
        return CudaTail(group, self.values, self.keep, arrange)

    def add(self, group: Group, arguments: Sequence[Argument], launch: Launch, body: Body, macs: int = 0) -> None:
        """Append the launch that completes a group."""
        kind = "+".join(dict.fromkeys(n.op.kind for n in group.members))
        origin = tuple(name for n in group.members for name in n.origin)
        stored = tuple((n, self.values[n]) for n in group.stored)
        used = tuple(dict.fromkeys(arguments))
        function = kernel_function(used, launch, body)
        self.steps.append(CudaStep(group.members[0].name, kind, function, used, launch, macs, origin, stored))

    def copy(self, name: str, arguments: Sequence[Argument], launch: Launch, body: Body) -> None:
        """Append a launch that only moves values."""
        used = tuple(arguments)
        self.steps.append(CudaStep(name, "Copy", kernel_function(used, launch, body), used, launch, 0))
