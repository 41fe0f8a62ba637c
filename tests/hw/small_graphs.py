"""Graphs of one operator, or of few, between what the host quantises and what it reads: for tests of what the engine runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import numpy as np
from edgewright.passes.ir.graph import Graph, Node, make
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8, INT16, INT32, Array, Int, Level
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Conv,
    Gather,
    LayerNormalization,
    Linear,
    Max,
    Mul,
    Quantise,
    Requantise,
    Where,
    constant,
    graph_input,
)
from edgewright.passes.ops.arith import SCORE_BIAS

from tests.hw.integer_models import Builder

BUILDER = Builder(0)
IDS = Int(64)
"""The elements of inputs that nobody quantises."""


def ended(*outputs: Node) -> Graph:
    """Return the graph of these outputs, under the names y0, y1 ..."""
    inputs: dict[Node, None] = {}
    waiting, seen = list(outputs), set[Node]()
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        waiting += node.inputs
        if not node.inputs and node.op.kind == "Input":
            inputs[node] = None
    names = tuple(f"y{i}" for i in range(len(outputs)))
    return Graph("small", tuple(sorted(inputs, key=lambda node: node.name)), outputs, names, Level.QUANTISED)


def read(name: str, *shape: int, elem: Int = INT8) -> Node:
    """Return an input, quantised so that normal values fill a good part of its bits."""
    scale = {8: 0.02, 16: 0.0002}.get(elem.bits, 1e-5)
    return make(Quantise(scale, 0, elem), graph_input(name, shape), origin=(name,))


def narrowed(acc: Node, bits: int = 8, elem: Int = INT8) -> Node:
    """Return accumulators brought ``bits`` bits down by one factor for all."""
    factors = constant(np.array([40000], np.int32)), constant(np.array([15 + bits], np.int8))
    return make(Requantise(0, elem), acc, *factors)


def single(op: Op, *shapes: tuple[int, ...], elem: Int = INT8) -> Callable[[], Graph]:
    """Return what builds one operator on inputs, requantised if its results are sums."""

    def build() -> Graph:
        operands = [read(f"x{i}", *shape, elem=elem) for i, shape in enumerate(shapes)]
        if isinstance(op, LayerNormalization):
            operands += [constant(np.ones(shapes[0][-1], np.int32)), constant(np.zeros(shapes[0][-1], np.int64))]
        node = make(op, *operands)
        return ended(narrowed(node) if node.elem == INT32 else node)

    return build


def stored(x: Node, outputs: int, elem: Int = INT8) -> Node:
    """Return a value that the engine has computed, of ``outputs`` channels."""
    return BUILDER.linear(x, outputs, elem)


def mapped(x: Node, op: Conv, outputs: int, kernel: tuple[int, int]) -> Node:
    """Return a convolution of ``x``, requantised, with random weights and biases."""
    weight = BUILDER.integers(-127, 127, (outputs, x.shape[1] // op.groups, *kernel), "int8")
    acc = make(op, x, weight, BUILDER.integers(-2000, 2000, outputs, "int32"))
    return narrowed(acc, bits=9)


def convolved(
    op: Conv,
    kernel: tuple[int, int] = (3, 3),
    channels: int = 16,
    outputs: int = 16,
    size: tuple[int, int] = (6, 7),
    of_input: bool = False,
) -> Callable[[], Graph]:
    """Return what builds a convolution, of a map that the engine has computed or of an input."""

    def build() -> Graph:
        x = read("x", 1, channels, *size)
        return ended(mapped(x if of_input else mapped(x, Conv(), channels, (1, 1)), op, outputs, kernel))

    return build


def largest(
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    channels: int = 16,
    size: tuple[int, int] = (6, 7),
) -> Callable[[], Graph]:
    """Return what builds max pooling of a map that the engine has computed, as it is read: along rows, then columns."""

    def build() -> Graph:
        x = mapped(read("x", 1, 16, *size), Conv(), channels, (1, 1))
        for axis in (2, 3):
            n, before, after = x.shape[axis], pads[axis - 2], pads[axis]
            count = (n + before + after - kernel[axis - 2]) // strides[axis - 2] + 1
            taps = np.arange(count)[:, None] * strides[axis - 2] - before + np.arange(kernel[axis - 2])
            parts = [make(Gather(axis), x, constant(column)) for column in np.clip(taps, 0, n - 1).T]
            x = reduce(lambda a, b: make(Max(), a, b), parts)
        return ended(x)

    return build


def attended(batch: int = 1, values: int = 16) -> Graph:
    """Return attention straight on inputs, in ``batch`` windows, its values so wide."""
    q, k, v = (read(f"x{i}", batch, 4, width) for i, width in enumerate((16, 16, values)))
    mixed = make(Attention(1, score_multiplier=40000, score_shift=20), q, k, v)
    return ended(narrowed(mixed))


def biased(*, computed: bool) -> Graph:
    """Return attention whose scores have a bias: constant, or computed by the model."""
    x = read("x", 1, 6, 32)
    q, k, v = (stored(x, 32) for _ in range(3))
    bias = BUILDER.integers(-(1 << 16), 1 << 16, (1, 2, 6, 6), "int32")
    if computed:
        weight = BUILDER.integers(-127, 127, (6, 32), "int8")
        acc = make(Linear(), x, weight, BUILDER.integers(-2000, 2000, 6, "int32"))
        bias = narrowed(acc, bits=1, elem=SCORE_BIAS)
    return ended(narrowed(make(Attention(2, score_multiplier=50000, score_shift=25), q, k, v, bias)))


def masked(queries: int) -> Graph:
    """Return attention with a mask of ids, (1, 1, queries, keys): what the host makes of an input that nobody quantises."""
    x = read("x", 1, 6, 32)
    q, k, v = (stored(x, 32) for _ in range(3))
    kept = graph_input("kept", (1, 1, queries, 6), IDS)
    numbers = constant(np.zeros(1, np.int32)), constant(np.full(1, -(1 << 22), np.int32))
    mask = make(Where(), kept, *numbers)
    return ended(narrowed(make(Attention(2, score_multiplier=50000, score_shift=25), q, k, v, mask)))


def product(*shapes: tuple[int, ...]) -> Graph:
    """Return the elementwise product of two values that the engine has computed."""
    factors = (stored(read(f"x{i}", *shape[:-1], 16), shape[-1]) for i, shape in enumerate(shapes))
    return ended(narrowed(make(Mul(), *factors)))


def total(*shapes: tuple[int, ...], subtract: bool = False) -> Graph:
    """Return the sum, or the difference, of two values that the engine has computed."""
    terms = (stored(read(f"x{i}", *shape[:-1], 16), shape[-1], INT16) for i, shape in enumerate(shapes))
    return ended(make(AddRequantised(40000, 15, 45000, 16, subtract), *terms))


def normalised(width: int, elem: Int = INT8) -> Graph:
    """Return a LayerNorm of what the engine has computed, of any width."""
    return ended(widened_norm(stored(read("x", 1, 3, 16), width, INT16), elem))


def widened_norm(x: Node, elem: Int) -> Node:
    """Return a LayerNorm of ``x`` into ``elem`` with random scale and offset."""
    width, shift = x.shape[-1], 22 if elem == INT8 else 15
    multiplier = BUILDER.integers(-60000, 60000, width, "int32")
    offset = BUILDER.integers(-(2**22), 2**22, width, "int64")
    return make(LayerNormalization(1e-6, eps_term=12345, shift=shift, elem=elem), x, multiplier, offset)


def given(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Return random inputs: normal values, ids 0 and 1 where nobody quantises."""
    rng = np.random.default_rng(seed)
    return {
        x.name: rng.integers(0, 2, x.shape) if x.elem == IDS else rng.normal(0, 1, x.shape).astype(np.float32)
        for x in graph.inputs
    }
