"""Small integer models whose nodes have names: stems of convolutions, rotary positions."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.types import INT8, INT16, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Concat,
    Conv,
    LayerNormalization,
    Linear,
    Mul,
    Quantise,
    Requantise,
    Reshape,
    Slice,
    Transpose,
    constant,
    graph_input,
)

from tests.hw.integer_models import IDENTITY, Builder


class Model(Builder):
    """A chain on one int8 image or token input, every node under a name of its own."""

    def __init__(self, *shape: int) -> None:
        super().__init__(1)
        self.x = graph_input("x", shape)
        self.start = make(Quantise(0.02, 0), self.x, origin=("x",))

    def scaled(self, acc: Node, wide: bool = False) -> Node:
        """Requantised under the accumulators' name."""
        factors = constant(np.array([40000], np.int32)), constant(np.array([20], np.int8))
        return make(Requantise(0, INT16 if wide else INT8), acc, *factors, origin=acc.origin)

    def conv(self, x: Node, name: str, wide: bool = False, dilation: int = 1) -> Node:
        """A 3 x 3 convolution that keeps the size."""
        channels = x.shape[1]
        weight = self.integers(-9, 9, (channels, channels, 3, 3), "int8")
        op = Conv(pads=(dilation,) * 4, dilations=(dilation, dilation))
        acc = make(op, x, weight, self.integers(-9, 9, channels, "int32"), origin=(name,))
        return self.scaled(acc, wide=wide)

    def tokens(self, maps: Node) -> Node:
        """(1, C, H, W) -> (1, H W, C)."""
        _, channels, height, width = maps.shape
        moved = make(Transpose((0, 2, 3, 1)), maps, origin=("to tokens",))
        return make(Reshape((1, height * width, channels)), moved, origin=("flatten",))

    def graph(self, *outputs: Node) -> Graph:
        """The graph."""
        return Graph("g", (self.x,), outputs, tuple(f"y{i}" for i in range(len(outputs))), Level.QUANTISED)


def stem(dilation: int = 1) -> Graph:
    """Return a stem of six convolutions, a transpose to tokens, and a sum that has lost its product."""
    model = Model(1, 16, 4, 4)
    maps = model.start
    for layer in range(6):
        maps = model.conv(maps, f"stem.{layer}", wide=layer == 5, dilation=dilation)
    position = model.integers(-9, 9, (1, 16, 16), "int16")
    stream = make(AddRequantised(*IDENTITY, *IDENTITY), model.tokens(maps), position, origin=("add",))
    return model.graph(model.linear(model.norm(stream), 10, INT16))


def rotary(heads: int) -> Graph:
    """Return attention among 6 tokens of 32 channels, its queries and keys turned by a table of angles; several heads are moved
    in front of the tokens before."""
    model, width = Model(1, 6, 32), 32 // heads
    qkv = [model.linear(model.start, 32) for _ in range(3)]
    if heads > 1:
        split = [make(Reshape((1, 6, heads, width)), x, origin=("split",)) for x in qkv]
        moved = [make(Transpose((0, 2, 1, 3)), x, origin=("heads",)) for x in split]
        qkv = [make(Reshape((heads, 6, width)), x, origin=("heads",)) for x in moved]
    turned = []
    for x in qkv[:2]:
        halves = make(Concat(2), make(Slice(2, width // 2, width), x), make(Slice(2, 0, width // 2), x), origin=("halves",))
        parts = [
            model.scaled(make(Mul(), part, model.integers(-9, 9, (1, 6, width), "int8"), origin=("angle",)), wide=True)
            for part in (x, halves)
        ]
        total = make(AddRequantised(*IDENTITY, *IDENTITY), *parts, origin=("rotated",))
        turned.append(model.scaled(total))
    mixed = make(Attention(1, 1.0, score_multiplier=50000, score_shift=19), *turned, qkv[2], origin=("attention",))
    moved_back = make(Transpose((1, 0, 2)), model.scaled(mixed), origin=("back",))
    return model.graph(model.linear(make(Reshape((1, 6, 32)), moved_back, origin=("back",)), 10, INT16))


def odd_norm() -> Graph:
    """Return a product that reads a LayerNorm over 24 channels."""
    model = Model(1, 4, 48)
    stream = model.linear(model.start, 24, INT16)
    affine = (model.integers(1, 9, 24, kind) for kind in ("int32", "int64"))
    normed = make(LayerNormalization(1e-6, 1, 9, 0, INT8), stream, *affine)
    weight = model.integers(-9, 9, (8, 24), "int8")
    return model.graph(model.scaled(make(Linear(), normed, weight, model.integers(0, 1, 8, "int32")), wide=True))
