"""Structured pruning: channels of the residual stream, attention heads and hidden units leave a graph for good.

Nothing but constants is cut (rows, columns, entries); operators keep their kind, and shapes follow. What goes together is
found by labels (channel_labels.py), so merged or separate Q, K and V, sliced queries of a class token, position tables and
several readers of one stream need no cases of their own.

Not exact; a hidden unit or a head whose products' weights are zero changes nothing. Source: ED-ViT (arXiv 2410.11650),
class-wise pruning of residual channels, heads and feed-forward units.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Array, Graph, Node, make, moved, rebuild
from edgewright.passes.ops.groups import ELEMENTWISE
from edgewright.passes.structure.channel_labels import ChannelLabels, label_channels

CHANNEL, HEAD, HIDDEN = "channel", "head", "hidden"
UNITS = {CHANNEL: "channels", HEAD: "heads", HIDDEN: "hidden units"}


@dataclass(frozen=True, slots=True)
class Unit:
    """What can be removed as one. group: the layer it competes in (0 for channels: all of them have one); index: its
    place there. labels: all the channels that go with it."""

    kind: str
    group: int
    index: int
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """The units of a graph. channels: of the residual stream; heads and hidden: a tuple for each attention and each
    feed-forward layer, in the order of the graph. sites: for a (kind, group) the values of which a unit's channels are
    cut: where its contribution can be measured."""

    labels: ChannelLabels
    channels: tuple[Unit, ...]
    heads: tuple[tuple[Unit, ...], ...]
    hidden: tuple[tuple[Unit, ...], ...]
    sites: Mapping[tuple[str, int], tuple[Node, ...]] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        return self.labels.graph

    def groups(self, kind: str) -> tuple[tuple[Unit, ...], ...]:
        """Return the units of a kind, by the layer they compete in."""
        return {CHANNEL: (self.channels,), HEAD: self.heads, HIDDEN: self.hidden}[kind]

    def positions(self, node: Node, units: Sequence[Unit]) -> Array:
        """Return (units, channels) bool: which channels of a value belong to which unit."""
        labels = self.labels.of[node]
        assert labels is not None
        return np.stack([np.isin(labels, unit.labels) for unit in units])


def structure_of(graph: Graph, narrower: Collection[str] = ()) -> Structure:
    """Return the units of a float graph. A unit that an output or an operator needs whole is omitted; outputs named in
    `narrower` may lose channels."""
    labels = label_channels(graph, narrower)
    attention = {int(label) for heads in labels.heads.values() for pair in heads for part in pair for label in part}
    stream, sites = _stream(labels)
    stream -= attention
    channels = tuple(
        Unit(CHANNEL, 0, i, (label,)) for i, label in enumerate(sorted(label for label in stream if label not in labels.fixed))
    )
    where: dict[tuple[str, int], tuple[Node, ...]] = {(CHANNEL, 0): sites}
    heads: list[tuple[Unit, ...]] = []
    for node, pairs in labels.heads.items():
        members = [tuple({int(label) for part in pair for label in part}) for pair in pairs]
        if any(label in labels.fixed or label in stream for member in members for label in member):
            continue
        where[HEAD, len(heads)] = (node,)
        heads.append(tuple(Unit(HEAD, len(heads), i, member) for i, member in enumerate(members)))
    hidden: list[tuple[Unit, ...]] = []
    taken = stream | attention | labels.fixed
    for node in graph.nodes():
        units = labels.of.get(node)
        if not isinstance(node.op, ops.Linear) or units is None or taken & set(units.tolist()):
            continue
        last = _last_alone(graph, node)
        where[HIDDEN, len(hidden)] = (last,)
        hidden.append(tuple(Unit(HIDDEN, len(hidden), i, (int(label),)) for i, label in enumerate(units)))
        taken |= set(units.tolist())
    return Structure(labels, channels, tuple(heads), tuple(hidden), where)


def prune(structure: Structure, units: Iterable[Unit]) -> Graph:
    """Return the graph without these units. ValueError when a layer would lose all of its units, or one may not go."""
    labels = structure.labels
    dropped = {label for unit in units for label in unit.labels}
    if dropped & labels.fixed:
        raise ValueError("a unit that is needed whole cannot be removed")
    gone = np.array(sorted(dropped), np.int64)

    def staying(channels: Array) -> Array:
        return np.flatnonzero(~np.isin(channels, gone))

    cut: dict[Node, Node] = {}
    for (node, axis), channels in labels.ties.items():
        places = staying(channels)
        if len(places) == len(channels):
            continue
        if not len(places):
            raise ValueError(f"nothing would be left of {node.name} along axis {axis}")
        cut[node] = ops.constant(np.take(ops.array_of(cut.get(node, node)), places, axis), node.origin, node.quant)

    def change(node: Node, operands: tuple[Node, ...]) -> Node | None:
        if node in cut:
            return cut[node]
        op = node.op
        if isinstance(op, ops.Slice) and op.axis % node.type.rank == node.type.rank - 1:
            source = labels.of[node.inputs[0]] if not isinstance(node.inputs[0].op, ops.Constant) else None
            if source is None or op.step != 1:
                return None
            places = staying(source)
            start, stop = (int(np.searchsorted(places, bound)) for bound in (op.start, op.stop))
            return make(replace(op, start=start, stop=stop), *operands, origin=node.origin)
        channels = labels.of.get(node)
        if isinstance(op, ops.Attention) and channels is not None:
            heads = sum(1 for _, values in labels.heads[node] if len(staying(values)))
            return make(replace(op, heads=heads), *operands, origin=node.origin)
        if isinstance(op, ops.Reshape) and channels is not None:
            return make(ops.Reshape((*op.shape[:-1], len(staying(channels)))), *operands, origin=node.origin)
        return moved(node, operands)

    return rebuild(structure.graph, change)


def _stream(labels: ChannelLabels) -> tuple[set[int], tuple[Node, ...]]:
    """Labels of values that are sums of two computed values, and the values that are added up there."""
    stream: set[int] = set()
    sums: set[Node] = set()
    for node in labels.graph.nodes():
        computed = [n for n in node.inputs if not isinstance(n.op, ops.Constant)]
        channels = labels.of.get(node)
        if isinstance(node.op, ops.Add) and len(computed) == 2 and channels is not None:
            stream.update(channels.tolist())
            sums.add(node)
    added = dict.fromkeys(operand for node in labels.graph.nodes() if node in sums for operand in node.inputs)
    return stream, tuple(operand for operand in added if not _is_running_sum(operand, sums))


def _is_running_sum(node: Node, sums: set[Node]) -> bool:
    """Return whether the value is a sum, or a part of one (the class token's row of it)."""
    while isinstance(node.op, (ops.Slice, ops.Reshape)):
        node = node.inputs[0]
    return node in sums


def _last_alone(graph: Graph, node: Node) -> Node:
    """Return the value after the functions of one value that follow a product: what the next product reads."""
    users = graph.users()
    while len(users[node]) == 1 and isinstance(users[node][0].op, ELEMENTWISE):
        node = users[node][0]
    return node
