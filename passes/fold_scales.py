from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
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
    PatchEmbed,
    Sub,
    constant,
    value_of,
)
from edgewright.passes.transform import Note, Pass

PRODUCTS: tuple[type[Op], ...] = (Linear, PatchEmbed, Conv)


@dataclass(frozen=True, slots=True)
class FoldScales(Pass):
    """Folds a constant factor and offset per channel into the weights beside it.

    Before: BatchNormalization, or Mul, Div, Add, Sub with a constant per output channel (layer scale, a bias), behind
    a Linear, PatchEmbed or Conv; BatchNormalization of (1, C) in front of a Linear. After: other weights and bias.
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
    for position in range(min(len(operands), 2)):
        product = operands[position]
        if not isinstance(product.op, PRODUCTS) or not alone(old.inputs[position]):
            continue
        parameters = [value_of(n) for n in product.inputs[1:]]
        affine = _affine(old, operands, position, product)
        if affine is None or any(p is None for p in parameters):
            continue
        factor, offset = affine
        weight, bias = parameters[0], parameters[1] if len(parameters) > 1 else np.zeros(len(factor))
        assert weight is not None and bias is not None
        scaled = weight * factor.reshape(-1, *(1 for _ in range(weight.ndim - 1)))
        return make(
            product.op,
            product.inputs[0],
            constant(scaled, product.inputs[1].origin),
            constant(bias * factor + offset, product.inputs[-1].origin),
            origin=merge_origins(product.origin, old.origin),
        )
    return None


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
    factor = gamma / np.sqrt(variance + op.epsilon)
    return factor, beta - mean * factor


def _in_front(old: Node, operands: tuple[Node, ...], alone: Callable[[Node], bool]) -> Node | None:
    """Linear(BatchNormalization(x)): factor into the weight's columns, offset into the bias."""
    if not isinstance(old.op, Linear) or not isinstance(operands[0].op, BatchNormalization):
        return None
    norm = operands[0]
    affine = _batch_affine(operands[0].op, norm.inputs)
    weight, bias = value_of(operands[1]), value_of(operands[2])
    if affine is None or weight is None or bias is None or norm.type.rank != 2 or not alone(old.inputs[0]):
        return None
    factor, offset = affine
    return make(
        Linear(),
        norm.inputs[0],
        constant(weight * factor, operands[1].origin),
        constant(bias + weight.astype(np.float64) @ offset, operands[2].origin),
        origin=merge_origins(norm.origin, old.origin),
    )
