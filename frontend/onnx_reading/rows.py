"""Whether a model of a fixed batch computes every row alike, so that one row can be compiled in place of all.

The model is read twice, with one row and with its batch. Node by node the operators and constants have to be the same,
and every value has to be longer along one axis, its batch axis, by the factor of the batch: index i there, or block i
where rows are joined with another axis, then holds what one row's value is for row i. Each operator is asked whether it
keeps that true.
"""

from __future__ import annotations

import math
from itertools import zip_longest

import numpy as np
from edgewright.passes.ir import Graph, Node, Shape
from edgewright.passes.ops import (
    BatchNormalization,
    Concat,
    Constant,
    Conv,
    ConvTranspose,
    Gather,
    Linear,
    MatMul,
    ReduceMean,
    Reshape,
    Slice,
    Softmax,
    Transpose,
)
from edgewright.passes.ops.groups import ELEMENTWISE, NORMS


def computes_rows(one: Graph, many: Graph, batch: int) -> bool:
    """Whether `many` gives, for `batch` rows, what `one` gives for each, one under the other."""
    axes: dict[Node, int] = {}
    for single, several in zip_longest(one.nodes(), many.nodes()):
        if single is None or several is None or single.op.kind != several.op.kind:
            return False
        if isinstance(single.op, Constant):
            if not isinstance(several.op, Constant):
                return False
            repeated = _batch_axis(single.shape, several.shape, batch)  # a class token, expanded to the batch
            value = single.op.value if repeated is None else np.concatenate([single.op.value] * batch, repeated)
            if not np.array_equal(value, several.op.value):
                return False
            if repeated is not None:
                axes[several] = repeated
            continue
        axis = _batch_axis(single.shape, several.shape, batch)
        if axis is None or not _keeps(single, several, axis, axes):
            return False
        axes[several] = axis
    return all(axes.get(output) == 0 and single.shape[0] == 1 for output, single in zip(many.outputs, one.outputs, strict=True))


def _batch_axis(one: Shape, many: Shape, batch: int) -> int | None:
    longer = [i for i, (a, b) in enumerate(zip(one, many, strict=False)) if a != b]
    if len(one) != len(many) or len(longer) != 1 or many[longer[0]] != batch * one[longer[0]]:
        return None
    return longer[0]


def _keeps(single: Node, several: Node, axis: int, axes: dict[Node, int]) -> bool:
    op, rank = several.op, several.type.rank
    operands = [(node, axes[node]) for node in several.inputs if node in axes]
    if not several.inputs:
        return axis == 0 and single.shape[0] == 1
    if not operands:
        return False
    first, own = operands[0]
    before = first.type.rank
    leads = several.inputs[0] is first and len(operands) == 1
    if isinstance(op, Transpose):
        return op.perm[axis] == own
    if isinstance(op, Reshape):
        return math.prod(first.shape[:own]) == math.prod(several.shape[:axis])
    if isinstance(op, (Softmax, Slice)):
        return op.axis % rank != axis == own
    if isinstance(op, ReduceMean):
        reduced = {a % before for a in op.axes}
        return own not in reduced and axis == own - (0 if op.keepdims else sum(a < own for a in reduced))
    if isinstance(op, Concat):
        return op.axis % rank != axis and len(operands) == len(several.inputs) and all(a == axis for _, a in operands)
    if isinstance(op, Gather):
        at = op.axis % several.inputs[0].type.rank
        if several.inputs[0] is first:
            more = several.inputs[1].type.rank - 1
            return leads and own != at and axis == (own if own < at else own + more)
        return len(operands) == 1 and axis == at + own
    if isinstance(op, MatMul):
        ranks = {node.type.rank for node in several.inputs}
        inner = [a >= node.type.rank - 2 for node, a in operands]
        if len(operands) == 1:
            return leads and own + rank - before == axis and own != before - 1
        return len(ranks) == 1 and not any(inner) and all(a == axis for _, a in operands)
    if isinstance(op, (Linear, *NORMS)):
        return leads and own == axis != rank - 1
    if isinstance(op, (Conv, ConvTranspose, BatchNormalization)):
        return leads and own == axis == 0
    if isinstance(op, ELEMENTWISE) or (len(several.inputs) == 1 and first.shape == several.shape):
        return all(a + rank - node.type.rank == axis for node, a in operands)
    return False
