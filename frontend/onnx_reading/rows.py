"""Decide whether a model of a fixed batch computes every row alike, so that one row can be compiled in place of all.

The model is read twice, with one row and with its batch. Node by node the operators and constants have to be the same,
and every value has to be longer along one axis, its batch axis, by the factor of the batch: index i there, or block i
where rows are joined with another axis, is then the value of row i. Each operator has to preserve that.
"""

from __future__ import annotations

import math
from itertools import zip_longest

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Graph, Node, Shape
from edgewright.passes.ops.groups import ELEMENTWISE, NORMS


def computes_rows(one_row: Graph, all_rows: Graph, batch: int) -> bool:
    """Return whether `all_rows`, for `batch` rows, gives the stacked results of `one_row` for each."""
    axes: dict[Node, int] = {}
    for single, several in zip_longest(one_row.nodes(), all_rows.nodes()):
        if single is None or several is None or single.op.kind != several.op.kind:
            return False
        if isinstance(single.op, ops.Constant):
            if not isinstance(several.op, ops.Constant):
                return False
            repeated = _batch_axis(single.shape, several.shape, batch)  # a class token, expanded to the batch
            value = single.op.value if repeated is None else np.concatenate([single.op.value] * batch, repeated)
            if not np.array_equal(value, several.op.value):
                return False
            if repeated is not None:
                axes[several] = repeated
            continue
        axis = _batch_axis(single.shape, several.shape, batch)
        if axis is None or not _preserves_rows(single, several, axis, axes):
            return False
        axes[several] = axis
    outputs = zip(all_rows.outputs, one_row.outputs, strict=True)
    return all(axes.get(output) == 0 and single.shape[0] == 1 for output, single in outputs)


def _batch_axis(single: Shape, several: Shape, batch: int) -> int | None:
    longer = [i for i, (a, b) in enumerate(zip(single, several, strict=False)) if a != b]
    if len(single) != len(several) or len(longer) != 1 or several[longer[0]] != batch * single[longer[0]]:
        return None
    return longer[0]


def _preserves_rows(single: Node, several: Node, axis: int, axes: dict[Node, int]) -> bool:
    op, rank = several.op, several.type.rank
    operands = [(node, axes[node]) for node in several.inputs if node in axes]
    if not several.inputs:
        return axis == 0 and single.shape[0] == 1
    if not operands:
        return False
    first, first_axis = operands[0]
    before = first.type.rank
    leads = several.inputs[0] is first and len(operands) == 1
    if isinstance(op, ops.Transpose):
        return op.perm[axis] == first_axis
    if isinstance(op, ops.Reshape):
        return math.prod(first.shape[:first_axis]) == math.prod(several.shape[:axis])
    if isinstance(op, (ops.Softmax, ops.Slice)):
        return op.axis % rank != axis == first_axis
    if isinstance(op, ops.ReduceMean):
        reduced = {a % before for a in op.axes}
        return first_axis not in reduced and axis == first_axis - (0 if op.keepdims else sum(a < first_axis for a in reduced))
    if isinstance(op, ops.Concat):
        return op.axis % rank != axis and len(operands) == len(several.inputs) and all(a == axis for _, a in operands)
    if isinstance(op, ops.Gather):
        at = op.axis % several.inputs[0].type.rank
        if several.inputs[0] is first:
            more = several.inputs[1].type.rank - 1
            return leads and first_axis != at and axis == (first_axis if first_axis < at else first_axis + more)
        return len(operands) == 1 and axis == at + first_axis
    if isinstance(op, ops.MatMul):
        ranks = {node.type.rank for node in several.inputs}
        inner = [a >= node.type.rank - 2 for node, a in operands]
        if len(operands) == 1:
            return leads and first_axis + rank - before == axis and first_axis != before - 1
        return len(ranks) == 1 and not any(inner) and all(a == axis for _, a in operands)
    if isinstance(op, (ops.Linear, *NORMS)):
        return leads and first_axis == axis != rank - 1
    if isinstance(op, (ops.Conv, ops.ConvTranspose, ops.BatchNormalization)):
        return leads and first_axis == axis == 0
    if isinstance(op, ELEMENTWISE) or (len(several.inputs) == 1 and first.shape == several.shape):
        return all(a + rank - node.type.rank == axis for node, a in operands)
    return False
