"""Which channels of which values live and die together.

Every index of the last axis of every value gets a label; indices that have to be removed at the same time share one. A
residual stream therefore has one label per channel in all its values, in the rows and columns of all products that write
and read it, in its norms and its position table. `ties` say the same of the axes of constants, which are what pruning cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Array, Graph, Node, Op
from edgewright.passes.ops.groups import BROADCASTING, NORMS, UNARY

Labels: TypeAlias = Array  # (channels,) int64, not yet resolved to roots


@dataclass(frozen=True, slots=True, eq=False)
class ChannelLabels:
    """of: labels of each value's last axis; None where nothing can be cut. ties: (constant, axis) -> labels of that axis.
    heads: for each Attention its heads, each (labels of queries and keys, labels of values). All labels are roots;
    `fixed` ones may not go: outputs of the graph, and what an operator needs whole."""

    graph: Graph
    of: dict[Node, Labels | None]
    ties: dict[tuple[Node, int], Labels]
    heads: dict[Node, tuple[tuple[Labels, Labels], ...]]
    fixed: frozenset[int]


def label_channels(graph: Graph, narrower: Collection[str] = ()) -> ChannelLabels:
    """Return the labels of a float graph. Operators it does not know keep their operands whole, so that cutting stays safe.
    narrower: names of outputs that may lose channels (features); all others are fixed."""
    work = _Labelling()
    for node in graph.nodes():
        rule = _RULES.get(type(node.op), _opaque)
        work.of[node] = None if isinstance(node.op, ops.Constant) else rule(work, node)
    for name, node in zip(graph.output_names, graph.outputs, strict=True):
        if name not in narrower:
            work.keep(work.of[node])
    roots = work.roots()
    heads = {node: tuple((roots[qk], roots[v]) for qk, v in labels) for node, labels in work.heads.items()}
    return ChannelLabels(
        graph,
        {node: None if labels is None else roots[labels] for node, labels in work.of.items()},
        {key: roots[labels] for key, labels in work.ties.items()},
        heads,
        frozenset(int(roots[label]) for label in work.kept),
    )


@dataclass(slots=True)
class _Labelling:
    """Union-find over labels while the graph is walked."""

    parent: list[int] = field(default_factory=list)
    of: dict[Node, Labels | None] = field(default_factory=dict)
    ties: dict[tuple[Node, int], Labels] = field(default_factory=dict)
    heads: dict[Node, list[tuple[Labels, Labels]]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)

    def fresh(self, count: int) -> Labels:
        first = len(self.parent)
        self.parent += range(first, first + count)
        return np.arange(first, first + count)

    def root(self, label: int) -> int:
        while self.parent[label] != label:
            self.parent[label] = self.parent[self.parent[label]]
            label = self.parent[label]
        return label

    def roots(self) -> Array:
        return np.array([self.root(label) for label in range(len(self.parent))], np.int64)

    def unite(self, a: Labels, b: Labels) -> None:
        for pair in zip(a.tolist(), b.tolist(), strict=True):
            low, high = sorted(map(self.root, pair))
            self.parent[high] = low

    def keep(self, labels: Labels | None) -> None:
        if labels is not None:
            self.kept.update(labels.tolist())

    def if_moved(self, labels: Labels | None, moved: bool) -> Labels | None:
        """Return the labels where a node moves whole rows of channels; else it needs all of them."""
        if not moved:
            self.keep(labels)
        return labels if moved else None

    def all_known(self, operands: Sequence[Node]) -> list[Labels] | None:
        """Return the labels of several operands; if some have none, the others' have to stay."""
        known = [labels for labels in map(self.value, operands) if labels is not None]
        if len(known) == len(operands):
            return known
        for labels in known:
            self.keep(labels)
        return None

    def united(self, operands: Sequence[Node]) -> Labels | None:
        """Return the labels that several operands of one shape have from now on in common."""
        known = self.all_known(operands)
        if not known:
            return None
        for labels in known[1:]:
            self.unite(known[0], labels)
        return known[0]

    def tie(self, node: Node, axis: int, labels: Labels | None) -> None:
        """An axis of an operand goes with these labels; an operand that is computed keeps all of it."""
        if not isinstance(node.op, ops.Constant):
            self.keep(labels)
            self.keep(self.of.get(node))
            return
        key = (node, axis % node.type.rank)
        if labels is None:
            labels = self.fresh(node.shape[axis])
            self.keep(labels)
        if key in self.ties:
            self.unite(self.ties[key], labels)
        else:
            self.ties[key] = labels

    def value(self, node: Node) -> Labels | None:
        """Labels of an operand's last axis; a constant's are made when it is first read."""
        if not isinstance(node.op, ops.Constant):
            return self.of[node]
        if not node.type.rank:
            return None
        key = (node, node.type.rank - 1)
        if key not in self.ties:
            self.ties[key] = self.fresh(node.shape[-1])
        return self.ties[key]

    def keep_all(self, node: Node) -> None:
        for operand in node.inputs:
            if isinstance(operand.op, ops.Constant):
                for axis in range(operand.type.rank):
                    if (operand, axis) in self.ties:
                        self.keep(self.ties[operand, axis])
                    else:
                        self.tie(operand, axis, None)
            else:
                self.keep(self.of[operand])


