"""Random graphs, float and integer: values of several shapes and layouts that are joined, cut, turned and read again."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgewright.passes.ir.graph import Graph, Node
from edgewright.passes.ir.types import F32, INT8, INT16, INT32, Elem
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    Attention,
    Concat,
    Conv,
    Div,
    Exp,
    Gelu,
    HardSwish,
    LayerNormalization,
    Linear,
    MatMul,
    Mul,
    Neg,
    ReduceMean,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    Sigmoid,
    Silu,
    Slice,
    Softmax,
    Sub,
    Table,
    Tanh,
    Transpose,
    constant,
)
from edgewright.passes.ops.scaling import IDENTITY

from tests.targets.cpu.lowered import Draw

SHAPES = ((1, 5, 12), (1, 12, 5), (2, 6, 8), (1, 6, 4, 5), (1, 3, 8, 8), (2, 4, 3, 7), (7, 9), (1, 33))
Step = Callable[[], Node | None]


class Growing:
    """A graph to which random nodes are added."""

    def __init__(self, seed: int, whole: bool) -> None:
        self.d = Draw(seed)
        self.rng = self.d.rng
        self.whole = whole
        self.pool: list[Node] = []
        for _ in range(3):
            shape = SHAPES[self.rng.integers(len(SHAPES))]
            elem: Elem = (INT8, INT16)[self.rng.integers(2)] if whole else F32
            self.pool.append(self.d.input(*shape, elem=elem))

    def graph(self, nodes: int) -> Graph:
        """After so many additions; what nobody reads is an output, and so are a few others."""
        steps = self.integer_steps() if self.whole else self.float_steps()
        moves: list[Step] = [self.transpose, self.slice, self.reshape, self.concat]
        while len(self.pool) < nodes:
            step = self._pick(moves if self.rng.random() < 0.35 else steps)
            self.d.case = f"node{len(self.pool)}"
            made = step()
            if made is not None and made.type.size <= 4000:
                self.pool.append(made)
        read = {operand for node in self.pool for operand in node.inputs}
        inner = [n for n in self.pool if n in read and self.rng.random() < 0.15]
        self.d.outputs = [*(n for n in self.pool if n not in read), *inner, *inner[:1]]
        return self.d.graph()

    def _pick(self, steps: list[Step]) -> Step:
        return steps[self.rng.integers(len(steps))]

    def value(self, *elems: Elem, rank: int | None = None) -> Node | None:
        """A value of one of these element types, later ones more likely."""
        fits = [n for n in self.pool if n.elem in elems and (rank is None or n.type.rank == rank)]
        if not fits:
            return None
        return fits[int(len(fits) * self.rng.random() ** 0.5)]

    # Moves, for all element types

    def transpose(self) -> Node | None:
        x = self.value(F32, INT8, INT16, INT32)
        return x and self.d(Transpose(tuple(self.rng.permutation(x.type.rank).tolist())), x)

    def slice(self) -> Node | None:
        x = self.value(F32, INT8, INT16, INT32)
        if x is None:
            return None
        axis = int(self.rng.integers(x.type.rank))
        start = int(self.rng.integers(x.shape[axis]))
        stop = int(self.rng.integers(start + 1, x.shape[axis] + 1))
        return self.d(Slice(axis, start, stop, int(self.rng.integers(1, 3))), x)

    def reshape(self) -> Node | None:
        x = self.value(F32, INT8, INT16, INT32)
        if x is None:
            return None
        shape = [1] * int(self.rng.integers(1, 5))
        left = x.type.size
        for p in (2, 3, 5, 7, 11):
            while left % p == 0:
                left //= p
                shape[self.rng.integers(len(shape))] *= p
        shape[-1] *= left
        return self.d(Reshape(tuple(shape)), x)

    def concat(self) -> Node | None:
        x = self.value(F32, INT8, INT16)
        if x is None:
            return None
        axis = int(self.rng.integers(x.type.rank))
        around = x.shape[:axis], x.shape[axis + 1 :]
        others = [n for n in self.pool if n.elem == x.elem and (n.shape[:axis], n.shape[axis + 1 :]) == around]
        chosen = [others[self.rng.integers(len(others))] for _ in range(self.rng.integers(1, 3))]
        return self.d(Concat(axis), *self._shuffled([x, *chosen]))

    def _shuffled(self, nodes: list[Node]) -> list[Node]:
        return [nodes[i] for i in self.rng.permutation(len(nodes))]

    # Floats

    def float_steps(self) -> list[Step]:
        return [
            self.linear,
            self.activation,
            self.activation,
            self.binary,
            self.binary,
            self.conv,
            self.matmul,
            self.attention,
            self.norm,
            self.softmax,
            self.mean,
        ]

    def _weight(self, *shape: int) -> Node:
        if self.whole:
            return self.d.integers(*shape)
        return self.d.real(*shape, scale=1 / math.sqrt(math.prod(shape[1:])))

    def _bias(self, outs: int) -> Node:
        return self.d.integers(outs, low=-999, high=999, dtype="int32") if self.whole else self.d.real(outs)

    def linear(self) -> Node | None:
        x = self.value(INT8 if self.whole else F32)
        if x is None:
            return None
        outs = int(self.rng.choice([1, 3, 8, 33]))
        return self.d(Linear(), x, self._weight(outs, x.shape[-1]), self._bias(outs))

    def activation(self) -> Node | None:
        x = self.value(F32)
        op = self._activations[self.rng.integers(len(self._activations))]
        if x is None:
            return None
        return self.d(op, self.d(Tanh(), x) if isinstance(op, Exp) else x)

    _activations = (Relu(), Gelu(), Gelu("tanh"), Silu(), Sigmoid(), Tanh(), HardSwish(), Neg(), Exp())

    def _operand(self, x: Node) -> Node:
        """Something that broadcasts to a value: a value of its shape, or a constant with axes of 1."""
        same = [n for n in self.pool if n.shape == x.shape and n.elem == x.elem]
        if self.rng.random() < 0.6:
            return same[self.rng.integers(len(same))]
        shape = [n if self.rng.random() < 0.5 else 1 for n in x.shape][int(self.rng.integers(0, x.type.rank)) :]
        return self.d.integers(*shape, low=-9999, high=9999, dtype="int16") if self.whole else self.d.real(*shape)

    def binary(self) -> Node | None:
        x = self.value(F32)
        if x is None:
            return None
        op = (Add(), Sub(), Mul(), Div())[self.rng.integers(4)]
        other = self._operand(x)
        if isinstance(op, Div):
            two = constant(self.rng.uniform(1, 2, other.shape[-1:]).astype("float32"))
            return self.d(op, x, two)
        if isinstance(op, Mul):
            other = self.d(Tanh(), other)
        return self.d(op, *self._shuffled([x, other]))

    def conv(self) -> Node | None:
        x = self.value(INT8 if self.whole else F32, rank=4)
        if x is None or max(x.shape[2:]) > 40:
            return None
        channels = x.shape[1]
        kernel = [int(self.rng.integers(1, min(3, n) + 1)) for n in x.shape[2:]]
        around = tuple(int(n) for n in self.rng.integers(0, 2, 4))
        stride = (int(self.rng.integers(1, 3)), int(self.rng.integers(1, 3)))
        depthwise = self.rng.random() < 0.4
        outs = channels if depthwise else int(self.rng.choice([2, 5, 34]))
        pad = int(self.rng.integers(-9, 9)) if self.whole else 0
        op = Conv(stride, (around[0], around[1], around[2], around[3]), groups=channels if depthwise else 1, pad_value=pad)
        w = self._weight(outs, 1 if depthwise else channels, *kernel)
        return self.d(op, x, w, self._bias(outs))

    def matmul(self) -> Node | None:
        x = self.value(INT8 if self.whole else F32)
        if x is None or x.type.rank < 2:
            return None
        order = [*range(x.type.rank - 2), x.type.rank - 1, x.type.rank - 2]
        turned = self.d(Transpose(tuple(order)), x)
        if self.rng.random() < 0.3:
            turned = self._weight(x.shape[-1], 7) if self.whole else self.d.real(x.shape[-1], 7, scale=0.4)
        made = self.d(MatMul(), x, turned)
        return made if self.whole else self.d(Tanh(), made)

    def attention(self) -> Node | None:
        x = self.value(INT8 if self.whole else F32, rank=3)
        if x is None or math.prod(x.shape) > 1000:
            return None
        others = [n for n in self.pool if n.shape == x.shape and n.elem == x.elem]
        heads = int(self.rng.choice([h for h in (1, 2, 3, 4) if x.shape[2] % h == 0]))
        op = Attention(heads, 0.3, 47000, 17) if self.whole else Attention(heads, 0.3)
        return self.d(op, x, *(others[self.rng.integers(len(others))] for _ in range(2)))

    def norm(self) -> Node | None:
        x = self.value(INT16 if self.whole else F32)
        if x is None or not 2 <= x.shape[-1] <= 1024:
            return None
        width = x.shape[-1]
        if not self.whole:
            epsilon = 0.1  # a smaller one magnifies the rounding of the mean where a row's values are alike
            return self.d(LayerNormalization(epsilon), x, self.d.real(width), self.d.real(width))
        multiplier = self.d.integers(width, low=-60000, high=60000, dtype="int32")
        offset = self.d.integers(width, low=-(1 << 24), high=1 << 24, dtype="int64")
        return self.d(LayerNormalization(1e-6, eps_term=12345, shift=22), x, multiplier, offset)

    def softmax(self) -> Node | None:
        x = self.value(INT16 if self.whole else F32)
        if x is None:
            return None
        axis = int(self.rng.integers(x.type.rank))
        return self.d(Softmax(axis, 40000, 16) if self.whole else Softmax(axis), x)

    def mean(self) -> Node | None:
        x = self.value(INT8 if self.whole else F32)
        if x is None:
            return None
        axes = tuple(i for i in range(x.type.rank) if self.rng.random() < 0.5) or (0,)
        keepdims = bool(self.rng.integers(2)) or len(axes) == x.type.rank
        return self.d((ReduceSum if self.whole else ReduceMean)(axes, keepdims), x)

    # Integers

    def integer_steps(self) -> list[Step]:
        return [
            self.linear,
            self.requantise,
            self.requantise,
            self.requantise,
            self.table,
            self.residual,
            self.conv,
            self.matmul,
            self.attention,
            self.norm,
            self.softmax,
            self.mean,
            self.relu,
            self.product,
        ]

    def requantise(self) -> Node | None:
        x = self.value(INT32) or self.value(INT16)
        if x is None:
            return None
        wide = bool(self.rng.integers(2))
        columns = self.rng.random() < 0.5
        shape: tuple[int, ...] = (x.shape[-1],) if columns else (1,)
        if x.type.rank == 4 and columns:
            shape = (x.shape[1], 1, 1)
        shift = (15 if wide else 22) if x.elem == INT32 else (15 if wide else 21)
        multiplier = self.d.integers(*shape, low=1 << 15, high=(1 << 16) - 1, dtype="int32")
        factors = multiplier, self.d.integers(*shape, low=shift, high=shift + 1)
        return self.d(Requantise(int(self.rng.integers(-9, 9)), INT16 if wide else INT8), x, *factors)

    def table(self) -> Node | None:
        x = self.value(INT8)
        return x and self.d(Table(), x, self.d.integers(256))

    def relu(self) -> Node | None:
        x = self.value(INT8, INT16)
        return x and self.d(Relu(), x)

    def residual(self) -> Node | None:
        x = self.value(INT16)
        if x is None:
            return None
        pairs = [IDENTITY, (40000, 16), (60000, 15)]
        a, b = (pairs[self.rng.integers(3)] for _ in range(2))
        return self.d(AddRequantised(*a, *b, bool(self.rng.integers(2))), *self._shuffled([x, self._operand(x)]))

    def product(self) -> Node | None:
        x = self.value(INT8)
        if x is None:
            return None
        same = [n for n in self.pool if n.shape == x.shape and n.elem == INT8]
        return self.d(Mul(), x, same[self.rng.integers(len(same))])


def random_graph(seed: int, whole: bool, nodes: int = 18) -> Graph:
    """A graph of about so many nodes, integer if `whole`."""
    return Growing(seed, whole).graph(nodes)
