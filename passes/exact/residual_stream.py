"""The residual stream: everything that is summed, moved and then normalised, as far as its mean can be traced.

A mean over channels passes through sums and moves. It enters by what writes: products with constant weights, tables and
constants, whose rows can be centred; it leaves by what reads. Where all writers are centred, the stream's mean is 0.
A product writes only if each of its outputs is made of all its inputs: the outputs of a grouped convolution have no
common inputs, and the mean of what they read comes out again whatever their weights are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from edgewright.passes import ops
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Graph, Node
from edgewright.passes.ops import array_of, value_of
from edgewright.passes.ops.groups import NORMS

NEARLY_ZERO = 1e-6  # of the largest weight: what rounding to float32 leaves of a mean that was subtracted

Place = tuple[Node, int]  # a value, and which of its axes holds the channels, counted from the end


@dataclass(slots=True)
class ResidualStream:
    """Values that share one mean, with the axis of their channels; the normalisations that read them; and why their mean
    cannot be removed, if so."""

    members: dict[Node, int] = field(default_factory=dict)
    norms: list[Node] = field(default_factory=list)
    obstacle: str | None = None


def streams(graph: Graph) -> Iterator[ResidualStream]:
    """Yield one for each set of LayerNormalizations that read the same sums, in the graph's order."""
    users = graph.users()
    seen: set[Node] = set()
    for node in graph.nodes():
        if isinstance(node.op, ops.LayerNormalization) and node not in seen:
            stream = _explored(graph, users, node.inputs[0])
            seen.update(stream.norms, (node,))
            yield stream


def _explored(graph: Graph, users: dict[Node, list[Node]], start: Node) -> ResidualStream:
    stream = ResidualStream()
    waiting: list[Place] = [(start, -1)]
    while waiting:
        node, axis = waiting.pop()
        if stream.members.setdefault(node, axis) != axis:
            stream.obstacle = stream.obstacle or "its channels change places"
        else:
            waiting += [p for p in _neighbours(graph, users, stream, node, axis) if stream.members.get(p[0]) != p[1]]
    if stream.obstacle is None and any(_is_shared(n, axis, users, stream) for n, axis in stream.members.items()):
        stream.obstacle = "weights are shared"
    if stream.obstacle is None and not all(_can_be_centred(n, axis) for n, axis in stream.members.items()):
        stream.obstacle = "weights without their mean do not fit float32"
    return stream


def _neighbours(graph: Graph, users: dict[Node, list[Node]], stream: ResidualStream, node: Node, axis: int) -> Iterator[Place]:
    """Yield the members that write into this one and that read it; add norms and obstacles to the stream."""
    if node in graph.outputs:
        stream.obstacle = stream.obstacle or "it is an output"
    operands = carried_from(node, axis)
    if operands is not None:
        yield from operands
    elif not is_writer(node, axis):
        stream.obstacle = stream.obstacle or f"{node.op.kind} writes into it"
    if isinstance(node.op, ops.Constant):
        return  # read elsewhere, it is a constant of its own
    for user in users[node]:
        if isinstance(user.op, NORMS):
            if isinstance(user.op, ops.RMSNormalization) or axis != -1 or user.inputs.count(node) != 1:
                stream.obstacle = stream.obstacle or f"{user.op.kind} reads it"
            elif user not in stream.norms:
                stream.norms.append(user)
            continue
        result = _carried_to(user, node, axis)
        if result is None:
            stream.obstacle = stream.obstacle or f"{user.op.kind} reads it"
        else:
            yield user, result


def _is_shared(node: Node, axis: int, users: dict[Node, list[Node]], stream: ResidualStream) -> bool:
    """Return whether weights that must change also serve others: they would then exist twice."""
    if not is_writer(node, axis) or _is_centred(node, axis):
        return False
    if isinstance(node.op, ops.Constant):
        return any(user not in stream.members or _carried_to(user, node, axis) is None for user in users[node])
    return users[node.inputs[_centred_parts(node)[0]]] != [node]


# ---- what carries a mean


