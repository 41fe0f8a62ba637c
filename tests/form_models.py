"""Small networks with what is neither a product nor softmax attention: linear attention with its division, norms of maps."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ops import (
    Add,
    BatchNormalization,
    Div,
    Gelu,
    LayerNormalization,
    Linear,
    MatMul,
    Mul,
    ReduceMean,
    Relu,
    Reshape,
    Slice,
    Sqrt,
    Transpose,
    constant,
    graph_input,
)

from tests.mixed_models import Layers, scalar


def linear_attention_network(seed: int = 0) -> Graph:
    """Two blocks of attention without softmax (Katharopoulos et al., ICML 2020): the sums that divide it come from keys
    alone in the first, and from a channel of ones beside the values in the second, as in EfficientViT (MIT)."""
    layers = Layers(seed)
    tokens = graph_input("tokens", (1, 12, 16))
    x = layers.linear(tokens, 16, "embed")
    q, k, v = (layers.linear(layers.norm(x, "norm0"), 16, f"{name}0") for name in "qkv")
    q, k = (make(Relu(), n, origin=(f"{n.name}_relu",)) for n in (q, k))
    turned = make(Transpose((0, 2, 1)), k, origin=("turned0",))
    mixed = make(MatMul(), q, make(MatMul(), turned, v, origin=("context0",)), origin=("mixed0",))
    total = make(Mul(), make(ReduceMean((1,)), k, origin=("mean0",)), scalar(12), origin=("total0",))
    weight = make(MatMul(), q, make(Transpose((0, 2, 1)), total), origin=("weight0",))
    ratio = make(Div(), mixed, make(Add(), weight, scalar(1e-6), origin=("floor0",)), origin=("ratio0",))
    x = make(Add(), x, layers.linear(ratio, 16, "out0"), origin=("sum0",))
    joined = layers.linear(layers.norm(x, "norm1"), 33, "joined")
    q, k = (make(Relu(), make(Slice(2, a, a + 8), joined), origin=(f"relu{a}",)) for a in (0, 8))
    rows = np.r_[np.eye(16), np.zeros((1, 16))].astype(np.float32)
    v = make(
        Linear(), make(Slice(2, 16, 32), joined), constant(rows), constant(np.eye(17)[16].astype(np.float32)), origin=("v1",)
    )
    context = make(MatMul(), make(Transpose((0, 2, 1)), k), v, origin=("context1",))
    mixed = make(MatMul(), q, context, origin=("mixed1",))
    above, below = make(Slice(2, 0, 16), mixed, origin=("above",)), make(Slice(2, 16, 17), mixed, origin=("below",))
    ratio = make(Div(), above, make(Add(), below, scalar(1e-3), origin=("floor1",)), origin=("ratio1",))
    return Graph("linear", (tokens,), (make(Add(), x, layers.linear(ratio, 16, "out1"), origin=("sum1",)),), ("y",))


def normed_maps_network(seed: int = 0) -> Graph:
    """A BatchNormalization that no product takes in, a GroupNorm over a whole map, wider than 1,024 values, and the
    response normalisation of ConvNeXt V2 (Woo et al., CVPR 2023, section 3)."""
    layers = Layers(seed)
    image = graph_input("image", (1, 4, 12, 12))
    x = make(Gelu(), layers.conv(image, 8, "stem", 3), origin=("gelu",))
    statistics = (
        layers.normal(8),
        layers.normal(8),
        layers.normal(8),
        constant(layers.rng.uniform(0.5, 2, 8).astype("float32")),
    )
    x = layers.conv(make(BatchNormalization(), x, *statistics, origin=("batch",)), 8, "inner", 3)
    x = make(Add(), x, layers.conv(_grouped(layers, x), 8, "side"), origin=("sum",))
    square = make(ReduceMean((2, 3)), make(Mul(), x, x, origin=("squares",)), origin=("energy",))
    norm = make(Sqrt(), square, origin=("norm",))
    floor = make(Add(), make(ReduceMean((1,)), norm, origin=("mean",)), scalar(1e-6), origin=("floor",))
    response = make(Mul(), x, make(Div(), norm, floor, origin=("response",)), origin=("responding",))
    y = make(Add(), x, make(Mul(), response, layers.normal(1, 8, 1, 1), origin=("gamma",)), origin=("sum2",))
    return Graph("maps", (image,), (layers.conv(y, 5, "head"),), ("maps",))


def _grouped(layers: Layers, x: Node) -> Node:
    """A GroupNorm of one group."""
    rows = make(Reshape((1, 1, x.type.size)), x, origin=("rows",))
    one, zero = (constant(np.full(x.type.size, value, np.float32)) for value in (1, 0))
    normal = make(Reshape(x.shape), make(LayerNormalization(1e-5), rows, one, zero, origin=("normal",)), origin=("maps",))
    by, plus = layers.normal(1, x.shape[1], 1, 1), layers.normal(1, x.shape[1], 1, 1)
    return make(Add(), make(Mul(), normal, by, origin=("by",)), plus, origin=("grouped",))
