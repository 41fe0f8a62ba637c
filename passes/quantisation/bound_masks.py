from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.ops import constant, scalar_of, value_of
from edgewright.passes.ops.groups import WINDOWS
from edgewright.passes.quantisation.calibrate import Calibration
from edgewright.passes.quantisation.lowering_structure import hosted
from edgewright.passes.transform import Note, Pass

FINITE = 1e30  # far enough for any network, and sums of such masks stay finite
MASKING = 1e3  # what is added below this is a mask, no score and no position
DEEPEST = 12  # operators between a mask and its softmax
APART = 12.0  # e^-12 of the largest weight rounds to 0 in units of 2^-15


@dataclass(frozen=True, slots=True)
class BoundMasks(Pass):
    """Bounds the constants that mask scores, so that one integer scale suits masks and scores.

    Before: Softmax(scores + mask), or Softmax(Where(keep, scores, c)), with mask values from -1e3 to minus infinity.
    After: the same with no mask value lower than it takes to give a weight of 0. Without a calibration: no lower
    than -1e30, so that the graph can be calibrated.
    Exact: not in rows that mask every key, which get weights from scores or equal ones, as they do of a mask of -1e4.
    Masks of an Attention need none of this where they are constants or made on the host: integers saturate.
    Source: the softmax does not change when its input is shifted.
    """

    calibration: Calibration | None = None
    exact: ClassVar[bool] = False

    def run(self, graph: Graph, note: Note) -> Graph:
        on_host = hosted(graph)
        limits: dict[Node, float] = {}
        for node in graph.nodes():
            position = _scores(node)
            if position is None:
                continue
            scores = node.inputs[position]
            saturates = isinstance(node.op, ops.Attention) and (isinstance(scores.op, ops.Constant) or scores in on_host)
            if saturates and self.calibration is not None:
                continue
            limits[node] = self._limit(node, scores)

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            if old not in limits:
                return None
            position = _scores(old)
            assert position is not None
            bounded = _bounded(operands[position], -1.0, limits[old], DEEPEST)
            if bounded is operands[position]:
                return None
            note.count("masks")
            return replace(old, inputs=(*operands[:position], bounded, *operands[position + 1 :]))

        return rebuild(graph, change)

    def _limit(self, node: Node, scores: Node) -> float:
        """Return how far below 0 a mask has to be."""
        if self.calibration is None:
            return FINITE
        reach = self._reach(scores, 1.0, DEEPEST)
        if isinstance(node.op, ops.Attention):
            q, k = (self._magnitude(x) for x in node.inputs[:2])
            reach += q * k * node.op.scale * (node.inputs[0].shape[-1] // node.op.heads)
        return min(2 * reach + APART, FINITE)

    def _reach(self, node: Node, sign: float, deepest: int) -> float:
        """Return how far from 0 the sum of all that is not a mask can be."""
        value = value_of(node)
        if value is not None:
            return float(np.abs(value[sign * value > -MASKING]).max(initial=0))
        parts = _parts(node) if deepest else None
        if parts is None:
            return self._magnitude(node)
        return sum(self._reach(node.inputs[i], sign * factor, deepest - 1) * abs(factor) for i, factor in parts)

    def _magnitude(self, node: Node) -> float:
        assert self.calibration is not None
        value = value_of(node)
        if value is not None:
            return float(np.abs(value).max(initial=0))
        seen = self.calibration.observed.get(node)
        return 1.0 if seen is None else seen.magnitude


def _scores(node: Node) -> int | None:
    """Return which operand is exponentiated."""
    if isinstance(node.op, ops.Softmax):
        return 0
    return 3 if isinstance(node.op, ops.Attention) and len(node.inputs) == 4 else None


def _parts(node: Node) -> list[tuple[int, float]] | None:
    """Return the operands that a value is the sum of, or chosen or moved from, and the factor of each; None where it is made
    otherwise."""
    op = node.op
    if isinstance(op, ops.Add):
        return [(0, 1.0), (1, 1.0)]
    if isinstance(op, ops.Sub):
        return [(0, 1.0), (1, -1.0)]
    if isinstance(op, ops.Neg):
        return [(0, -1.0)]
    if isinstance(op, ops.Where):
        return [(1, 1.0), (2, 1.0)]
    if isinstance(op, WINDOWS) or (isinstance(op, ops.Gather) and isinstance(node.inputs[0].op, ops.Constant)):
        return [(0, 1.0)]
    if isinstance(op, ops.Mul | ops.Div):
        for position in (0, 1)[: 2 if isinstance(op, ops.Mul) else 1]:
            factor = scalar_of(node.inputs[1 - position])
            if factor is not None and math.isfinite(factor) and factor:
                return [(position, factor if isinstance(op, ops.Mul) else 1 / factor)]
    return None


def _bounded(node: Node, sign: float, limit: float, deepest: int) -> Node:
    """Return the value with its constants no further than `limit` on the side of `sign`."""
    value = value_of(node)
    if value is not None:
        return _within(node, value, sign, limit)
    parts = _parts(node) if deepest else None
    if parts is None:
        return node
    inputs = list(node.inputs)
    for i, factor in parts:
        inputs[i] = _bounded(inputs[i], sign if factor > 0 else -sign, limit / abs(factor), deepest - 1)
    return node if tuple(inputs) == node.inputs else make(node.op, *inputs, origin=node.origin)


def _within(node: Node, value: Array, sign: float, limit: float) -> Node:
    beyond = sign * value > max(limit, MASKING)
    if value.dtype.kind != "f" or not beyond.any():
        return node
    return constant(np.where(beyond, sign * min(limit, 3e38), value), node.origin)
