"""Chains of data movement, compared by what they do.

Running the flat indices of a tensor through a chain of Reshape, Transpose, Slice and Gather gives, for every element
of the result, which element of the source it is.  Two chains mean the same when these index arrays are equal.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical.statistics import times_number
from edgewright.passes.ir import Array, Node, make, merge_origins
from edgewright.passes.ops import Constant, Gather, ReduceMean, Reshape, Slice, Transpose
from edgewright.passes.rewriting import Rule, Uses

_LARGEST = 1 << 24  # elements of a source whose indices are traced


def is_movement(node: Node) -> bool:
    """Return whether the node only picks and arranges elements of its first operand."""
    if isinstance(node.op, Gather):
        return isinstance(node.inputs[1].op, Constant)
    return node.op.facts.window


@dataclass(frozen=True, slots=True)
class Movement:
    """A value as elements of `root`: `indices` (the value's shape) are flat positions in root, `factor` scales them."""

    root: Node
    indices: Array
    steps: tuple[Node, ...]
    factor: float = 1.0


def carry(steps: tuple[Node, ...], indices: Array) -> Array:
    """Return indices after the steps, first step first."""
    for step in steps:
        constants = [operand.op.value for operand in step.inputs[1:] if isinstance(operand.op, Constant)]
        indices = step.op.eval(indices, *constants)
    return indices


def strip_factor(node: Node) -> tuple[Node, float]:
    """Return (x, c) with node = c * x and x no such product itself."""
    factor = 1.0
    while (product := times_number(node)) is not None:
        node, factor = product[0], factor * product[1]
    return node, factor


def trace(node: Node, scaled: bool = False) -> Movement | None:
    """Find where the elements of `node` come from, through factors too if `scaled`; None when that is too large."""
    steps: list[Node] = []
    factor = 1.0
    while True:
        if scaled:
            node, more = strip_factor(node)
            factor *= more
        if not is_movement(node):
            break
        steps.append(node)
        node = node.inputs[0]
    if node.type.size > _LARGEST:
        return None
    positions = np.arange(node.type.size, dtype=np.int64).reshape(node.shape)
    ordered = tuple(reversed(steps))
    return Movement(node, carry(ordered, positions), ordered, factor)


def in_order(flat: Array) -> bool:
    """Return whether flat is 0, 1, 2 ..."""
    return bool(np.array_equal(flat, np.arange(flat.size)))


def _as_block(root: Node, flat: Array) -> list[Slice] | None:
    """Return slices that cut exactly these elements out of root, in its order."""
    if flat.size == 0 or flat[-1] < flat[0]:
        return None
    first, last = (np.unravel_index(int(i), root.shape) for i in (flat[0], flat[-1]))
    if any(b < a for a, b in zip(first, last, strict=True)):
        return None
    box = tuple(slice(int(a), int(b) + 1) for a, b in zip(first, last, strict=True))
    block = np.arange(root.type.size).reshape(root.shape)[box].reshape(-1)
    if not np.array_equal(block, flat):
        return None
    return [
        Slice(axis, part.start, part.stop) for axis, part in enumerate(box) if (part.start, part.stop) != (0, root.shape[axis])
    ]


def _as_transpose(root: Node, indices: Array) -> Transpose | None:
    if indices.ndim != len(root.shape) or indices.ndim > 5:
        return None
    positions = np.arange(root.type.size).reshape(root.shape)
    for perm in itertools.permutations(range(indices.ndim)):
        if tuple(root.shape[i] for i in perm) == indices.shape and np.array_equal(positions.transpose(perm), indices):
            return Transpose(perm)
    return None


@dataclass(frozen=True, slots=True)
class MeanBeforeTranspose(Rule):
    """Take a mean where the values are.

    Before: ReduceMean(Transpose(x)), the axes that stay in their order. After: ReduceMean(x), with a Reshape if it
    keeps axes of 1. Exact: up to the order of float sums. Source: a mean does not depend on the order of its terms.
    """

    on = (ReduceMean,)
    event = "moved"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op, transposed = node.op, node.inputs[0]
        if not isinstance(op, ReduceMean) or not isinstance(transposed.op, Transpose):
            return None
        (x,), perm = transposed.inputs, transposed.op.perm
        averaged = {axis % len(perm) for axis in op.axes}
        remaining = [axis for position, axis in enumerate(perm) if position not in averaged]
        if remaining != sorted(remaining):
            return None
        axes = tuple(sorted(perm[axis] for axis in averaged))
        mean = make(ReduceMean(axes, keepdims=False), x, origin=node.origin)
        return mean if mean.shape == node.shape else make(Reshape(node.shape), mean, origin=node.origin)


@dataclass(frozen=True, slots=True)
class SimplifyMovement(Rule):
    """Replace a chain of data movement by the shortest that reads the same elements.

    Before: a chain of Reshape, Transpose, Slice and Gather. After: nothing, one Reshape, Slices and a Reshape, or one
    Transpose; what is none of these stays. Exact: yes. Source: the indices that the chain reads are compared.
    """

    event = "simplified"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        if not is_movement(node):
            return None
        moved = trace(node)
        if moved is None or isinstance(moved.root.op, Constant):
            return None
        origin = merge_origins(node.origin, *(step.origin for step in moved.steps))
        flat = moved.indices.reshape(-1)
        result = moved.root
        if flat.size == result.type.size and in_order(flat):
            steps: list[Slice] | None = []
        elif len(moved.steps) < 2:
            return None
        else:
            steps = _as_block(moved.root, flat)
        if steps is None:
            op = _as_transpose(moved.root, moved.indices)
            return None if op is None else make(op, moved.root, origin=origin)
        if len(steps) + 1 >= len(moved.steps) and steps:
            return None
        for step in steps:
            result = make(step, result, origin=origin)
        return result if result.shape == node.shape else make(Reshape(node.shape), result, origin=origin)
