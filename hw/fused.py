"""What fusing makes of a graph: operations of the engine, and what stands in memory before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from edgewright.hw.views import StoredView
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Constant
from numpy.typing import NDArray

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Residual:
    """The int16 value that is added to the result, and the factor that brings it to the result's scale."""

    source: StoredView
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where results go: row r to row ``first_row + r * row_step`` of ``target``, channels from ``first_column`` on."""

    target: Node
    first_row: int = 0
    row_step: int = 1
    first_column: int = 0


@dataclass(frozen=True, slots=True)
class Product:
    """What the array computes of one operation, and the factors (one per channel) that requantise it.

    kind: ``linear`` (also a LayerNorm or a copy, by a matrix that selects channels), ``patch``, ``attention``, ``pool``.
    ``requantise``: the node whose factors those are. ``selects``: it has no products of the model's own.
    """

    kind: str
    node: Node
    requantise: Node
    source: StoredView
    multiplier: Integers
    shift: Integers
    zero_point: int = 0
    weight: Integers | None = None
    bias: Integers | None = None
    norm: Node | None = None
    key: StoredView | None = None
    value: StoredView | None = None
    selects: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One fused operation, and the node whose value it stores at ``place``."""

    computed: Product
    result: Node
    place: Place
    table: Integers | None = None
    residual: Residual | None = None

    @property
    def name(self) -> str:
        """The ONNX name that a report shows for this operation."""
        return (self.result if self.computed.selects else self.product).name

    @property
    def kind(self) -> str:
        """The kind of its product."""
        return self.computed.kind

    @property
    def product(self) -> Node:
        """The node that the array computes."""
        return self.computed.node

    @property
    def source(self) -> StoredView:
        """The activations that the array reads."""
        return self.computed.source

    @property
    def weight(self) -> Integers | None:
        """(outputs, inputs) of a product with constants."""
        return self.computed.weight

    @property
    def requantise(self) -> Node:
        """The node whose factors requantise the result."""
        return self.computed.requantise

    @property
    def norm(self) -> Node | None:
        """The LayerNorm in front of the array."""
        return self.computed.norm

    @property
    def target(self) -> Node:
        """The stored value that results are written to."""
        return self.place.target


@dataclass(frozen=True, slots=True)
class ConstantRows:
    """Rows of a joined value that are in the memory image from the start."""

    place: Place
    values: Integers


@dataclass(slots=True)
class Fused:
    """Operations in execution order, constants that live in memory, and what of which stored value each output is."""

    operations: list[Operation] = field(default_factory=list)
    constants: dict[Node, Integers] = field(default_factory=dict)
    constant_rows: list[ConstantRows] = field(default_factory=list)
    outputs: tuple[StoredView, ...] = ()


def constant(node: Node) -> Integers:
    """The array of a ``Constant`` node, as int64."""
    if not isinstance(node.op, Constant):
        raise TypeError(f"{node!r} is not a constant")
    return np.asarray(node.op.value, dtype=np.int64)


def operands(operation: Operation) -> Iterable[StoredView]:
    """Every view that an operation reads, in the order in which they are stored."""
    computed = operation.computed
    residual = None if operation.residual is None else operation.residual.source
    for view in (residual, computed.source, computed.key, computed.value):
        if view is not None:
            yield view
