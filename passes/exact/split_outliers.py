from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.ops import Concat, Linear, Mul, Relu, Slice, array_of, constant, value_of
from edgewright.passes.quantisation.calibrate import Calibration
from edgewright.passes.quantisation.lowering_structure import ACTIVATIONS
from edgewright.passes.transform import Note, Pass

WORD = 16  # channels: what a machine of 128-bit words joins without moving single bytes
COUNTS = (WORD, 2 * WORD)  # outlying channels
COPIES = (2, 4, 8, 16)
MOST = 12  # copies may add one column in so many to the product
WORTH = 0.25  # of the noise of one range: 6 dB, or the split is not worth its copies


@dataclass(frozen=True, slots=True)
class SplitOutliers(Pass):
    """Spread the few hidden channels with huge values over several columns.

    Before: Linear(Gelu(Linear(x; W1, b1)); W2, b2) where some hidden channels reach ten times as far as the others.
    After: these channels last (rows of W1 permuted) and by themselves, so that their integers have a scale of their own;
    after the Gelu, n copies of an nth of them, each with the columns of W2: Linear(Concat(Gelu(Slice), c, .., c)) with
    c = Gelu(Slice) / n. All columns then have like ranges, and no weight is larger than before.
    Exact: yes, up to the order of float sums. Source: outlier channel splitting, Zhao et al. (ICML 2019), section 3.
    """

    calibration: Calibration

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()
        outlying: dict[Node, OutlierSplit] = {}
        for node in graph.nodes():
            if _splits(node, users, graph):
                split = self._outliers(node, users[node])
                if split is not None:
                    outlying[node] = split
                    note.count("channels split", split.count)

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if old in outlying:
                return _split(old, operands[0], outlying[old])
            if isinstance(old.op, Linear) and old.inputs[0] in outlying:
                chosen = outlying[old.inputs[0]]
                weight = array_of(operands[1])
                columns = np.concatenate([chosen.order, *[chosen.order[-chosen.count :]] * (chosen.copies - 1)])
                moved = constant(weight[:, columns], operands[1].origin)
                return make(old.op, operands[0], moved, operands[2], origin=old.origin)
            return None

        return rebuild(graph, change)

    def _outliers(self, node: Node, readers: list[Node]) -> OutlierSplit | None:
        """Return the channels and copies with the least noise; None when nothing is worth it."""
        seen = self.calibration.channels(node, -1)
        reach = np.maximum(seen.high, 0.0) - np.minimum(seen.low, 0.0)
        effect = np.zeros(len(reach))
        for reader in readers:
            effect += np.square(array_of(reader.inputs[1]).astype(np.float64)).sum(axis=0)
        ranks = np.argsort(reach, kind="stable")
        best, least = None, WORTH * float(effect.sum() * reach.max() ** 2)
        for count, copies in product(COUNTS, COPIES):
            if count * copies * MOST > len(reach):
                continue
            rest, chosen = np.sort(ranks[:-count]), np.sort(ranks[-count:])
            step = max(float(reach[rest].max()), float(reach.max()) / copies)
            noise = float(effect[rest].sum() + effect[chosen].sum() * copies**2) * step**2
            if noise < least:
                best, least = OutlierSplit(np.concatenate([rest, chosen]), count, copies), noise
        return best


@dataclass(frozen=True, slots=True, eq=False)
class OutlierSplit:
    """Channels in their new order, how many of the last ones are outliers, and over how many columns each is spread."""

    order: Array
    count: int
    copies: int


def _splits(node: Node, users: dict[Node, list[Node]], graph: Graph) -> bool:
    """Return whether a table stands between Linears with constant weights and nothing else reads it."""
    if not isinstance(node.op, ACTIVATIONS) or isinstance(node.op, Relu) or node in graph.outputs:
        return False
    (source,) = node.inputs
    if not isinstance(source.op, Linear) or len(users[source]) != 1 or source in graph.outputs or not users[node]:
        return False
    linears = [source, *users[node]]
    return all(isinstance(n.op, Linear) and all(value_of(m) is not None for m in n.inputs[1:]) for n in linears) and all(
        n.inputs[0] is node for n in users[node]
    )


def _split(node: Node, source: Node, split: OutlierSplit) -> Node:
    total, usual = len(split.order), len(split.order) - split.count
    x, w, b = source.inputs
    rows = (constant(array_of(part)[split.order], part.origin) for part in (w, b))
    moved = make(Linear(), x, *rows, origin=source.origin)
    axis = node.type.rank - 1
    rest, few = (make(Slice(axis, start, stop), moved, origin=source.origin) for start, stop in ((0, usual), (usual, total)))
    rest, few = (make(node.op, part, origin=node.origin) for part in (rest, few))
    share = make(Mul(), few, constant(np.array(1 / split.copies, np.float32)), origin=node.origin)
    return make(Concat(axis), rest, *[share] * split.copies, origin=node.origin)