def _opaque(work: _Labelling, node: Node) -> Labels | None:
    work.keep_all(node)
    return None


def _product(work: _Labelling, node: Node) -> Labels | None:
    x, w, b = node.inputs
    outputs = work.fresh(w.shape[0])
    if isinstance(node.op, ops.Linear):
        work.tie(w, 1, work.value(x))
    else:
        work.keep(work.value(x))  # an image's last axis is its width
        work.tie(w, 1, None)
    work.tie(w, 0, outputs)
    work.tie(b, 0, outputs)
    return outputs


def _norm(work: _Labelling, node: Node) -> Labels | None:
    labels = work.value(node.inputs[0])
    for parameter in node.inputs[1:]:
        work.tie(parameter, 0, labels)
    return labels


def _same(work: _Labelling, node: Node) -> Labels | None:
    return work.value(node.inputs[0])


def _binary(work: _Labelling, node: Node) -> Labels | None:
    count = node.shape[-1] if node.type.rank else 0
    whole = [n for n in node.inputs if n.type.rank and n.shape[-1] == count]
    for operand in node.inputs:
        if operand not in whole:
            work.keep(None if isinstance(operand.op, ops.Constant) else work.of[operand])
    return work.united(whole)


def _slice(work: _Labelling, node: Node) -> Labels | None:
    assert isinstance(node.op, ops.Slice)
    labels = work.value(node.inputs[0])
    if labels is None or node.op.axis % node.type.rank != node.type.rank - 1:
        return labels
    moved = work.if_moved(labels, node.op.step == 1)
    return None if moved is None else moved[node.op.start : node.op.stop]


def _concat(work: _Labelling, node: Node) -> Labels | None:
    assert isinstance(node.op, ops.Concat)
    if node.op.axis % node.type.rank != node.type.rank - 1:
        return work.united(node.inputs)
    labels = work.all_known(node.inputs)
    return None if labels is None else np.concatenate(labels)


def _reshape(work: _Labelling, node: Node) -> Labels | None:
    same = node.type.rank > 0 and node.inputs[0].shape[-1:] == node.shape[-1:]
    return work.if_moved(work.value(node.inputs[0]), same)


def _transpose(work: _Labelling, node: Node) -> Labels | None:
    assert isinstance(node.op, ops.Transpose)
    return work.if_moved(work.value(node.inputs[0]), node.op.perm[-1] == node.type.rank - 1)


def _reduce(work: _Labelling, node: Node) -> Labels | None:
    assert isinstance(node.op, (ops.ReduceMean, ops.ReduceSum))
    rank = node.inputs[0].type.rank
    return work.if_moved(work.value(node.inputs[0]), all(axis % rank != rank - 1 for axis in node.op.axes))


def _gather(work: _Labelling, node: Node) -> Labels | None:
    assert isinstance(node.op, ops.Gather)
    data, indices = node.inputs
    work.keep(None if isinstance(indices.op, ops.Constant) else work.of[indices])
    return work.if_moved(work.value(data), node.op.axis % data.type.rank != data.type.rank - 1)


def _attention(work: _Labelling, node: Node) -> Labels | None:
    assert isinstance(node.op, ops.Attention)
    labels = work.all_known(node.inputs[:3])
    if labels is None:
        return None
    q, k, v = labels
    work.unite(q, k)
    queries, values = (part.reshape(node.op.heads, -1) for part in (q, v))
    work.heads[node] = list(zip(queries, values, strict=True))
    for bias in node.inputs[3:]:
        by_head = bias.type.rank >= 3 and bias.shape[-3] > 1
        if by_head and isinstance(bias.op, ops.Constant):
            work.tie(bias, -3, values[:, 0])
        elif by_head:
            work.keep(q)
            work.keep(v)
    return v


_RULES: dict[type[Op], Callable[[_Labelling, Node], Labels | None]] = {
    ops.PatchEmbed: _product,
    ops.Linear: _product,
    **dict.fromkeys(NORMS, _norm),
    **dict.fromkeys(UNARY, _same),
    **dict.fromkeys(BROADCASTING, _binary),
    ops.Slice: _slice,
    ops.Concat: _concat,
    ops.Reshape: _reshape,
    ops.Transpose: _transpose,
    ops.ReduceMean: _reduce,
    ops.ReduceSum: _reduce,
    ops.Gather: _gather,
    ops.Attention: _attention,
}
