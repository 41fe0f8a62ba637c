"""Attention layers of a float graph in topological order, and why a layer cannot be hashed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, Op
from edgewright.passes.ops import Attention, Conv, Gather, Linear, Slice, value_of
from edgewright.passes.ops.groups import NORMS, WINDOWS

# chosen by the rule: what exporters put between a stream and the projections of it; a Concat has several sources
PROJECTING: tuple[type[Op], ...] = (Linear, Conv, *NORMS, *WINDOWS, Gather)


@dataclass(frozen=True, slots=True)
class AttentionLayer:
    """One Attention node. `obstacle`: why codes cannot stand for its queries and keys, or None."""

    index: int
    node: Node
    obstacle: str | None

    @property
    def op(self) -> Attention:
        assert isinstance(self.node.op, Attention)
        return self.node.op

    @property
    def tokens(self) -> int:
        return self.node.shape[1]

    @property
    def windows(self) -> int:
        return self.node.shape[0]


@dataclass(frozen=True, slots=True)
class Projection:
    """A value as rows of a Linear with constant weights: weight (rows, in) and bias of x."""

    x: Node
    weight: Array
    bias: Array


def attention_layers(graph: Graph) -> tuple[AttentionLayer, ...]:
    """Return all of them, operands before their users."""
    nodes = [node for node in graph.nodes() if isinstance(node.op, Attention)]
    return tuple(AttentionLayer(i, node, _obstacle(node)) for i, node in enumerate(nodes))


def _obstacle(node: Node) -> str | None:
    q, k = node.inputs[:2]
    if node.inputs[3:]:
        return "a mask or a position bias is added to its scores, and codes have no scores"
    if q.shape[1] != k.shape[1]:
        return f"{q.shape[1]} queries meet {k.shape[1]} keys, and one code of a token is its query and its key"
    if value_of(q) is not None or not _origins(q) & _origins(k):
        return "its queries and keys come from different values, and one code of a token is both"
    return None


def _origins(node: Node) -> set[Node]:
    """Return the value and what it is computed from token by token."""
    origins = {node}
    while isinstance(node.op, PROJECTING):
        node = node.inputs[0]
        origins.add(node)
    return origins


def projection(node: Node) -> Projection | None:
    """Return channels of a Linear (a merged Q, K, V) or all of it; None for any other value."""
    step, linear = (node.op, node.inputs[0]) if isinstance(node.op, Slice) else (None, node)
    if not isinstance(linear.op, Linear) or linear.type.rank != 3:
        return None
    weight, bias = (value_of(operand) for operand in linear.inputs[1:])
    if weight is None or bias is None:
        return None
    rows = np.arange(len(weight))
    if step is not None:
        if step.axis % linear.type.rank != 2:
            return None
        rows = rows[step.start : step.stop : step.step]
    return Projection(linear.inputs[0], weight[rows], bias[rows])
