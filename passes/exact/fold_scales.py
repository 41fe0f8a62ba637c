from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.exact.residual_stream import carried_from
from edgewright.passes.ir.graph import Graph, Node, make, merge_origins, rebuild
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import (
    Add,
    BatchNormalization,
    Constant,
    Conv,
    Div,
    Linear,
    Mul,
    Reshape,
    Sub,
    Transpose,
    constant,
    value_of,
)
from edgewright.passes.ops.groups import WEIGHTED
from edgewright.passes.transform import Note, Pass


@dataclass(frozen=True, slots=True)
class FoldScales(Pass):
    """Folds a constant factor and offset per channel into the weights beside it.

    Before: BatchNormalization, or Mul, Div, Add, Sub with a constant per output channel (layer scale, a bias), behind
    a Linear, PatchEmbed or Conv; BatchNormalization in front of one. Between product and BatchNormalization there may be
    moves (Transpose, Reshape) that nobody else reads. After: other weights and bias.
    Not done in front of a Conv that pads, unless the BatchNormalization has no offset: zeros would have to become it;
    nor where float32 cannot hold the new weights.
    Exact: within float rounding (computed in float64). Source: the usual folding of BatchNorm.
    """

    def run(self, graph: Graph, note: Note) -> Graph:
        users = graph.users()

        def alone(old: Node) -> bool:
            return len(users[old]) == 1 and old not in graph.outputs

        def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
            folded = _behind(old, operands, alone) or _in_front(old, operands, alone)
            if folded is not None:
                note.count("folded")
            return folded

        return rebuild(graph, change)


def _behind(old: Node, operands: tuple[Node, ...], alone: Callable[[Node], bool]) -> Node | None:
    """product -> factor * product + offset, in the product's weights."""
    if isinstance(old.op, BatchNormalization) and not isinstance(operands[0].op, WEIGHTED):
        return _behind_moved(old, old.op, operands, alone)
    for position in range(min(len(operands), 2)):
        product = operands[position]
        if not isinstance(product.op, WEIGHTED) or not alone(old.inputs[position]):
            continue
        affine = _affine(old, operands, position, product)
        scaled = None if affine is None else _scaled(product, old, *affine)
        if scaled is not None:
            return scaled
    return None


def _behind_moved(old: Node, op: BatchNormalization, operands: tuple[Node, ...], alone: Callable[[Node], bool]) -> Node | None:
    """BatchNormalization(moves(product)) -> moves(product) with other weights."""
    found = _through_moves(operands[0], old.inputs[0], 1 - old.type.rank, alone)
    affine = _batch_affine(op, operands)
    if found is None or affine is None or not alone(_behind_moves(old.inputs[0])):
        return None
    product, moves, channels = found
    if not isinstance(product.op, WEIGHTED) or channels != (-3 if isinstance(product.op, Conv) else -1):
        return None
    x = _scaled(product, old, *affine)
    if x is None:
        return None
    for move in reversed(moves):
        x = make(move.op, x, origin=move.origin)
    return x


def _scaled(product: Node, old: Node, factor: Array, offset: Array) -> Node | None:
    """The product with each output channel times a factor plus an offset; None where its weights are computed."""
    parameters = [value_of(n) for n in product.inputs[1:]]
    if any(p is None for p in parameters):
        return None
    weight, bias = parameters[0], parameters[1] if len(parameters) > 1 else np.zeros(len(factor))
    assert weight is not None and bias is not None
    with np.errstate(all="ignore"):
        scaled = weight * factor.reshape(-1, *(1 for _ in range(weight.ndim - 1))), bias * factor + offset
    if not fits_float32(*scaled):
        return None
    return make(
        product.op,
        product.inputs[0],
        constant(scaled[0], product.inputs[1].origin),
        constant(scaled[1], product.inputs[-1].origin),
        origin=merge_origins(product.origin, old.origin),
    )


