"""The result of fusion: operations of the engine, and the memory contents before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewright.hw.host_part import HostValue
from edgewright.hw.operations.operation import Operation
from edgewright.hw.operations.product import Integers
from edgewright.hw.views import StoredView
from edgewright.passes.ir.graph import Node


@dataclass(slots=True)
class Fused:
    """Operations in execution order, constants in memory, copies of inputs, what the host makes of them (``windows``), and the
    view of a stored value each output is."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[Node, Integers] = field(default_factory=dict)
    copies: list[Node] = field(default_factory=list)
    windows: dict[Node, HostValue] = field(default_factory=dict)
    outputs: tuple[StoredView, ...] = ()
