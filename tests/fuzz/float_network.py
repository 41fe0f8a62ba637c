"""A random float graph in the making: constants, layouts, inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT32, Array
from edgewright.passes.ops import (
    Reshape,
    Transpose,
    constant,
    graph_input,
)

SIDE, CHANNELS = 4, 8
LOWEST = float(np.finfo(np.float32).min)
EXTREMES = (1e-30, 1e-12, 1e-4, 1e4, 1e12, 1e30)
Step = Callable[["Network", Node], Node]


class Network:
    """A graph in the making. `extreme`: how likely a constant is far from 1 in size."""

    def __init__(self, seed: int, extreme: float = 0.0) -> None:
        self.rng = np.random.default_rng(seed)
        self.extreme = extreme
        self.inputs = [graph_input("x", (1, SIDE * SIDE, CHANNELS))]
        self.mask: Node | None = None
        self.tied: dict[tuple[int, ...], Node] = {}

    # ---- constants

    def scale(self) -> float:
        return float(self.rng.choice(EXTREMES)) if self.rng.random() < self.extreme else 1.0

    def real(self, *shape: int, middle: float = 0.0, spread: float = 0.5) -> Node:
        value = middle + spread * self.rng.standard_normal(shape)
        return constant((value * self.scale()).astype(np.float32))

    def weight(self, *shape: int) -> Node:
        """Random, with means that matter; sometimes the one that another product of this shape has."""
        if shape in self.tied and self.rng.random() < 0.25:
            return self.tied[shape]
        self.tied[shape] = self.real(*shape, middle=0.2, spread=1 / math.sqrt(math.prod(shape[1:])))
        return self.tied[shape]

    def epsilon(self) -> float:
        return float(self.rng.choice([1e-5, 1e-3, *([1e-30, 1e-12, 1.0] if self.extreme else [])]))

    def pick(self, *choices: Op) -> Op:
        return choices[self.rng.integers(len(choices))]

    def mask_input(self) -> Node:
        """(1, N) of zeros and ones."""
        if self.mask is None:
            self.mask = graph_input("mask", (1, SIDE * SIDE), INT32)
            self.inputs.append(self.mask)
        return self.mask

    # ---- layouts

    def tokens(self, x: Node) -> Node:
        """(1, N, C) of tokens, or of the pixels of maps."""
        if x.type.rank == 4:
            _, channels, height, width = x.shape
            return make(Transpose((0, 2, 1)), make(Reshape((1, channels, height * width)), x))
        return x

    def maps(self, x: Node) -> Node:
        """(1, C, H, W)."""
        if x.type.rank == 4:
            return x
        _, count, channels = x.shape
        height = max(n for n in range(1, math.isqrt(count) + 1) if count % n == 0)
        return make(Reshape((1, channels, height, count // height)), make(Transpose((0, 2, 1)), x))

    def either(self, x: Node) -> Node:
        return self.maps(x) if self.rng.random() < 0.4 else self.tokens(x)

    # ---- whole graphs

    def values(self) -> dict[str, Array]:
        """Random inputs."""
        found: dict[str, Array] = {"x": self.rng.standard_normal(self.inputs[0].shape).astype(np.float32)}
        if self.mask is not None:
            bits = self.rng.integers(0, 2, self.mask.shape)
            found["mask"] = bits if self.rng.random() < 0.6 else np.full_like(bits, self.rng.integers(2))
        return found

    def graph(self, *outputs: Node) -> Graph:
        return Graph("random", tuple(self.inputs), outputs, tuple(f"y{i}" for i in range(len(outputs))))


def spread_channels(x: Node, value: Node) -> Node:
    """A constant per channel, in a shape that broadcasts to the layout."""
    return value if x.type.rank == 3 else make(Reshape((value.shape[0], 1, 1)), value)
