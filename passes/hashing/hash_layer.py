"""Hash functions of an attention layer: what they learn from, the nodes that replace it, how similar its maps remain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.hashing.attention_layers import AttentionLayer, Projection, projection
from edgewright.passes.ir import Array, Graph, Node, make, rebuild
from edgewright.passes.learn.hashing import HashFunctions, learn_hashing, shared_projection
from edgewright.passes.ops import Attention, HashAttention, HashCodes, Linear, constant
from edgewright.passes.ops.numeric import softmax

if TYPE_CHECKING:
    from edgewright.passes.hashing.hash_attention import HashAttentionLayers

QUERIES = 128  # of a sample, at most, whose maps are compared

Values = Mapping[Node, Array]


@dataclass(frozen=True, slots=True, eq=False)
class HashedLayer:
    """What stands for an Attention: weight and bias of u from the value that Q and K came from, or None where u is q."""

    functions: HashFunctions
    affine: tuple[Array, Array] | None


def shared(layer: AttentionLayer) -> tuple[Projection, Projection] | None:
    """Q and K as rows of Linears of one value."""
    query, key = (projection(node) for node in layer.node.inputs[:2])
    return (query, key) if query is not None and key is not None and query.x is key.x else None


def read_by(layer: AttentionLayer) -> tuple[Node, ...]:
    """Return whose values `learn_layer` takes: q, k, and what they are projected from."""
    both = shared(layer)
    return (*layer.node.inputs[:2], *(() if both is None else (both[0].x,)))


def learn_layer(layer: AttentionLayer, values: Values, settings: HashAttentionLayers) -> HashedLayer:
    """Hash functions from values of many samples along the leading axis."""
    q, k = (values[node] for node in layer.node.inputs[:2])
    heads, both = layer.op.heads, shared(layer)
    affine = None
    if both is not None:
        query, key = ((part.weight, part.bias) for part in both)
        affine = query if settings.projection == "queries" else shared_projection(values[both[0].x], query, key, heads)
    u = q if affine is None or both is None else values[both[0].x] @ affine[0].T + affine[1]
    scores = (q, k) if settings.target == "scores" else None
    functions = learn_hashing(u, scores, heads, settings.bits, settings.supports, settings.seed + layer.index)
    return HashedLayer(functions, affine)


def replace_attention(graph: Graph, hashed: Mapping[Node, HashedLayer], settings: HashAttentionLayers) -> Graph:
    """Return the graph with hashed attention in the place of each of these nodes; K and what only it needed are gone."""

    def change(old: Node, operands: tuple[Node, ...]) -> Node | None:
        if old not in hashed:
            return None
        layer, (q, _, v, *_) = hashed[old], operands
        assert isinstance(old.op, Attention)
        u = q
        if layer.affine is not None:
            queries = projection(q)
            assert queries is not None, "rewriting keeps the projection"
            u = make(Linear(), queries.x, *map(constant, layer.affine), origin=q.origin)
        values = projection(v)
        if values is not None:  # a Linear of its own: of a merged one nothing but these rows is left
            v = make(Linear(), values.x, constant(values.weight), constant(values.bias), origin=v.origin)
        functions = layer.functions
        operands = tuple(constant(a) for a in (functions.anchors, functions.coefficients, functions.threshold))
        name = (f"{old.name}_codes", *old.origin)
        codes = make(HashCodes(old.op.heads, functions.sigma), u, *operands, origin=name)
        return make(HashAttention(old.op.heads, settings.bits, settings.constant), codes, v, origin=old.origin)

    return rebuild(graph, change)


def attention_map(layer: AttentionLayer, values: Values, rows: Array) -> Array:
    """softmax(scale q k^T) of some queries, (samples, H, rows, tokens)."""
    heads = layer.op.heads
    q, k = (values[node].reshape(*values[node].shape[:2], heads, -1).swapaxes(1, 2) for node in layer.node.inputs[:2])
    return softmax(q[:, :, rows] @ k.swapaxes(-1, -2) * layer.op.scale, -1)


def hashed_map(codes: Array, heads: int, rows: Array) -> Array:
    """Return weights between codes (samples, tokens, H b), each row adding up to 1."""
    split = codes.reshape(*codes.shape[:2], heads, -1).swapaxes(1, 2)
    weights = split[:, :, rows] @ split.swapaxes(-1, -2) + (split.shape[-1] + 1)
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def compared(before: Array, after: Array) -> tuple[float, float]:
    """Return of two maps of the same shape, whose rows add up to 1, the mean cosine of rows, and the KL divergence in nats
    from the first."""
    lengths = np.sqrt(np.square(before).sum(axis=-1) * np.square(after).sum(axis=-1))
    cosine = (before * after).sum(axis=-1) / lengths
    divergence = (before * np.log(np.maximum(before, 1e-30) / after)).sum(axis=-1)
    return float(cosine.mean()), float(divergence.mean())
