"""Which constants of a graph are weights: those that are trained by default, and those that decay."""

from __future__ import annotations

import numpy as np
from edgewright.passes import ops
from edgewright.passes.ir import Graph, Node, Op
from edgewright.passes.ops.groups import WEIGHTED, WINDOWS

# operands that are not trained: stored statistics, what hash functions were fitted to, exponents, divisors
SETTINGS: dict[type[Op], tuple[int, ...]] = {
    ops.BatchNormalization: (3, 4),
    ops.HashCodes: (1, 2, 3),
    ops.Pow: (1,),
    ops.Div: (1,),
    ops.Where: (0, 1, 2),
}
# operands that are matrices of a product
PRODUCTS: dict[type[Op], tuple[int, ...]] = {
    **dict.fromkeys((*WEIGHTED, ops.ConvTranspose), (1,)),
    ops.MatMul: (0, 1),
    ops.MoE: (2, 4),
}
MASKED = -50.0  # an added constant that goes below is a mask


def learnable_constants(graph: Graph) -> set[Node]:
    """Return float constants of more than one element that are weights, biases, affine factors, embeddings or tables.

    Left out: what `SETTINGS` names, and masks (added constants with values below -50, or infinite).
    """
    learnable: set[Node] = set()
    for user in graph.nodes():
        settings = SETTINGS.get(type(user.op), ())
        learnable.update(n for i, n in enumerate(user.inputs) if i not in settings and _may_learn(n))
    for user in graph.nodes():
        if isinstance(user.op, (ops.Add, ops.Attention)):
            learnable.difference_update(n for n in user.inputs if _is_mask(n))
    return learnable


def matrices(graph: Graph) -> set[Node]:
    """Constants that are a product's weight, as they stand or moved first (reshaped, transposed, sliced)."""
    constants: set[Node] = set()
    weights = {n for user in graph for i, n in enumerate(user.inputs) if i in PRODUCTS.get(type(user.op), ())}
    for node in reversed(graph.nodes()):
        if node in weights:
            if isinstance(node.op, ops.Constant):
                constants.add(node)
            elif isinstance(node.op, WINDOWS):
                weights.update(node.inputs)
    return constants


def _may_learn(node: Node) -> bool:
    value = ops.value_of(node)
    return value is not None and value.dtype.kind == "f" and value.size > 1 and bool(np.isfinite(value).all())


def _is_mask(node: Node) -> bool:
    value = ops.value_of(node)
    return value is not None and value.dtype.kind == "f" and value.size > 0 and bool(value.min() < MASKED)
