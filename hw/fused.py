"""The result of fusion: operations of the engine, and the memory contents before it starts."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgewright.hw.operations.operation import Operation, Place
from edgewright.hw.operations.product import Integers
from edgewright.hw.views import StoredView
from edgewright.passes.ir.graph import Node


@dataclass(frozen=True, slots=True)
class ConstantRows:
    """Rows of a joined value that are in the memory image from the start."""

    place: Place
    values: Integers


@dataclass(slots=True)
class Fused:
    """Operations in execution order, constants in memory, and the view of a stored value that each output is."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[Node, Integers] = field(default_factory=dict)
    constant_rows: list[ConstantRows] = field(default_factory=list)
    outputs: tuple[StoredView, ...] = ()