def _affine(old: Node, operands: tuple[Node, ...], position: int, product: Node) -> tuple[Array, Array] | None:
    """(factor, offset) per output channel of the product, in float64; None when `old` is nothing of that kind."""
    channel_axis = 1 if isinstance(product.op, Conv) else product.type.rank - 1
    channels = product.shape[channel_axis]
    if isinstance(old.op, BatchNormalization):
        return _batch_affine(old.op, operands) if position == 0 and channel_axis == 1 else None
    if len(operands) != 2 or old.shape != product.shape:
        return None
    other = value_of(operands[1 - position])
    if other is None:
        return None
    wanted = tuple(channels if axis == channel_axis else 1 for axis in range(product.type.rank))
    full = (1,) * (product.type.rank - other.ndim) + other.shape
    if any(n not in (1, m) for n, m in zip(full, wanted, strict=True)):
        return None
    value = np.broadcast_to(other.astype(np.float64).reshape(full), wanted).reshape(channels)
    one, zero = np.ones(channels), np.zeros(channels)
    if isinstance(old.op, Mul):
        return value, zero
    if isinstance(old.op, Add):
        return one, value
    if isinstance(old.op, Sub):
        return (one, -value) if position == 0 else (-one, value)
    if isinstance(old.op, Div) and position == 0 and bool(np.all(value != 0)):
        return 1 / value, zero
    return None


def _batch_affine(op: BatchNormalization, operands: tuple[Node, ...]) -> tuple[Array, Array] | None:
    values = [n.op.value.astype(np.float64) for n in operands[1:] if isinstance(n.op, Constant)]
    if len(values) < 4:
        return None
    gamma, beta, mean, variance = values
    with np.errstate(all="ignore"):  # what is not finite is not folded
        factor = gamma / np.sqrt(variance + op.epsilon)
    return factor, beta - mean * factor


def _in_front(old: Node, operands: tuple[Node, ...], alone: Callable[[Node], bool]) -> Node | None:
    """product(moves(BatchNormalization(x))): factor into the weight's inputs, offset into the bias."""
    if not isinstance(old.op, WEIGHTED):
        return None
    found = _through_moves(operands[0], old.inputs[0], -1 if isinstance(old.op, Linear) else -3, alone)
    parameters = [value_of(n) for n in operands[1:]]
    if found is None or any(p is None for p in parameters):
        return None
    norm, moves, channels = found
    if not isinstance(norm.op, BatchNormalization) or channels != 1 - norm.type.rank or not alone(_behind_moves(old.inputs[0])):
        return None
    affine = _batch_affine(norm.op, norm.inputs)
    if affine is None or (isinstance(old.op, Conv) and any(old.op.pads) and bool(np.any(affine[1]))):
        return None  # what pads a map gets no offset
    weight, bias = parameters[0], parameters[1] if len(parameters) > 1 else np.zeros(operands[1].shape[0])
    assert weight is not None and bias is not None
    factor, offset = (_per_weight(old.op, weight, part) for part in affine)
    with np.errstate(all="ignore"):
        scaled = weight * factor, bias + (weight * offset).reshape(len(weight), -1).sum(axis=1)
    if not fits_float32(*scaled):
        return None
    x = norm.inputs[0]
    for move in reversed(moves):
        x = make(move.op, x, origin=move.origin)
    return make(
        old.op,
        x,
        constant(scaled[0], operands[1].origin),
        constant(scaled[1], operands[-1].origin),
        origin=merge_origins(norm.origin, old.origin),
    )


def _through_moves(node: Node, old: Node, channels: int, alone: Callable[[Node], bool]) -> tuple[Node, list[Node], int] | None:
    """(what is moved, the moves, its axis of channels from the end), where only the moves read all that is moved."""
    moves = []
    while isinstance(node.op, (Transpose, Reshape)) and type(old.op) is type(node.op):
        places = carried_from(node, channels)
        if places is None or not alone(old):
            return None
        moves.append(node)
        (node, channels), old = places[0], old.inputs[0]
    return node, moves, channels


def _behind_moves(node: Node) -> Node:
    while isinstance(node.op, (Transpose, Reshape)):
        node = node.inputs[0]
    return node


def _per_weight(op: Op, weight: Array, channels: Array) -> Array:
    """One number for each input channel, spread over a product's weights."""
    if isinstance(op, Conv):
        groups = channels.reshape(op.groups, 1, weight.shape[1], 1, 1)
        return np.broadcast_to(groups, (op.groups, len(weight) // op.groups, weight.shape[1], 1, 1)).reshape(
            len(weight), weight.shape[1], 1, 1
        )
    return np.repeat(channels, weight.shape[1] // len(channels))