def carried_from(node: Node, axis: int) -> list[Place] | None:
    """Return which operands' means make up the node's mean, when it is a sum or a move; None otherwise."""
    op, x = node.op, node.inputs[0] if node.inputs else node
    rank, at = node.type.rank, node.type.rank + axis
    if at < 0:
        return None
    if isinstance(op, (ops.Add, ops.Sub)):
        return [(operand, axis) for operand in node.inputs]
    if isinstance(op, ops.Neg):
        return [(x, axis)]
    if isinstance(op, (ops.Mul, ops.Div)):
        for position in (0, 1)[: 2 if isinstance(op, ops.Mul) else 1]:
            if _same_for_all_channels(node.inputs[1 - position], axis) and value_of(node.inputs[1 - position]) is not None:
                return [(node.inputs[position], axis)]
        return None
    if isinstance(op, ops.Concat) and op.axis % rank != at:
        return [(operand, axis) for operand in node.inputs]
    if isinstance(op, ops.Slice) and op.axis % rank != at:
        return [(x, axis)]
    if isinstance(op, ops.Transpose):
        return [(x, op.perm[at] - rank)]
    if isinstance(op, ops.Reshape):
        before = _axis_before(x.shape, node.shape, at)
        return None if before is None else [(x, before - x.type.rank)]
    if isinstance(op, ops.ReduceMean):
        reduced = {a % x.type.rank for a in op.axes}
        remaining = [a for a in range(x.type.rank) if op.keepdims or a not in reduced]
        return None if remaining[at] in reduced else [(x, remaining[at] - x.type.rank)]
    if isinstance(op, ops.Gather):
        inner = x.type.rank - 1 - op.axis % x.type.rank  # axes of the table after the one that is looked up
        return [(x, axis)] if -axis <= inner else None
    return None


def _carried_to(user: Node, node: Node, axis: int) -> int | None:
    """Return the axis of the channels in a user that carries the node's mean on."""
    for candidate in range(-user.type.rank, 0):
        places = carried_from(user, candidate)
        if places is not None and (node, axis) in places and _reaches(node, axis, user.shape[candidate]):
            return candidate if user.inputs.count(node) == sum(place[0] is node for place in places) else None
    return None


def _reaches(node: Node, axis: int, channels: int) -> bool:
    """Return whether it has so many channels, or one for all."""
    return node.type.rank < -axis or node.shape[axis] in (1, channels)


def _same_for_all_channels(node: Node, axis: int) -> bool:
    return node.type.rank < -axis or node.shape[axis] == 1


def _axis_before(before: tuple[int, ...], after: tuple[int, ...], at: int) -> int | None:
    """Return which axis of a reshaped value is axis `at` of the result, unbroken."""
    leading = int(np.prod(after[:at], dtype=np.int64))
    for i, size in enumerate(before):
        if size == after[at] and int(np.prod(before[:i], dtype=np.int64)) == leading:
            return i
    return None


# ---- what writes


def _centred_parts(node: Node) -> tuple[int, ...]:
    """Return the operands of a product that write: weight, bias. A constant writes itself: (0,), for its own value."""
    if isinstance(node.op, (ops.Linear, ops.PatchEmbed)):
        return 1, 2
    if isinstance(node.op, ops.Conv):
        return tuple(range(1, len(node.inputs)))
    if isinstance(node.op, ops.MoE):
        return 4, 5
    return (0,) if isinstance(node.op, ops.Constant) else ()


def is_writer(node: Node, axis: int) -> bool:
    """Return whether it is a constant, or a product with constant weights that makes each channel of all inputs."""
    if isinstance(node.op, ops.Constant):
        return True
    if isinstance(node.op, ops.Conv) and node.op.groups > 1:
        return False
    parts = _centred_parts(node)
    channels = -3 if isinstance(node.op, ops.Conv) else -1
    return bool(parts) and axis == channels and all(value_of(node.inputs[i]) is not None for i in parts)


def centred(node: Node, axis: int) -> dict[int, Array]:
    """Return the writer's constants without their means over output channels, by operand; of a Constant under 0."""
    if isinstance(node.op, ops.Constant):
        return {0: _centred(node.op.value, axis)}
    parts = {}
    for i in _centred_parts(node):
        value = array_of(node.inputs[i])
        inputs = 0 if value.ndim == (2 if isinstance(node.op, ops.MoE) else 1) else value.ndim - 1  # axes after the outputs'
        inputs = 1 if isinstance(node.op, ops.MoE) and inputs else inputs
        parts[i] = _centred(value, -1 - inputs)
    return parts


def _centred(value: Array, axis: int) -> Array:
    wide = value.astype(np.float64)
    if wide.ndim < -axis:
        return np.zeros_like(wide)  # the same for all channels
    return np.asarray(wide - wide.mean(axis=axis, keepdims=True))


def _can_be_centred(node: Node, axis: int) -> bool:
    return not is_writer(node, axis) or fits_float32(*centred(node, axis).values())


def has_zero_mean(node: Node) -> bool:
    """Return whether the mean over the last axis is 0 for every input, within float rounding: all that writes is centred."""
    seen: set[Place] = set()
    waiting: list[Place] = [(node, -1)]
    while waiting:
        place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        operands = carried_from(*place)
        if operands is not None:
            waiting += operands
        elif not is_writer(*place) or not _is_centred(*place):
            return False
    return True


def _is_centred(node: Node, axis: int) -> bool:
    for i, without in centred(node, axis).items():
        value = array_of(node if isinstance(node.op, ops.Constant) else node.inputs[i])
        if np.abs(value - without).max(initial=0) > NEARLY_ZERO * np.abs(value).max(initial=0):
            return False
    return True
