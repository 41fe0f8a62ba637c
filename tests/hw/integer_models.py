"""Integer vision transformers with random parameters: everything that the engine runs, in sizes that a test can afford."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT8, INT16, Array, Int, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    LayerNormalization,
    Linear,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Requantise,
    Reshape,
    Slice,
    Table,
    constant,
    graph_input,
)

IDENTITY = (1 << 15, 15)


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a model. ``pool``: mean over tokens instead of a class token."""

    image: int = 8
    patch: int = 2
    channels: int = 1
    width: int = 32
    heads: int = 2
    blocks: int = 1
    classes: int = 10
    pool: bool = False


class Builder:
    """Makes layers with random integers of plausible size."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def integers(self, low: int, high: int, shape: int | tuple[int, ...], dtype: str) -> Node:
        """A constant of random integers in [low, high]."""
        return constant(self.rng.integers(low, high + 1, shape).astype(dtype))

    def requantise(self, acc: Node, channels: int, elem: Int = INT8, zero_point: int = 0) -> Node:
        """Scale accumulators so that some results saturate."""
        shift = {8: 20, 16: 13}[elem.bits]
        multiplier = self.integers(1 << 15, (1 << 16) - 1, channels, "int32")
        return make(Requantise(zero_point, elem), acc, multiplier, self.integers(shift, shift + 1, channels, "int8"))

    def linear(self, x: Node, outputs: int, elem: Int = INT8, zero_point: int = 0) -> Node:
        """A product with bias, requantised per channel."""
        weight = self.integers(-127, 127, (outputs, x.shape[-1]), "int8")
        acc = make(Linear(), x, weight, self.integers(-2000, 2000, outputs, "int32"))
        return self.requantise(acc, outputs, elem, zero_point)

    def norm(self, x: Node, zero_point: int = 3) -> Node:
        """LayerNorm with random scale and offset."""
        width, shift = x.shape[-1], 22
        multiplier = self.integers(-60000, 60000, width, "int32")
        offset = self.rng.integers(-(2**24), 2**24, width) + (zero_point << shift)
        op = LayerNormalization(1e-6, eps_term=12345, shift=shift, zero_point=zero_point)
        return make(op, x, multiplier, constant(offset))

    def block(self, x: Node, heads: int) -> Node:
        """One pre-norm transformer block on the int16 residual stream."""
        width = x.shape[-1]
        qkv = self.linear(self.norm(x), 3 * width)
        q, k, v = (make(Slice(2, part * width, (part + 1) * width), qkv) for part in range(3))
        attended = make(Attention(heads, 1.0, score_multiplier=50000, score_shift=19), q, k, v)
        y = self.linear(self.requantise(attended, 1, zero_point=2), width, INT16)
        x = make(AddRequantised(40000, 16, *IDENTITY), x, y)
        hidden = make(Table(), self.linear(self.norm(x), 4 * width, zero_point=-5), self.integers(-127, 127, 256, "int8"))
        return make(AddRequantised(*IDENTITY, 45000, 16), self.linear(hidden, width, INT16), x)

    def vit(self, shape: Shape) -> Graph:
        """A whole model, image to logits."""
        image = graph_input("x", (1, shape.channels, shape.image, shape.image))
        tokens, depth = (shape.image // shape.patch) ** 2, shape.channels * shape.patch**2
        weight = self.integers(-127, 127, (shape.width, depth), "int8")
        acc = make(
            PatchEmbed(shape.patch),
            make(Quantise(0.02, 1), image),
            weight,
            self.integers(-2000, 2000, shape.width, "int32"),
        )
        position = self.integers(-3000, 3000, (1, tokens, shape.width), "int16")
        x = make(AddRequantised(*IDENTITY, 40000, 16), self.requantise(acc, shape.width, INT16), position)
        if not shape.pool:
            x = make(Concat(1), self.integers(-9000, 9000, (1, 1, shape.width), "int16"), x)
        for _ in range(shape.blocks):
            x = self.block(x, shape.heads)
        if shape.pool:
            x = self.requantise(make(ReduceSum((1,)), self.norm(x)), 1, zero_point=1)
        else:
            x = make(Reshape((1, shape.width)), self.norm(make(Slice(1, 0, 1), x)))
        return Graph("random", (image,), (self.linear(x, shape.classes, INT16),), ("logits",), Level.QUANTISED)


def random_vit(seed: int = 0, **sizes: Any) -> Graph:
    """A model of ``Shape(**sizes)``."""
    return Builder(seed).vit(Shape(**sizes))


def random_image(graph: Graph, seed: int = 1, samples: int = 1) -> dict[str, Array]:
    """Standard-normal inputs of a graph."""
    shape = graph.inputs[0].shape
    return {"x": np.random.default_rng(seed).normal(size=(samples, *shape[1:])).astype(np.float32)}
