"""Random small networks whose values meet in different layouts: transposed, reshaped, joined and summed either way."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ops import (
    Add,
    Concat,
    Gelu,
    MatMul,
    Mul,
    ReduceMean,
    Relu,
    Reshape,
    Sigmoid,
    Slice,
    Softmax,
    Sub,
    Transpose,
    graph_input,
)

from tests.mixed_models import Layers

SIZES = ((1, 8, 4, 4), (1, 4, 4, 6), (1, 4, 4, 4), (1, 6, 8), (1, 8, 8), (1, 2, 3, 4, 4), (2, 4, 8), (1, 12))


class Drawn:
    """A graph that grows by random steps; every value stays in the pool for later ones."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.layers = Layers(seed)
        self.count = 0
        shape = SIZES[self.rng.integers(len(SIZES))]
        self.inputs = [graph_input("x", shape)]
        if self.rng.random() < 0.4:
            self.inputs.append(graph_input("past", (*shape[:-1], int(self.rng.integers(1, 5)))))
        self.pool = list(self.inputs)
        first = self.named(Transpose(self.permutation(shape)), self.inputs[0])
        self.pool += [self.linear(self.inputs[0]), first, self.linear(first)]

    def graph(self, steps: int) -> Graph:
        """So many steps; outputs are the last value, and at times an earlier one."""
        for _ in range(steps):
            x = self.pool[-1 - int(self.rng.integers(min(3, len(self.pool))))]
            step = (self.unary, self.product, self.norm, self.move, self.move, self.join, self.sum, self.sum, self.reduce)
            found = step[self.rng.integers(len(step))](x)
            if found.type.size <= 4096:
                self.pool.append(found)
        candidates = [node for node in self.pool if node not in self.inputs and node.op.kind != "Softmax"]
        outputs = [candidates[-1]]
        if self.rng.random() < 0.5 and candidates[len(candidates) // 2] is not outputs[0]:
            outputs.append(candidates[len(candidates) // 2])
        read = Graph("g", (), tuple(outputs), ()).nodes()
        inputs = tuple(node for node in self.inputs if node in read)
        return Graph("layouts", inputs, tuple(outputs), ("y", "z")[: len(outputs)])

    def named(self, op: object, *operands: Node) -> Node:
        self.count += 1
        return make(op, *operands, origin=(f"n{self.count}_{type(op).__name__}",))  # type: ignore[arg-type]

    def permutation(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The batch stays in front as a rule."""
        kept = 0 if self.rng.random() < 0.1 else 1
        return (*range(kept), *(int(i) + kept for i in self.rng.permutation(len(shape) - kept)))

    def linear(self, x: Node) -> Node:
        self.count += 1
        return self.layers.linear(x, int(self.rng.choice((x.shape[-1], 4, 8))), f"n{self.count}_Linear")

    def unary(self, x: Node) -> Node:
        return self.named((Gelu("none"), Relu(), Sigmoid())[self.rng.integers(3)], x)

    def product(self, x: Node) -> Node:
        if x.type.rank == 4 and x.shape[0] == 1 and self.rng.random() < 0.6:
            self.count += 1
            depthwise = self.rng.random() < 0.4
            groups = x.shape[1] if depthwise else 1
            outs = x.shape[1] if depthwise or self.rng.random() < 0.5 else 6
            return self.layers.conv(x, outs, f"n{self.count}_Conv", int(self.rng.choice((1, 3))), 1, groups)
        if x.type.rank >= 3 and self.rng.random() < 0.2:
            other = self.named(Transpose((*range(x.type.rank - 2), x.type.rank - 1, x.type.rank - 2)), x)
            return self.named(MatMul(), self.named(Softmax(-1), self.named(MatMul(), x, other)), x)
        return self.linear(x)

    def norm(self, x: Node) -> Node:
        self.count += 1
        return self.layers.norm(x, f"n{self.count}_LayerNormalization") if x.shape[-1] > 2 else x

    def move(self, x: Node) -> Node:
        kind = self.rng.integers(3)
        if kind == 0:
            return self.named(Transpose(self.permutation(x.shape)), x)
        if kind == 1 and x.type.rank > 2:
            at = int(self.rng.integers(1, x.type.rank - 1))
            return self.named(Reshape((*x.shape[:at], x.shape[at] * x.shape[at + 1], *x.shape[at + 2 :])), x)
        axis = int(self.rng.integers(1, x.type.rank))
        return self.named(Slice(axis, 0, x.shape[axis] // 2), x) if x.shape[axis] > 3 else x

    def join(self, x: Node) -> Node:
        """A join along any axis, of values brought to this one's layout by whatever it takes."""
        axis = int(self.rng.integers(1, x.type.rank))
        others = [n for n in map(lambda y: self.like(x, y, axis), self.pool) if n is not None]
        other = others[self.rng.integers(len(others))] if others else x
        return self.named(Concat(axis), *((x, other) if self.rng.random() < 0.5 else (other, x)))

    def like(self, x: Node, y: Node, free: int | None = None) -> Node | None:
        """y in the shape of x but for one free axis, by a Transpose or Reshape; None where neither does."""
        if y is x or (y.type.rank != x.type.rank and y.type.size != x.type.size):
            return None
        wanted = [n for i, n in enumerate(x.shape) if i != free]
        if [n for i, n in enumerate(y.shape) if i != free] == wanted and y.type.rank == x.type.rank:
            return y
        for _ in range(4):
            if y.type.rank == x.type.rank:
                perm = self.permutation(y.shape)
                moved = [y.shape[i] for i in perm]
                if [n for i, n in enumerate(moved) if i != free] == wanted:
                    return self.named(Transpose(perm), y)
        return self.named(Reshape(x.shape), y) if y.type.size == x.type.size else None

    def sum(self, x: Node) -> Node:
        """A sum with another value in this layout, or with constants per channel of either layout."""
        op = (Add(), Sub(), Mul())[self.rng.choice(3, p=(0.6, 0.2, 0.2))]
        if self.rng.random() < 0.3:
            axis = int(self.rng.integers(1, x.type.rank))
            shape = tuple(n if i == axis else 1 for i, n in enumerate(x.shape))
            return self.named(op, x, self.layers.normal(*shape, scale=0.5))
        others = [n for n in map(lambda y: self.like(x, y), self.pool) if n is not None]
        return self.named(op, x, others[self.rng.integers(len(others))]) if others else self.linear(x)

    def reduce(self, x: Node) -> Node:
        if x.type.rank < 3 or self.rng.random() < 0.5:
            return self.linear(x)
        mean = self.named(ReduceMean((int(self.rng.integers(1, x.type.rank)),)), x)
        return self.named(Sub(), x, mean)
