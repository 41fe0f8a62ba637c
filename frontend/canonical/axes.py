"""Chains of Reshape and Transpose in one form: Reshape, Transpose, Reshape, as many of the three as are needed.

Channels go through Transposes of their own: an image (B, C, H, W) that is read pixel by pixel is first made
(B, H, W, C), and a value that becomes an image is (B, H, W, C) last.  Where images are stored channels last, these two
cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

from edgewright.passes.ir import Graph, Node, Op, Shape, make, merge_origins, rebuild
from edgewright.passes.ir.graph import moved
from edgewright.passes.ops import Constant, Reshape, Transpose
from edgewright.passes.transform import Note, Pass

CHANNELS_LAST = (0, 2, 3, 1)
CHANNELS_FIRST = (0, 3, 1, 2)


@dataclass(slots=True, eq=False)
class _Piece:
    """A factor of an axis; `parts` once it has been divided, outer first."""

    size: int
    parts: list[_Piece] = field(default_factory=list)

    def leaves(self) -> list[_Piece]:
        return [leaf for part in self.parts for leaf in part.leaves()] if self.parts else [self]


_Axes = list[list[_Piece]]


@dataclass(frozen=True, slots=True)
class TidyPermutations(Pass):
    """Bring a chain of Reshape and Transpose into one form.

    Before: any chain, as long as only the last of its values is read by anything else. After: Reshape, Transpose, Reshape,
    as many of the three as it takes, with the channels of an image first taken last, or last brought first, by Transposes
    of their own.
    Exact: yes. Source: the chain permutes the factors of the axes, and one Transpose can do that.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        ends = {operand for node in graph.nodes() if not _is_step(node) for operand in node.inputs} | set(graph.outputs)

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            tidied = _tidied(moved(old, operands)) if old in ends and _is_step(old) else None
            note.count("chains", tidied is not None)
            return tidied

        return rebuild(graph, change)


def _is_step(node: Node) -> bool:
    return isinstance(node.op, Reshape | Transpose)


def _tidied(node: Node) -> Node | None:
    run = [node]
    while _is_step(run[-1].inputs[0]):
        run.append(run[-1].inputs[0])
    root = run[-1].inputs[0]
    steps = None if isinstance(root.op, Constant) else _steps(root.shape, [step.op for step in reversed(run)])
    if steps is None or steps == [step.op for step in reversed(run)]:
        return None
    result, origin = root, merge_origins(*(step.origin for step in run))
    for op in steps:
        result = make(op, result, origin=origin)
    return result


def _steps(shape: Shape, ops: list[Op]) -> list[Op] | None:
    """Return the chain in that form; None when a Reshape divides axes in a way that no product of factors describes."""
    root: _Axes = [[_Piece(n)] if n > 1 else [] for n in shape]
    axes, result = root, shape
    for op in ops:
        if isinstance(op, Transpose):
            axes, result = [axes[i] for i in op.perm], tuple(result[i] for i in op.perm)
        elif isinstance(op, Reshape):
            divided = _divided([piece for axis in axes for piece in axis], op.shape)
            if divided is None:
                return None
            axes, result = divided, op.shape
    root, axes = _resolved(root), _resolved(axes)
    windows = _image_to_windows(shape, root, result, axes)
    front = windows or _image_to_pixels(shape, root, axes)
    back = windows or _pixels_to_image(shape, root, result, axes)
    if front:
        shape, root = tuple(shape[i] for i in CHANNELS_LAST), [root[i] for i in CHANNELS_LAST]
    if back:
        result, axes = tuple(result[i] for i in CHANNELS_LAST), [axes[i] for i in CHANNELS_LAST]
    middle = _three(shape, root, result, axes)
    before: list[Op] = [Transpose(CHANNELS_LAST)] if front else []
    after: list[Op] = [Transpose(CHANNELS_FIRST)] if back else []
    return [*before, *middle, *after]


