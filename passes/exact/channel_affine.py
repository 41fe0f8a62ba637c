"""A factor and an offset for each channel: what a node does to an operand, and how a product takes it into its weights."""

from __future__ import annotations

import numpy as np
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Node, Op, make, merge_origins
from edgewright.passes.ops import Add, BatchNormalization, Conv, ConvTranspose, Div, Mul, Sub, constant, value_of
from edgewright.passes.ops.groups import WEIGHTED, Group

SCALABLE: Group = (*WEIGHTED, ConvTranspose)  # whose filters are not its weight's rows, and which only exists until it is split


def channel_affine(node: Node, position: int, axis: int) -> tuple[Array, Array] | None:
    """Return (factor, offset), both (channels,) in float64, where node is factor * operand + offset of the operand at
    `position`, channels along `axis` of both; None where it is not."""
    op = node.op
    if isinstance(op, BatchNormalization):
        values = [value_of(operand) for operand in node.inputs[1:]]
        if position != 0 or axis != 1 or any(value is None for value in values):
            return None
        gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
        with np.errstate(all="ignore"):  # what is not finite is not folded
            factor = gamma / np.sqrt(variance + op.epsilon)
        return factor, beta - mean * factor
    if not isinstance(op, (Add, Div, Mul, Sub)) or node.inputs[position].shape != node.shape:
        return None
    other, rank = value_of(node.inputs[1 - position]), node.type.rank
    if other is None:
        return None
    by_channel = tuple(node.shape[axis] if i == axis else 1 for i in range(rank))
    full = (1,) * (rank - other.ndim) + other.shape
    if any(n not in (1, m) for n, m in zip(full, by_channel, strict=True)):
        return None
    value = np.broadcast_to(other.astype(np.float64).reshape(full), by_channel).reshape(-1)
    ones, zeros = np.ones(len(value)), np.zeros(len(value))
    if isinstance(op, Mul):
        return value, zeros
    if isinstance(op, Add):
        return ones, value
    if isinstance(op, Sub):
        return (ones, -value) if position == 0 else (-ones, value)
    return (1 / value, zeros) if position == 0 and bool(np.all(value != 0)) else None


def outputs_scaled(product: Node, by: Node, factor: Array, offset: Array) -> Node | None:
    """Return a product whose output channels `by` multiplies and adds to, with that in its weights; None where they are
    computed, or float32 cannot hold the new ones."""
    parameters = _parameters(product, len(factor))
    if parameters is None:
        return None
    weight, bias = parameters
    with np.errstate(all="ignore"):
        if isinstance(product.op, ConvTranspose):  # weights (C, O / groups, KH, KW): groups of outputs beside groups of inputs
            groups = product.op.groups
            rows = np.repeat(factor.reshape(groups, -1), len(weight) // groups, axis=0)[:, :, None, None]
        else:
            rows = factor.reshape(-1, *(1 for _ in range(weight.ndim - 1)))
        return _with_weights(product, product.inputs[0], weight * rows, bias * factor + offset, (product, by))


def inputs_scaled(product: Node, x: Node, by: Node, factor: Array, offset: Array) -> Node | None:
    """Return a product of what `by` makes of x, input channels times factor plus offset, as a product of x; None likewise,
    and for a transposed convolution."""
    parameters = _parameters(product, product.inputs[1].shape[0])
    if parameters is None or isinstance(product.op, ConvTranspose):
        return None
    weight, bias = parameters
    columns, added = (_per_weight(product.op, weight, part) for part in (factor, offset))
    with np.errstate(all="ignore"):
        moved = bias + (weight.astype(np.float64) * added).reshape(len(weight), -1).sum(axis=1)
        return _with_weights(product, x, weight * columns, moved, (by, product))


def _parameters(product: Node, outputs: int) -> tuple[Array, Array] | None:
    values = [value_of(operand) for operand in product.inputs[1:]]
    weight, bias = values[0], values[1] if len(values) > 1 else np.zeros(outputs)
    return None if weight is None or bias is None else (weight, bias)


def _with_weights(product: Node, x: Node, weight: Array, bias: Array, origins: tuple[Node, Node]) -> Node | None:
    if not fits_float32(weight, bias):
        return None
    parts = constant(weight, product.inputs[1].origin), constant(bias, product.inputs[-1].origin)
    return make(product.op, x, *parts, origin=merge_origins(*(node.origin for node in origins)))


def _per_weight(op: Op, weight: Array, channels: Array) -> Array:
    """Return one number for each input channel, spread over a product's weights."""
    if isinstance(op, Conv):
        by_group = channels.reshape(op.groups, 1, weight.shape[1])
        rows = np.broadcast_to(by_group, (op.groups, len(weight) // op.groups, weight.shape[1]))
        return rows.reshape(len(weight), weight.shape[1], 1, 1)
    return np.repeat(channels, weight.shape[1] // len(channels))
