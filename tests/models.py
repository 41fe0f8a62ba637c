"""Small vision transformers made by code: random, well-scaled weights, the forms the reader delivers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import (
    Add,
    Attention,
    Clip,
    Concat,
    Elementwise,
    Gelu,
    HardSwish,
    LayerNormalization,
    Linear,
    PatchEmbed,
    ReduceMean,
    Relu,
    Reshape,
    Sigmoid,
    Silu,
    Slice,
    Tanh,
    constant,
    graph_input,
)

ACTIVATIONS: dict[str, Op] = {
    "gelu": Gelu(),
    "gelu_tanh": Gelu("tanh"),
    "relu": Relu(),
    "silu": Silu(),
    "hard_swish": HardSwish(),
    "sigmoid": Sigmoid(),
    "tanh": Tanh(),
    "clip": Clip(-0.5, 2.0),
    "mish": Elementwise("Mish"),
}


@dataclass
class VitBuilder:
    """Draws weights in a fixed order from one generator."""

    rng: np.random.Generator
    heads: int
    hidden: int
    activation: str
    merged_qkv: bool
    names: dict[str, int] = field(default_factory=dict)

    def normal(self, *shape: int, scale: float = 1.0) -> Array:
        return (self.rng.standard_normal(shape) * scale).astype(np.float32)

    def linear(self, x: Node, outs: int, name: str, gain: float = 1.0) -> Node:
        ins = x.shape[-1]
        w = constant(self.normal(outs, ins, scale=gain / math.sqrt(ins)))
        b = constant(self.normal(outs, scale=0.1))
        return make(Linear(), x, w, b, origin=(name,))

    def norm(self, x: Node, name: str) -> Node:
        width = x.shape[-1]
        gamma = 1 + self.normal(width, scale=0.3)
        gamma[:: max(width // 3, 1)] *= 3  # the few strong channels that trained models have
        beta = self.normal(width, scale=0.3)
        return make(LayerNormalization(1e-6), x, constant(gamma), constant(beta), origin=(name,))

    def qkv(self, x: Node, name: str) -> tuple[Node, Node, Node]:
        width = x.shape[-1]
        if not self.merged_qkv:
            q, k = (self.linear(x, width, f"{name}.{part}", 1.5) for part in "qk")
            return q, k, self.linear(x, width, f"{name}.v")
        merged = self.linear(x, 3 * width, f"{name}.qkv", 1.5)
        parts = [make(Slice(2, i * width, (i + 1) * width), merged, origin=(f"{name}.{part}",)) for i, part in enumerate("qkv")]
        return parts[0], parts[1], parts[2]

    def block(self, x: Node, name: str) -> Node:
        width = x.shape[-1]
        q, k, v = self.qkv(self.norm(x, f"{name}.norm1"), name)
        scale = 1 / math.sqrt(width // self.heads)
        attended = make(Attention(self.heads, scale), q, k, v, origin=(f"{name}.attention",))
        x = make(Add(), x, self.linear(attended, width, f"{name}.proj"), origin=(f"{name}.add1",))
        wide = self.linear(self.norm(x, f"{name}.norm2"), self.hidden, f"{name}.fc1", 1.5)
        active = make(ACTIVATIONS[self.activation], wide, origin=(f"{name}.act",))
        return make(Add(), x, self.linear(active, width, f"{name}.fc2"), origin=(f"{name}.add2",))


def tiny_vit(
    seed: int = 0,
    *,
    image: int = 16,
    patch: int = 4,
    channels: int = 1,
    width: int = 32,
    heads: int = 2,
    blocks: int = 1,
    hidden: int | None = None,
    classes: int = 10,
    pooling: str = "cls",
    activation: str = "gelu",
    merged_qkv: bool = True,
) -> Graph:
    """A float ViT with (image / patch)^2 tokens, one more for pooling "cls"; "avg" takes the mean of all.

    Input "image" (1, channels, image, image), output "logits" (1, classes).
    """
    build = VitBuilder(np.random.default_rng(seed), heads, hidden or 2 * width, activation, merged_qkv)
    x = graph_input("image", (1, channels, image, image))
    ins = channels * patch * patch
    w = constant(build.normal(width, ins, scale=1 / math.sqrt(ins)))
    b = constant(build.normal(width, scale=0.1))
    tokens = make(PatchEmbed(patch), x, w, b, origin=("patch_embed",))
    if pooling == "cls":
        tokens = make(Concat(1), constant(build.normal(1, 1, width)), tokens, origin=("cls",))
    position = constant(build.normal(1, tokens.shape[1], width, scale=0.5))
    tokens = make(Add(), tokens, position, origin=("position",))
    for i in range(blocks):
        tokens = build.block(tokens, f"block{i}")
    tokens = build.norm(tokens, "norm")
    if pooling == "cls":
        row = make(Slice(1, 0, 1), tokens, origin=("class_token",))
        pooled = make(Reshape((1, width)), row, origin=("class_token",))
    else:
        pooled = make(ReduceMean((1,), keepdims=False), tokens, origin=("mean",))
    logits = build.linear(pooled, classes, "head")
    return Graph(f"tiny_vit_{pooling}_{seed}", (x,), (logits,), ("logits",))


def images(graph: Graph, count: int, seed: int = 0) -> Array:
    """Normal random samples for the graph's one input."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, *graph.inputs[0].shape[1:])).astype(np.float32)