def _divided(pieces: list[_Piece], shape: Shape) -> _Axes | None:
    """Return the pieces in order under another shape; pieces are divided in place where it cuts through them."""
    left = [leaf for piece in pieces for leaf in piece.leaves()][::-1]
    axes: _Axes = []
    for size in shape:
        axis: list[_Piece] = []
        while size > 1:
            piece = left.pop()
            if size % piece.size == 0:
                size //= piece.size
            elif piece.size % size == 0:
                piece.parts = [_Piece(size), _Piece(piece.size // size)]
                left.append(piece.parts[1])
                piece, size = piece.parts[0], 1
            else:
                return None
            axis.append(piece)
        axes.append(axis)
    return axes


def _resolved(axes: _Axes) -> _Axes:
    return [[leaf for piece in axis for leaf in piece.leaves()] for axis in axes]


def _image_to_pixels(shape: Shape, root: _Axes, axes: _Axes) -> bool:
    """Return whether an image's channels, or the inner factor of them, become the last axis."""
    if len(shape) != 4 or not root[1] or math.prod(shape[2:]) == 1 or not axes or not axes[-1]:
        return False
    return root[1][-len(axes[-1]) :] == axes[-1]


def _pixels_to_image(shape: Shape, root: _Axes, result: Shape, axes: _Axes) -> bool:
    """Return whether the last axis becomes an image's channels."""
    last = root[-1] if shape else []
    return len(result) == 4 and bool(last) and math.prod(result[2:]) > 1 and axes[1] == last


def _image_to_windows(shape: Shape, root: _Axes, result: Shape, axes: _Axes) -> bool:
    """Return whether an image is cut into windows along its axes 2 and 3, or put together from them, or from channels."""
    if len(shape) != 4 or len(result) != 4 or not (root[1] and axes[1]):
        return False
    if axes[1] == root[1]:
        return shape[0] != result[0]
    short, long = sorted((root[1], axes[1]), key=len)
    return len(short) < len(long) and long[-len(short) :] == short


def _three(shape: Shape, root: _Axes, result: Shape, axes: _Axes) -> list[Op]:
    """Return Reshape that divides the root's axes, Transpose, Reshape that joins pieces; without those that do nothing."""
    order = [piece for axis in axes for piece in axis]
    if order == [piece for axis in root for piece in axis]:
        return [] if shape == result else [Reshape(result)]
    groups, target = _groups(root, axes)
    # axes of the divided root: its groups, and its axes of length 1 where they were
    divided: list[tuple[_Piece, ...]] = []
    for axis in root:
        divided += [group for group in groups if group[0] in axis] if axis else [()]
    spare = [i for i, group in enumerate(divided) if not group]
    surplus = max(0, sum(not axis for axis in root) - sum(not axis for axis in axes))
    perm, spare = spare[:surplus], spare[surplus:]
    for axis in axes:
        if not axis:
            if spare:
                perm.append(spare.pop(0))
            continue
        perm += [divided.index(group) for group in target if group[0] in axis]
    sizes = [math.prod(piece.size for piece in group) for group in divided]
    steps: list[Op] = [] if tuple(sizes) == shape else [Reshape(tuple(sizes))]
    if perm != sorted(perm):
        steps.append(Transpose(tuple(perm)))
    moved = tuple(sizes[i] for i in perm)
    return steps if moved == result else [*steps, Reshape(result)]


def _groups(root: _Axes, axes: _Axes) -> tuple[list[tuple[_Piece, ...]], list[tuple[_Piece, ...]]]:
    """Join pieces that stay side by side within one axis on both sides; in the root's order and the result's."""
    after = {a: b for axis in axes for a, b in pairwise(axis)}
    groups: list[tuple[_Piece, ...]] = []
    for axis in root:
        start = 0
        for i in range(1, len(axis) + 1):
            if i == len(axis) or after.get(axis[i - 1]) is not axis[i]:
                groups.append(tuple(axis[start:i]))
                start = i
    by_first = {group[0]: group for group in groups}
    ordered = [by_first[piece] for axis in axes for piece in axis if piece in by_first]
    return groups, ordered
