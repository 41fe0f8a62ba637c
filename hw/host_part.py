"""What the host computes before the engine starts: look-ups by token ids, masks, and inputs in the order in which they are
read.

Token ids and masks are integers that nobody quantises; what a graph makes of them before the first engine's operation, by
moves, look-ups and choices, costs a host next to nothing. Each value is written to memory as an input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from edgewright.hw.blocks.operation import WEIGHT_PORTS
from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.hw.views import matrix
from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Attention, Cast, Constant, Input, Quantise, Where
from edgewright.passes.ops.groups import MOVES, ON_HOST, Group

COMPUTED_BY_HOST: Group = (*MOVES, Where)


class HostValue(Protocol):
    """A value that the host writes, made of one of the graph."""

    @property
    def source(self) -> Node:
        """The value of the graph."""

    def values(self, array: Array) -> Array:
        """Return what is written, made of the source's value."""

    def recipe(self) -> dict[str, Any]:
        """Return how it is made, for a host that is not ours: its ``form``, the value that it is made ``of``, and sizes."""


def host_nodes(graph: Graph) -> frozenset[Node]:
    """Return the nodes that the host computes: all that follows from unquantised inputs by moves, look-ups and choices, and the
    arithmetic of masks."""
    found: set[Node] = set()
    for node in graph.nodes():
        computed = [n for n in node.inputs if not isinstance(n.op, Constant)]
        raw = bool(computed) and all(isinstance(n.op, Input) or n in found for n in computed)
        of_floats = isinstance(node.op, ON_HOST) and (node.type.is_float or isinstance(node.op, Cast))
        of_masks = isinstance(node.op, Quantise) and node.inputs[0] in found
        if raw and (isinstance(node.op, COMPUTED_BY_HOST) or of_floats or of_masks):
            found.add(node)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class HostView:
    """An input with its channels along ``axis`` (from the end), rows of channels."""

    source: Node
    axis: int

    def values(self, array: Array) -> Array:
        """Return the rows, (1, rows, channels)."""
        return matrix(self.source, array, self.axis)[None]

    def recipe(self) -> dict[str, Any]:
        """Return which axis of the value holds the channels: it comes last, the others before it in their order."""
        rank = self.source.type.rank
        return {"form": "rows", "of": self.source.name, "shape": list(self.source.shape), "channels": self.axis % rank}


@dataclass(frozen=True, slots=True)
class HostBias:
    """Score biases of one row of keys, which all queries of ``attention`` share, as the engine reads them: see `score_biases`.

    The greatest bias is brought to 0 and no other one below ``lowest``, which changes no weight."""

    source: Node
    lowest: int
    rows: int
    outs: int

    def values(self, array: Array) -> Array:
        """Return the bytes, (1, 1, n) int8."""
        row = np.asarray(array, np.int64).reshape(-1)
        return bias_bytes(np.maximum(row - row.max(), self.lowest)[None], self.rows, self.outs)

    def recipe(self) -> dict[str, Any]:
        """Return the least bias after the greatest is brought to 0, and the queries and keys of an entry of int32."""
        sizes = {"keys": self.source.type.size, "entry": [self.rows, self.outs], "parts": WEIGHT_PORTS}
        return {"form": "biases", "of": self.source.name, "least": self.lowest, **sizes}


def bias_bytes(table: Array, rows: int, outs: int, groups: int = 1) -> Array:
    """Return biases (queries, keys) as the engine reads them, (1, 1, n) int8; one row: for all queries.

    Each entry holds those of ``rows`` queries and ``outs`` keys, int32; entries come block by block of ``groups`` of so many
    queries, tile of keys by tile of keys, group by group; words lie in turn in as many parts as there are ports."""
    queries, keys = table.shape
    blocks, tiles = -(-queries // (rows * groups)), -(-keys // outs)
    full = np.zeros((blocks * groups * rows, tiles * outs), "<i4")
    full[:, :keys] = table if queries == 1 else np.pad(table, ((0, len(full) - queries), (0, 0)))
    entries = full.reshape(blocks, groups, rows, tiles, outs).transpose(0, 3, 1, 2, 4)
    words = np.ascontiguousarray(entries).view(np.int8).reshape(-1, WEIGHT_PORTS, WORD_BYTES)
    return words.transpose(1, 0, 2).reshape(1, 1, -1)


def host_values(windows: Mapping[Node, HostValue], values: Mapping[Node, Array]) -> dict[Node, Array]:
    """Return what the host writes beside inputs as they are. ``values``: by node of the graph."""
    return {root: window.values(values[window.source]) for root, window in windows.items()}


def reads_shared_bias(node: Node) -> bool:
    """Return whether an attention's biases are the same for all windows, heads and queries."""
    return isinstance(node.op, Attention) and all(n == 1 for n in node.inputs[3].shape[:-1])
