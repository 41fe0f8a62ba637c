"""Products, convolutions, attention: small graphs of odd shapes."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import F32, INT8, INT16, INT64, Elem, Int
from edgewright.passes.ops import (
    Add,
    Attention,
    Concat,
    Conv,
    Exp,
    Gelu,
    HardSwish,
    LayerNormalization,
    MatMul,
    Mul,
    Neg,
    PatchEmbed,
    ReduceSum,
    Relu,
    Reshape,
    Sigmoid,
    Silu,
    Slice,
    Softmax,
    Table,
    Tanh,
    Transpose,
    Where,
    constant,
)

from tests.targets.cpu.case_layers import Cases, linear, requantise
from tests.targets.cpu.lowered import Draw

CASES = Cases()
case = CASES.case

# Linear: rank, rows from slices, one row, columns beside a whole number of panels, odd k
for elem, word in ((None, "float"), (INT8, "int8")):
    for shape, outs in (((5,), 3), ((1, 7), 33), ((1, 1, 16), 10), ((1, 13, 5), 32), ((2, 3, 5, 9), 17), ((1, 40, 1), 1)):

        @case("linear", f"linear {word} {shape} x {outs}")
        def _(d: Draw, elem: Int | None = elem, shape: tuple[int, ...] = shape, outs: int = outs) -> Node:
            return linear(d, d.input(*shape, elem=elem) if elem else d.input(*shape), outs)

    @case("linear", f"linear {word} of sliced columns and rows")
    def _(d: Draw, elem: Int | None = elem) -> tuple[Node, ...]:
        x = d.input(1, 30, 29, elem=elem) if elem else d.input(1, 30, 29)
        columns = d(Slice(2, 3, 16), x)
        rows = d(Slice(1, 1, 28, 3), columns)
        return linear(d, columns, 40), linear(d, rows, 7)

    @case("linear", f"linear {word} of a transpose, and of a window with two row axes")
    def _(d: Draw, elem: Int | None = elem) -> tuple[Node, ...]:
        x = d.input(1, 6, 15, elem=elem) if elem else d.input(1, 6, 15)
        y = d.input(3, 14, 5, elem=elem) if elem else d.input(3, 14, 5)
        return linear(d, d(Transpose((0, 2, 1)), x), 5), linear(d, d(Slice(1, 0, 9), y), 6)

    @case("linear", f"linear {word} of columns every second")
    def _(d: Draw, elem: Int | None = elem) -> Node:
        x = d.input(1, 6, 15, elem=elem) if elem else d.input(1, 6, 15)
        return linear(d, d(Slice(2, 0, 15, 2), x), 5)

    @case("linear", f"linear {word}, many weights, two row axes, few and many rows")
    def _(d: Draw, elem: Int | None = elem) -> tuple[Node, ...]:
        x = d.input(2, 70, 270, elem=elem) if elem else d.input(2, 70, 270)
        y = d.input(1, 5, 300, elem=elem) if elem else d.input(1, 5, 300)
        return linear(d, d(Slice(1, 0, 51), x), 257 if elem is None else 1000), linear(d, y, 65)

    @case("linear", f"linear {word} of a constant")
    def _(d: Draw, elem: Int | None = elem) -> Node:
        x = d.input(1, 3, elem=elem) if elem else d.input(1, 3)
        row = d.integers(1, 4) if elem else d.real(1, 4)
        return linear(d, d(Concat(1), x, d(Concat(1), row, row)), 4)


@case("linear", "linear with a tail of everything")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 13, 8)
    y = linear(d, x, 37)
    z = d(Mul(), d(Gelu(), d(Add(), y, d.real(37))), d.real(1, 13, 1))
    return d(Add(), z, d.input(1, 13, 37)), linear(d, d(Relu(), z), 3)


@case("linear", "linear whose result is also read as it is")
def _(d: Draw) -> tuple[Node, ...]:
    y = linear(d, d.input(1, 5, 6), 9)
    return d(Relu(), y), d(Neg(), y), d(Softmax(-1), y)


@case("linear", "linear with several functions right behind it")
def _(d: Draw) -> tuple[Node, ...]:
    y = linear(d, d.input(1, 14, 6), 37)
    z = d(Conv(), d.input(1, 3, 4, 4), d.real(32, 3, 1, 1), d.real(32))
    return d(Gelu(), y), d(HardSwish(), y), d(Tanh(), d(Neg(), y)), d(Silu(), z), d(Mul(), z, d.real(1, 32, 1, 1))


@case("linear", "linear whose result is an output, read, and sliced")
def _(d: Draw) -> tuple[Node, ...]:
    y = linear(d, d.input(1, 5, 6), 9)
    return y, d(Sigmoid(), y), d(Slice(2, 2, 9, 3), y)


# Patches and convolutions
for patch, channels, size, outs in ((2, 1, (4, 6), 5), (3, 3, (9, 6), 33), (4, 2, (4, 4), 8)):

    @case("conv", f"patches of {patch} on {channels} x {size}")
    def _(
        d: Draw, patch: int = patch, channels: int = channels, size: tuple[int, int] = size, outs: int = outs
    ) -> tuple[Node, ...]:
        x, y = d.input(1, channels, *size), d.input(1, channels, *size, elem=INT8)
        depth = channels * patch * patch
        real = d(PatchEmbed(patch), x, d.real(outs, depth), d.real(outs))
        bias = d.integers(outs, low=-999, high=999, dtype="int32")
        whole = d(PatchEmbed(patch), y, d.integers(outs, depth), bias)
        return real, requantise(d, whole, (outs,), INT16), d(Relu(), real)


CONVS = {
    "1x1": (Conv(), (1, 5, 4, 3), (7, 5, 1, 1)),
    "1x1 wide": (Conv(), (1, 40, 5, 5), (33, 40, 1, 1)),
    "1x1 in two windows": (Conv(), (2, 3, 4, 3), (5, 3, 1, 1)),
    "1x1 stride 2": (Conv((2, 2)), (1, 5, 5, 4), (3, 5, 1, 1)),
    "1x1 padded": (Conv(pads=(1, 0, 0, 2)), (1, 5, 3, 4), (3, 5, 1, 1)),
    "3x3": (Conv(), (1, 3, 5, 7), (4, 3, 3, 3)),
    "3x3 same": (Conv(pads=(1, 1, 1, 1)), (1, 3, 5, 7), (33, 3, 3, 3)),
    "3x2 strides, odd pads": (Conv((2, 3), (1, 0, 2, 1)), (1, 4, 8, 9), (5, 4, 3, 2)),
    "dilated in x": (Conv(dilations=(1, 2), pads=(1, 2, 1, 2)), (1, 4, 6, 7), (5, 4, 3, 3)),
    "dilated in y": (Conv(dilations=(3, 1), pads=(1, 2, 3, 0)), (1, 4, 6, 7), (5, 4, 3, 3)),
    "several windows": (Conv((1, 2), (1, 1, 0, 0)), (3, 2, 4, 5), (6, 2, 3, 3)),
    "whole image": (Conv(), (1, 3, 4, 5), (6, 3, 4, 5)),
    "one channel": (Conv((2, 2), (1, 1, 1, 1)), (1, 1, 9, 9), (3, 1, 3, 3)),
    "3x3 of many channels": (Conv((1, 2), (1, 1, 1, 1)), (1, 64, 4, 5), (9, 64, 3, 3)),
    "dilated, of many channels": (Conv(dilations=(2, 2)), (2, 128, 5, 6), (3, 128, 2, 2)),
    "2x2 patches": (Conv((2, 2)), (1, 48, 6, 4), (7, 48, 2, 2)),
    "depthwise of wide lines": (Conv((1, 1), (1, 1, 1, 1), groups=4), (1, 4, 3, 75), (4, 1, 3, 3)),
    "depthwise": (Conv(pads=(1, 1, 1, 1), groups=5), (1, 5, 4, 6), (5, 1, 3, 3)),
    "depthwise of many channels": (Conv((2, 2), (2, 2, 2, 2), groups=67), (1, 67, 5, 6), (67, 1, 5, 5)),
    "depthwise dilated, several windows": (Conv((1, 2), (0, 1, 2, 1), (2, 2), groups=33), (2, 33, 6, 7), (33, 1, 3, 2)),
    "two groups": (Conv(pads=(1, 1, 1, 1), groups=2), (1, 6, 4, 5), (8, 3, 3, 3)),
    "groups of one channel, two results": (Conv((2, 1), (0, 1, 1, 0), (1, 2), groups=3), (2, 3, 5, 6), (6, 1, 2, 2)),
    "groups 1x1": (Conv(groups=4), (1, 8, 3, 3), (12, 2, 1, 1)),
    "depthwise of long lines": (Conv(pads=(1, 1, 1, 1), groups=66), (2, 66, 3, 68), (66, 1, 3, 3)),
    "depthwise of long lines, stride 2": (Conv((2, 2), (1, 1, 1, 1), groups=3), (1, 3, 4, 79), (3, 1, 3, 3)),
}
for i, (name, (op, image, weight)) in enumerate(CONVS.items()):

    @case("conv", f"conv float {name}")
    def _(d: Draw, op: Conv = op, image: tuple[int, ...] = image, weight: tuple[int, ...] = weight, i: int = i) -> Node:
        w = d.real(*weight, scale=0.4)
        return d(op, d.input(*image), w, d.real(weight[0])) if i % 2 else d(Silu(), d(op, d.input(*image), w))

    @case("conv", f"conv int8 {name}")
    def _(
        d: Draw, op: Conv = op, image: tuple[int, ...] = image, weight: tuple[int, ...] = weight, i: int = i
    ) -> tuple[Node, ...]:
        op = Conv(op.strides, op.pads, op.dilations, op.groups, pad_value=-77)
        w, b = d.integers(*weight), d.integers(weight[0], low=-999, high=999, dtype="int32")
        y, z = d(op, d.input(*image, elem=INT8), w, b), d(op, d.input(*image, elem=INT8), w)
        return (y, requantise(d, z, (weight[0], 1, 1), zero_point=3)) if i % 2 else (z, requantise(d, y, (1,), INT16))


@case("conv", "conv of conv of views")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 9, 6, 7)
    part = d(Slice(2, 1, 6, 2), d(Slice(1, 2, 8), x))
    y = d(Relu(), d(Conv(pads=(1, 1, 1, 1)), part, d.real(4, 6, 3, 3, scale=0.3), d.real(4)))
    z = d(Conv(), d(Transpose((0, 1, 3, 2)), y), d.real(5, 4, 1, 1))
    return z, d(Add(), y, d(Conv(groups=4, pads=(1, 1, 1, 1)), y, d.real(4, 1, 3, 3)))


@case("conv", "int8 conv, table, depthwise, gate")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 4, 5, 5, elem=INT8)
    y = requantise(d, d(Conv(pads=(1, 1, 1, 1), pad_value=9), x, d.integers(6, 4, 3, 3)), (6, 1, 1), zero_point=-4)
    y = d(Table(), y, d.integers(256))
    z = requantise(d, d(Conv((2, 2), (1, 1, 1, 1), groups=6, pad_value=5), y, d.integers(6, 1, 3, 3)), (6, 1, 1))
    pooled = requantise(d, d(ReduceSum((2, 3), True), z), (1,), INT8)
    return requantise(d, d(Mul(), z, pooled), (1,)), d(Reshape((1, 6, 9)), z)


@case("conv", "tokens of a map")
def _(d: Draw) -> tuple[Node, ...]:
    y = d(Conv((2, 2)), d.input(1, 3, 6, 8), d.real(7, 3, 2, 2), d.real(7))
    tokens = d(Transpose((0, 2, 1)), d(Reshape((1, 7, 12)), y))
    return linear(d, tokens, 5), d(LayerNormalization(), tokens, d.real(7), d.real(7)), y


# Products of activations
for a, b in (
    ((5, 7), (7, 3)),
    ((1, 3, 13, 9), (1, 3, 9, 35)),
    ((2, 1, 4, 5), (3, 5, 6)),
    ((4, 5), (2, 3, 5, 1)),
    ((3, 1, 6), (6, 33)),
    ((1, 2, 1, 1), (1, 2, 1, 1)),
    ((1, 60, 65), (1, 65, 70)),
):

    @case("matmul", f"product {a} x {b}")
    def _(d: Draw, a: tuple[int, ...] = a, b: tuple[int, ...] = b) -> tuple[Node, ...]:
        real = d(MatMul(), d.input(*a), d.input(*b))
        whole = d(MatMul(), d.input(*a, elem=INT8), d.input(*b, elem=INT8))
        return real, whole, requantise(d, d(MatMul(), d.input(*a, elem=INT8), d.input(*b, elem=INT8)), (1,))


@case("matmul", "products of transposes, slices and constants")
def _(d: Draw) -> tuple[Node, ...]:
    found = []
    for elem in (None, INT8):
        x = d.input(1, 9, 2, 5, elem=elem) if elem else d.input(1, 9, 2, 5)
        y = d.input(1, 2, 9, 5, elem=elem) if elem else d.input(1, 2, 9, 5)
        heads = d(Transpose((0, 2, 1, 3)), x)
        turned = d(Transpose((0, 1, 3, 2)), y)
        found += [
            d(MatMul(), heads, turned),
            d(MatMul(), heads, d(Transpose((0, 1, 3, 2)), d.input(1, 2, 41, 5, elem=elem or F32))),
            d(MatMul(), d(Transpose((0, 2, 3, 1)), x), y),
            d(MatMul(), d(Slice(3, 1, 4), heads), d(Slice(2, 0, 5, 2), turned)),
            d(MatMul(), d.integers(3, 9) if elem else d.real(3, 9), y),
            d(MatMul(), y, d.integers(5, 4) if elem else d.real(5, 4)),
        ]
    return tuple(found)


@case("matmul", "product with a tail")
def _(d: Draw) -> tuple[Node, ...]:
    x = d(MatMul(), d.input(2, 3, 5), d.input(2, 5, 34))
    y = d(Mul(), x, d.real(2, 1, 34))
    return d(Add(), y, d.input(3, 34)), d(Exp(), d(MatMul(), d.input(2, 3), d.input(3, 3)))


@case("matmul", "integer products requantised per column, per row and twice")
def _(d: Draw) -> tuple[Node, ...]:
    x = d(MatMul(), d.input(1, 4, 5, elem=INT8), d.input(1, 5, 34, elem=INT8))
    once = requantise(d, x, (34,), zero_point=1)
    return once, requantise(d, x, (1,), INT16), requantise(d, x, (4, 1))


# Attention
def attention(
    d: Draw,
    windows: int,
    heads: int,
    queries: int,
    keys: int,
    dk: int,
    dv: int,
    bias: tuple[int, ...] | None = None,
    whole: bool = False,
    computed: bool = False,
) -> Node:
    elem: Elem = INT8 if whole else F32
    q, k, v = (d.input(windows, n, heads * width, elem=elem) for n, width in ((queries, dk), (keys, dk), (keys, dv)))
    op = Attention(heads, 0.3, 47000, 17) if whole else Attention(heads, 0.3)
    extra = []
    if bias is not None and computed:
        extra = [d.input(*bias, elem=INT16) if whole else d.input(*bias)]
    elif bias is not None:
        extra = [d.integers(*bias, low=-30000, high=30000, dtype="int32") if whole else d.real(*bias)]
    return d(op, q, k, v, *extra)


ATTENTIONS: dict[str, tuple[int, int, int, int, int, int, tuple[int, ...] | None]] = {
    "plain": (1, 2, 7, 7, 8, 8, None),
    "odd heads": (1, 3, 5, 5, 3, 7, None),
    "more keys than a panel": (1, 2, 4, 45, 16, 33, None),
    "more queries than a tile": (1, 1, 30, 9, 5, 4, None),
    "one query, one key": (1, 1, 1, 1, 1, 1, None),
    "windows": (3, 2, 6, 5, 4, 8, None),
    "bias per key": (1, 2, 4, 6, 4, 4, (6,)),
    "bias per query and key": (2, 2, 4, 6, 4, 4, (4, 6)),
    "bias per head": (2, 3, 4, 6, 5, 2, (3, 4, 6)),
    "bias per window": (2, 3, 4, 6, 5, 2, (2, 1, 1, 6)),
    "bias of everything": (2, 3, 14, 35, 5, 2, (2, 3, 14, 35)),
}
for name, sizes in ATTENTIONS.items():

    @case("attention", f"attention {name}")
    def _(d: Draw, sizes: tuple[int, int, int, int, int, int, tuple[int, ...] | None] = sizes) -> tuple[Node, ...]:
        whole = attention(d, *sizes, whole=True)
        return attention(d, *sizes), whole, requantise(d, attention(d, *sizes, whole=True), (1,), zero_point=2)


@case("attention", "attention with a computed bias")
def _(d: Draw) -> tuple[Node, ...]:
    sizes = (2, 2, 5, 7, 4, 3, (2, 1, 5, 7))
    return attention(d, *sizes, computed=True), attention(d, *sizes, computed=True, whole=True)


@case("attention", "attention of slices of one product, with a tail")
def _(d: Draw) -> tuple[Node, ...]:
    qkv = linear(d, d.input(1, 15, 8), 36)
    parts = [d(Slice(2, 12 * i, 12 * i + 12), qkv) for i in range(3)]
    mixed = d(Attention(4, 0.5), *parts)
    return linear(d, mixed, 5), d(Mul(), d(Attention(2, 0.7), *parts), d.real(12))


@case("attention", "attention of windows of channels")
def _(d: Draw) -> Node:
    x = d.input(2, 12, 3, 3)
    parts = [d(Transpose((0, 2, 1)), d(Reshape((2, 4, 9)), d(Slice(1, 4 * i, 4 * i + 4), x))) for i in range(3)]
    return d(Attention(1, 0.5), *parts, d.real(9, 9))


@case("attention", "attention under a mask of an input")
def _(d: Draw) -> tuple[Node, ...]:
    mask = d.input(1, 6, elem=INT64)
    keys = d(Reshape((1, 1, 1, 6)), mask)
    zero = constant(np.array(0, np.float32))
    bias = d(Where(), keys, zero, constant(np.array(-1e30, np.float32)))
    real = d(Attention(2, 0.4), d.input(1, 6, 8), d.input(1, 6, 8), d.input(1, 6, 8), bias)
    none = constant(np.array(0, np.int32))
    chosen = d(Where(), keys, none, constant(np.array(-(1 << 23), np.int32)))
    parts = [d.input(1, 6, 8, elem=INT8) for _ in range(3)]
    return real, d(Attention(2, 0.4, 47000, 17), *parts, chosen)
