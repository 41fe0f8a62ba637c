"""Which products read a value's channels (its last axis) as they are, so that a factor per channel can move into them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.float32_range import fits_float32
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.ops import Linear, MoE, ReduceMean, Reshape, Slice, array_of, constant, value_of


def products_reading(node: Node, users: dict[Node, list[Node]], graph: Graph) -> list[Node] | None:
    """Return the Linears and experts with constant weights that read the node; None if others do, or it is an output."""
    if node in graph.outputs:
        return None
    products: list[Node] = []
    for user in dict.fromkeys(users[node]):
        if isinstance(user.op, (Linear, MoE)):
            parts = first_parts(user)
            if user.inputs[0] is not node or node in user.inputs[1:] or any(value_of(user.inputs[i]) is None for i in parts):
                return None
            products.append(user)
        elif keeps_channels(user):
            further = products_reading(user, users, graph)
            if further is None:
                return None
            products += further
        else:
            return None
    return products


def first_parts(product: Node) -> tuple[int, int]:
    """Return the positions of the weight (last axis: input channels) and the bias that are applied to the input first."""
    return (2, 3) if isinstance(product.op, MoE) else (1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Absorbed:
    """What changes when a factor and offset per channel move from a normalisation to products; weights: gamma, or with beta."""

    products: list[Node]
    weights: tuple[Array, ...]
    factor: Array
    offset: Array


def absorb(graph: Graph, norms: Mapping[Node, Absorbed]) -> Graph:
    """Return the graph with the new weights of the normalisations and of the products that read them."""
    of_product = {product: absorbed for absorbed in norms.values() for product in absorbed.products}

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        if old in norms:
            origins = operands[1].origin, operands[-1].origin
            parts = (constant(value, origin) for value, origin in zip(norms[old].weights, origins, strict=False))
            return make(old.op, operands[0], *parts, origin=old.origin)
        absorbed = of_product.get(old)
        return None if absorbed is None else _scaled_input(old, operands, absorbed.factor, absorbed.offset)

    return rebuild(graph, change)


def _scaled_input(product: Node, operands: tuple[Node, ...], factor: Array, offset: Array) -> Node:
    """Return the product with the same result for an input from which an offset was subtracted and which was then divided by a
    factor, both per channel."""
    parts = list(operands)
    for position, value in _scaled_parts(product, factor, offset).items():
        parts[position] = constant(value, operands[position].origin)
    return make(product.op, *parts, origin=product.origin)


def can_be_scaled(product: Node, factor: Array, offset: Array) -> bool:
    """Return whether float32 holds the weights that a product needs for that factor and offset."""
    return fits_float32(*_scaled_parts(product, factor, offset).values())


def _scaled_parts(product: Node, factor: Array, offset: Array) -> dict[int, Array]:
    position, added = first_parts(product)
    weight, bias = (array_of(product.inputs[i]) for i in (position, added))
    wide = weight.astype(np.float64)
    with np.errstate(all="ignore"):
        return {position: wide * factor, added: bias + wide @ offset}


def keeps_channels(node: Node) -> bool:
    """Return whether the node moves or averages tokens: each channel comes from itself alone, with weights of sum 1."""
    if isinstance(node.op, Reshape):
        return node.shape[-1:] == node.inputs[0].shape[-1:]
    if isinstance(node.op, (Slice, ReduceMean)):
        rank = node.inputs[0].type.rank
        axes = (node.op.axis,) if isinstance(node.op, Slice) else node.op.axes
        return all(axis % rank != rank - 1 for axis in axes)
    return False
