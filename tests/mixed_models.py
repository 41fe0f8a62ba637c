"""Small networks beyond the plain ViT, made by code: convolutions with gates, windows with position biases, text."""

from __future__ import annotations

import math

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import Array, Int
from edgewright.passes.ops import (
    Add,
    Attention,
    Cast,
    Concat,
    Conv,
    Div,
    Gather,
    Gelu,
    LayerNormalization,
    Linear,
    MatMul,
    Mul,
    ReduceMean,
    Relu,
    Reshape,
    Sigmoid,
    Silu,
    Slice,
    Softmax,
    Sub,
    Transpose,
    Where,
    constant,
    graph_input,
)

WORDS, LENGTH = 29, 9


def scalar(value: float) -> Node:
    """A constant of no axes."""
    return constant(np.array(value, np.float32))


class Layers:
    """Layers with random, well-scaled weights; each takes a value and the name it goes by."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Node:
        return constant((self.rng.standard_normal(shape) * scale).astype(np.float32))

    def conv(self, x: Node, outs: int, name: str, kernel: int = 1, stride: int = 1, groups: int = 1) -> Node:
        ins, around = x.shape[1] // groups, kernel // 2
        w = self.normal(outs, ins, kernel, kernel, scale=1 / math.sqrt(ins * kernel * kernel))
        op = Conv((stride, stride), (around,) * 4, groups=groups)
        return make(op, x, w, self.normal(outs, scale=0.2), origin=(name,))

    def linear(self, x: Node, outs: int, name: str) -> Node:
        w = self.normal(outs, x.shape[-1], scale=1 / math.sqrt(x.shape[-1]))
        return make(Linear(), x, w, self.normal(outs, scale=0.2), origin=(name,))

    def norm(self, x: Node, name: str) -> Node:
        gamma = constant(1 + 0.3 * self.rng.standard_normal(x.shape[-1]).astype(np.float32))
        return make(LayerNormalization(1e-5), x, gamma, self.normal(x.shape[-1], scale=0.2), origin=(name,))


def gated_network(seed: int = 0) -> Graph:
    """A convolutional network as mobile ones are: strided stem, depthwise residual, squeeze and excite, pooling of maps."""
    layers = Layers(seed)
    image = graph_input("image", (1, 3, 12, 12))
    x = make(Relu(), layers.conv(image, 8, "stem", 3, 2), origin=("stem_relu",))
    x = make(Add(), x, layers.conv(x, 8, "depthwise", 3, groups=8), origin=("add",))
    y = make(Relu(), layers.conv(x, 16, "widen"), origin=("widen_relu",))
    y = make(Relu(), layers.conv(y, 16, "depthwise2", 3, 2, 16), origin=("depthwise2_relu",))
    gate = make(Relu(), layers.conv(make(ReduceMean((2, 3)), y, origin=("squeeze",)), 4, "reduce"), origin=("reduce_relu",))
    gate = make(Sigmoid(), layers.conv(gate, 16, "expand"), origin=("gate",))
    y = layers.conv(make(Mul(), y, gate, origin=("gated",)), 12, "narrow")
    y = make(Add(), y, make(Silu(), layers.conv(y, 12, "side", 3), origin=("side_silu",)), origin=("add2",))
    pooled = make(ReduceMean((2, 3), False), y, origin=("pool",))
    return Graph("gated", (image,), (layers.linear(pooled, 5, "head"),), ("logits",))


def windows_network(seed: int = 0) -> Graph:
    """Attention in four windows of a map: q, k and v are channels of one convolution, v wider, a bias per position."""
    layers = Layers(seed)
    image = graph_input("image", (1, 8, 6, 6))
    x = layers.conv(image, 8, "embed", 3)
    x = make(Add(), x, layers.conv(x, 8, "depthwise", 3, groups=8), origin=("mixed",))
    tiles = make(Transpose((0, 2, 4, 1, 3, 5)), make(Reshape((1, 8, 2, 3, 2, 3)), x), origin=("windows",))
    tiles = make(Reshape((4, 8, 3, 3)), tiles, origin=("tiles",))
    parts = []
    carry: Node | None = None
    for head in range(2):
        part = make(Slice(1, 4 * head, 4 * head + 4), tiles, origin=(f"part{head}",))
        part = part if carry is None else make(Add(), part, carry, origin=(f"cascade{head}",))
        qkv = layers.conv(part, 12, f"qkv{head}")
        q, k, v = (make(Slice(1, a, b), qkv, origin=(f"{n}{head}",)) for n, a, b in (("q", 0, 4), ("k", 4, 8), ("v", 8, 12)))
        q = layers.conv(q, 4, f"local{head}", 3, groups=4)
        rows = [make(Transpose((0, 2, 1)), make(Reshape((4, n.shape[1], 9)), n), origin=n.origin) for n in (q, k, v)]
        mixed = make(Attention(1, 0.5), *rows, layers.normal(9, 9), origin=(f"attention{head}",))
        carry = make(Reshape((4, 4, 3, 3)), make(Transpose((0, 2, 1)), mixed), origin=(f"back{head}",))
        parts.append(carry)
    y = layers.conv(make(Relu(), make(Concat(1), *parts, origin=("joined",)), origin=("joined_relu",)), 8, "project")
    y = make(Add(), tiles, y, origin=("residual",))
    difference = make(Sub(), y, make(ReduceMean((1,)), y, origin=("mean",)), origin=("centred",))
    return Graph("windows", (image,), (make(Div(), difference, scalar(3), origin=("third",)),), ("map",))


def text_network(seed: int = 0, arithmetic_mask: bool = False) -> Graph:
    """Embeddings, a mask from an input, LayerNorm behind each sum; the mask chosen, or computed as (1 - mask) * -1e30."""
    layers = Layers(seed)
    ids, mask = (graph_input(name, (1, LENGTH), Int(64)) for name in ("ids", "mask"))
    keys = make(Reshape((1, 1, 1, LENGTH)), mask)
    if arithmetic_mask:
        absent = make(Sub(), scalar(1), make(Cast(), keys), origin=("absent",))
        bias = make(Mul(), absent, scalar(-1e30), origin=("bias",))
    else:
        bias = make(Where(), keys, scalar(0), scalar(-np.inf), origin=("bias",))
    words = make(Gather(0), layers.normal(WORDS, 16), ids, origin=("words",))
    x = layers.norm(make(Add(), words, layers.normal(1, LENGTH, 16), origin=("placed",)), "norm")
    for block in range(2):
        q, k, v = (layers.linear(x, 16, f"{name}{block}") for name in "qkv")
        mixed = make(Attention(2, 0.35), q, k, v, bias, origin=(f"attention{block}",))
        x = layers.norm(make(Add(), x, layers.linear(mixed, 16, f"out{block}"), origin=(f"sum{block}",)), f"normed{block}")
        hidden = make(Gelu(), layers.linear(x, 32, f"up{block}"), origin=(f"gelu{block}",))
        x = layers.norm(make(Add(), x, layers.linear(hidden, 16, f"down{block}"), origin=(f"add{block}",)), f"after{block}")
    return Graph("text", (ids, mask), (x,), ("states",))


def plain_attention(seed: int = 0) -> Graph:
    """Softmax and products of activations that nobody recognised as attention."""
    layers = Layers(seed)
    x = graph_input("x", (1, 6, 8))
    q, k, v = (layers.linear(x, 8, name) for name in "qkv")
    scores = make(MatMul(), q, make(Transpose((0, 2, 1)), k, origin=("kt",)), origin=("scores",))
    weights = make(Softmax(-1), make(Mul(), scores, scalar(0.4), origin=("scaled",)), origin=("weights",))
    return Graph("plain", (x,), (make(MatMul(), weights, v, origin=("mixed",)), weights), ("mixed", "weights"))


def samples(graph: Graph, count: int, seed: int = 0) -> dict[str, Array]:
    """Normal values for floats, ids, and masks that keep at least the first two tokens."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for node in graph.inputs:
        shape = (count * node.shape[0], *node.shape[1:])
        if node.type.is_float:
            found[node.name] = rng.standard_normal(shape).astype(np.float32)
        elif node.name == "mask":
            found[node.name] = (np.arange(shape[1]) < rng.integers(2, shape[1] + 1, (count, 1))).astype(np.int64)
        else:
            found[node.name] = rng.integers(0, WORDS, shape)
    return found
