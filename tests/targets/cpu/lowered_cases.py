"""Small graphs of odd shapes: every operator in every form that the CPU path has to lower."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import F32, INT8, INT16, INT32, INT64, Elem, Int
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    Attention,
    BatchNormalization,
    Cast,
    Concat,
    Conv,
    Dequantise,
    Div,
    Erf,
    Exp,
    Gather,
    Gelu,
    HardSwish,
    LayerNormalization,
    Linear,
    MatMul,
    Mul,
    Neg,
    PatchEmbed,
    Pow,
    Quantise,
    Reciprocal,
    ReduceMean,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    Sigmoid,
    Silu,
    Slice,
    Softmax,
    Sqrt,
    Sub,
    Table,
    Tanh,
    Transpose,
    Where,
    constant,
)
from edgewright.passes.ops.add_requantised import IDENTITY

from tests.targets.cpu.lowered import Draw

Make = Callable[[Draw], Node | tuple[Node, ...]]
CASES: dict[str, dict[str, Make]] = {}


def case(family: str, name: str) -> Callable[[Make], Make]:
    def register(make_case: Make) -> Make:
        assert name not in CASES.setdefault(family, {}), name
        CASES[family][name] = make_case
        return make_case

    return register


def linear(d: Draw, x: Node, outs: int) -> Node:
    """A product with bias, float or integer as its operand."""
    if x.type.is_float:
        return d(Linear(), x, d.real(outs, x.shape[-1], scale=0.5), d.real(outs))
    w = d.integers(outs, x.shape[-1])
    return d(Linear(), x, w, d.integers(outs, low=-2000, high=2000, dtype="int32"))


def requantise(d: Draw, acc: Node, shape: tuple[int, ...], elem: Int = INT8, zero_point: int = 0) -> Node:
    """Factors of a shape such that few results saturate."""
    shift = {8: 23, 16: 15}[elem.bits] if acc.elem == INT32 else {8: 16, 16: 15}[elem.bits]
    multiplier = d.integers(*shape, low=1 << 15, high=(1 << 16) - 1, dtype="int32")
    return d(Requantise(zero_point, elem), acc, multiplier, d.integers(*shape, low=shift, high=shift + 1))


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
    def _(
        d: Draw, op: Conv = op, image: tuple[int, ...] = image, weight: tuple[int, ...] = weight, i: int = i
    ) -> Node:
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
    ((5, 7), (7, 3)), ((1, 3, 13, 9), (1, 3, 9, 35)), ((2, 1, 4, 5), (3, 5, 6)), ((4, 5), (2, 3, 5, 1)), ((3, 1, 6), (6, 33)),
    ((1, 2, 1, 1), (1, 2, 1, 1)), ((1, 60, 65), (1, 65, 70)),
):  # fmt: skip

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
    q, k, v = (
        d.input(windows, n, heads * width, elem=elem) for n, width in ((queries, dk), (keys, dk), (keys, dv))
    )
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


# Rows
@case("rows", "layer norm")
def _(d: Draw) -> tuple[Node, ...]:
    found = []
    for shape in ((7,), (1, 5, 33), (2, 3, 4, 16), (1, 3, 1)):
        found.append(d(LayerNormalization(1e-5), d.input(*shape), d.real(shape[-1]), d.real(shape[-1])))
    x = d(Transpose((0, 2, 1)), d.input(1, 9, 4))
    y = d(LayerNormalization(1e-2), x, d.real(9), d.real(9))
    return *found, d(Silu(), y), linear(d, y, 4)


def integer_norm(d: Draw, x: Node, elem: Int = INT8) -> Node:
    width = x.shape[-1]
    multiplier = d.integers(width, low=-60000, high=60000, dtype="int32")
    offset = d.integers(width, low=-(1 << 24), high=1 << 24, dtype="int64")
    shift = 22 if elem == INT8 else 14
    return d(LayerNormalization(1e-6, eps_term=12345, shift=shift, elem=elem), x, multiplier, offset)


@case("rows", "integer layer norm")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 5, 33, elem=INT16)
    turned = d(Transpose((0, 2, 1)), d.input(1, 9, 4, elem=INT16))
    y, many = integer_norm(d, d.input(1, 6, 64, elem=INT16)), integer_norm(d, d.input(2, 11, 9, elem=INT16))
    tables = (d(Table(), one, d.integers(256)) for one in (many, y))
    return many, *tables, integer_norm(d, x), integer_norm(d, turned), linear(d, y, 6)


@case("rows", "integer layer norm to 16 bits")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 5, 33, elem=INT16)
    y = integer_norm(d, d.input(3, 70, elem=INT16), INT16)
    return integer_norm(d, x, INT16), d(AddRequantised(*IDENTITY, 40000, 16), y, d.input(3, 70, elem=INT16))


for shape, axis in (((3, 5, 7), -1), ((3, 5, 7), 1), ((3, 5, 7), 0), ((9,), 0), ((2, 3, 4, 33), 2), ((1, 1, 6), 1)):

    @case("rows", f"softmax of {shape} over {axis}")
    def _(d: Draw, shape: tuple[int, ...] = shape, axis: int = axis) -> tuple[Node, ...]:
        y = d(Softmax(axis), d.input(*shape))
        z = d(Softmax(axis), d.input(*shape))
        return y, d(Mul(), z, constant(np.array(3, np.float32)))

    @case("rows", f"integer softmax of {shape} over {axis}")
    def _(d: Draw, shape: tuple[int, ...] = shape, axis: int = axis) -> tuple[Node, ...]:
        y = d(Softmax(axis, 33000, 17), d.input(*shape, elem=INT16))
        z = d(Softmax(axis, 65000, 19), d.input(*shape, elem=INT16))
        return y, requantise(d, z, (1,), zero_point=-127)


REDUCED: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((3, 5, 7), (1,)), ((3, 5, 7), (-1,)), ((3, 5, 7), (0,)), ((3, 5, 7), (0, 2)), ((3, 5, 7), (0, 1, 2)), ((6,), (0,)),
    ((2, 3, 4, 35), (1, 2)), ((2, 3, 4, 35), (3,)), ((1, 1, 4), (1,)), ((1, 7, 3, 3), (2, 3)), ((1, 40, 3, 3), (1,)),
)  # fmt: skip
for reduced, axes in REDUCED:
    for keepdims in (False, True):

        @case("rows", f"mean and sum of {reduced} over {axes} {'kept' if keepdims else ''}")
        def _(
            d: Draw, shape: tuple[int, ...] = reduced, axes: tuple[int, ...] = axes, keepdims: bool = keepdims
        ) -> tuple[Node, ...]:
            found = [d(ReduceMean(axes, keepdims), d.input(*shape))]
            for elem in (INT8, INT16):
                found.append(d(ReduceSum(axes, keepdims), d.input(*shape, elem=elem)))
            if found[0].shape:
                total = d(ReduceSum(axes, keepdims), d.input(*shape, elem=INT8))
                found.append(requantise(d, total, (1,), zero_point=1))
                found.append(d(Sigmoid(), d(ReduceMean(axes, keepdims), d.input(*shape))))
            return tuple(found)


@case("rows", "means of views")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 4, 6, 5)
    turned = d(Transpose((0, 3, 1, 2)), d(Slice(2, 0, 6, 2), x))
    y = d(Conv(), x, d.real(7, 4, 1, 1))
    means = [d(ReduceMean(axes), turned) for axes in ((1,), (2, 3), (0, 1, 2, 3))]
    difference = d(Sub(), x, d(ReduceMean((1,)), x))
    return *means, d(ReduceMean((2, 3), False), y), difference, d(ReduceMean((1,), False), y)


# Look-ups
@case("gather", "rows of a table by ids")
def _(d: Draw) -> tuple[Node, ...]:
    ids = d.input(1, 6, elem=INT64)
    words = d(Gather(0), d.real(11, 5), ids)
    whole = d(Gather(0), d.integers(11, 40), ids)
    return words, d(Add(), d(Gather(0), d.real(11, 5), ids), d.real(1, 6, 5)), whole, d(Table(), whole, d.integers(256))


@case("gather", "axes of activations by constants, negative ones too")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(4, 5, 6)
    found = []
    for axis, index in itertools.product((0, 1, -2), (np.array([3, -1, 0]), np.array(2), np.array([[1, -4], [0, 3]]))):
        found.append(d(Gather(axis), x, constant(index)))
    found.append(d(Gather(0), d(Transpose((2, 1, 0)), x), constant(np.array([5, 5, -6], np.int32))))
    return tuple(found)


@case("gather", "the last axis")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(4, 5, 6)
    index, one = constant(np.array([[3, -1, 0]])), constant(np.array(-2))
    return d(Gather(2), x, index), d(Gather(-1), x, one), d(Gather(0), d.input(7), d.input(3, elem=INT64))


@case("gather", "by indices that are views, of values that are views")
def _(d: Draw) -> tuple[Node, ...]:
    ids = d.input(2, 6, elem=INT64)
    part = d(Slice(1, 1, 6, 2), ids)
    turned = d(Transpose((1, 0)), part)
    x = d.input(1, 9, 4)
    return d(Gather(0), d.real(9, 4), turned), d(Gather(1), d(Slice(2, 1, 3), x), d(Reshape((6,)), part))


# Views and joins
for elem, word in ((None, "float"), (INT8, "int8"), (INT16, "int16"), (INT64, "int64")):

    @case("views", f"views as outputs, {word}")
    def _(d: Draw, elem: Int | None = elem) -> tuple[Node, ...]:
        x = d.input(2, 3, 4, 5, elem=elem) if elem else d.input(2, 3, 4, 5)
        turned = d(Transpose((3, 1, 0, 2)), x)
        return (
            x, x, turned, d(Reshape((6, 20)), x), d(Reshape((5, 24)), turned), d(Slice(2, 1, 4, 2), x),
            d(Transpose((1, 0)), d(Reshape((8, 15)), d(Transpose((0, 2, 1, 3)), x))),
            d(Reshape((2, 1, 12, 5)), x), d(Reshape((3, 5, 4)), d(Slice(0, 1, 2), d(Transpose((0, 1, 3, 2)), x))),
            d(Reshape((120,)), d(Slice(0, 0, 2), x)), d(Slice(3, 4, 5), x), d(Transpose((0, 1, 2, 3)), x),
        )  # fmt: skip


@case("views", "outputs that are constants, doubled, and used inside")
def _(d: Draw) -> tuple[Node, ...]:
    c = d.real(3, 4)
    y = d(Relu(), d(Add(), d.input(3, 4), c))
    part = d(Slice(1, 1, 3), y)
    n = d.integers(2, 5, dtype="int16")
    return c, y, y, part, d(Neg(), part), d(Transpose((1, 0)), c), n, d(Reshape((2, 6)), y)


@case("views", "a reshape that needs a copy in the middle")
def _(d: Draw) -> tuple[Node, ...]:
    x = d(Exp(), d.input(2, 3, 4))
    turned = d(Reshape((3, 8)), d(Transpose((1, 2, 0)), x))
    again = d(Reshape((6, 4)), d(Transpose((1, 0)), turned))
    return d(Neg(), again), linear(d, turned, 5), d(Reshape((12,)), d(Slice(1, 0, 4, 2), again))


@case("views", "scalars")
def _(d: Draw) -> tuple[Node, ...]:
    x, y = d.input(), d.input(1, 1)
    return d(Add(), x, y), d(Neg(), x), d(Reshape((1, 1)), x), d(Reshape(()), d(Exp(), y)), x


for axis in (0, 1, 2):

    @case("concat", f"joins along {axis}")
    def _(d: Draw, axis: int = axis) -> tuple[Node, ...]:
        def shaped(n: int) -> tuple[int, ...]:
            return tuple(n if i == axis else m for i, m in enumerate((2, 3, 5)))

        x, y = d.input(*shaped(2)), d.input(*shaped(3))
        made = d(Relu(), d.input(*shaped(1)))
        product = linear(d, d.input(*shaped(2)[:2], 4), shaped(2)[2])
        nested = d(Concat(axis - 3), x, d(Concat(axis), made, product))
        fixed = d.real(*shaped(2))
        turned = d(Transpose((2, 1, 0)), d.input(*reversed(shaped(4))))
        return (
            d(Concat(axis), x, y), nested, d(Concat(axis), fixed, y, fixed), d(Concat(axis), made, x, made), made,
            d(Concat(axis), turned, y), d(Neg(), d(Concat(axis), x, d(Slice(axis, 1, 3), turned))), d(Concat(axis), x),
        )  # fmt: skip


@case("concat", "two joins share an operand, one is an output, one is sliced")
def _(d: Draw) -> tuple[Node, ...]:
    a, b = d(Relu(), d.input(1, 3, 4)), linear(d, d.input(1, 2, 5), 4)
    one, two = d(Concat(1), a, b), d(Concat(1), b, a)
    return one, d(Exp(), two), d(Slice(1, 2, 4), two), d(Concat(2), one, two), a


@case("concat", "a join whose parts are views of made values")
def _(d: Draw) -> tuple[Node, ...]:
    y = linear(d, d.input(1, 4, 5), 6)
    parts = [d(Slice(2, 2 * i, 2 * i + 2), y) for i in (2, 0, 1)]
    swapped = d(Concat(2), *parts)
    return linear(d, swapped, 3), d(Concat(1), d(Reshape((1, 6, 4)), y), d(Reshape((1, 3, 4)), d.input(1, 12)))


@case("concat", "integer joins: class token and channels")
def _(d: Draw) -> tuple[Node, ...]:
    y = requantise(d, linear(d, d.input(1, 5, 7, elem=INT8), 9), (9,), INT16)
    tokens = d(Concat(1), d.integers(1, 1, 9, low=-9000, high=9000, dtype="int16"), y)
    x = d.input(1, 3, 4, 4, elem=INT8)
    maps = [
        requantise(d, d(Conv(pads=(p,) * 4), x, d.integers(n, 3, 2 * p + 1, 2 * p + 1)), (n, 1, 1)) for p, n in ((0, 4), (1, 5))
    ]
    joined = d(Concat(1), *maps, x)
    return integer_norm(d, tokens), tokens, joined, d(Conv(), joined, d.integers(3, 12, 1, 1))


# Elementwise
BROADCASTS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 3, 5), (2, 3, 5)), ((2, 3, 5), (5,)), ((2, 3, 5), (3, 1)), ((2, 3, 5), (2, 1, 1)), ((2, 3, 5), ()),
    ((2, 1, 5), (1, 3, 1)), ((3, 1), (1, 65)), ((1,), (2, 2)), ((1, 7, 4, 4), (1, 7, 1, 1)), ((2, 1, 3, 1), (4, 1, 5)),
    ((1, 33), (2049, 1)),
)  # fmt: skip
for i, (left, right) in enumerate(BROADCASTS):

    @case("elementwise", f"arithmetic of {left} and {right}")
    def _(d: Draw, a: tuple[int, ...] = left, b: tuple[int, ...] = right, i: int = i) -> tuple[Node, ...]:
        def of(op: object, positive: bool = False) -> Node:
            kind = "positive" if positive else "x"
            return d(op, d.input(*a, kind=kind), d.input(*b, kind="positive"))  # type: ignore[arg-type]

        fixed = d(Sub(), d.real(*b), d.input(*a))
        by_turns = [(of(Add()), of(Pow(), True)), (of(Mul()), of(Sub())), (of(Div()), d(Mul(), d.input(*b), d.real(*a)))]
        return fixed, *by_turns[i % 3]

    @case("elementwise", f"integer arithmetic of {left} and {right}")
    def _(d: Draw, a: tuple[int, ...] = left, b: tuple[int, ...] = right, i: int = i) -> tuple[Node, ...]:
        def two(elem: Int) -> tuple[Node, Node]:
            return d.input(*a, elem=elem), d.input(*b, elem=elem)

        constants = d.integers(*b, low=-9999, high=9999, dtype="int16")
        by_turns = [
            (d(Mul(), *two(INT8)), d(AddRequantised(60000, 17, 40000, 15), *two(INT16))),
            (requantise(d, d(Mul(), *two(INT8)), (1,), zero_point=-3), d(AddRequantised(*IDENTITY, 40000, 16), *two(INT16))),
            (
                d(Where(), d.input(*a, elem=INT8), d.input(*b), d.input(*a)),
                d(AddRequantised(*IDENTITY, 40000, 14, subtract=True), *two(INT16)),
            ),
            (
                d(Where(), d.input(*b, elem=INT64), d.input(*a, elem=INT8), d.integers(*b)),
                d(AddRequantised(50000, 16, *IDENTITY), d.input(*a, elem=INT16), constants),
            ),
        ]
        return by_turns[i % 4]


UNARY = (Relu(), Neg(), HardSwish(), Gelu(), Gelu("tanh"), Sigmoid(), Silu(), Tanh(), Erf(), Exp())
for one in ((), (3, 5), (1, 2, 33), (2, 2000)):

    @case("elementwise", f"functions of {one}")
    def _(d: Draw, shape: tuple[int, ...] = one) -> tuple[Node, ...]:
        roots = [d(op, d.input(*shape, kind="positive")) for op in (Sqrt(), Reciprocal())]
        return *(d(op, d.input(*shape)) for op in UNARY), *roots

    @case("elementwise", f"integer functions of {one}")
    def _(d: Draw, shape: tuple[int, ...] = one) -> tuple[Node, ...]:
        x = d.input(*shape, elem=INT8)
        return (
            d(Table(), x, d.integers(256)), d(Relu(), x), d(Relu(), d.input(*shape, elem=INT16)),
            d(Cast(), d.input(*shape, elem=INT64)), d(Cast(), x), d(Cast(), d.input(*shape, elem=Int(32))),
            d(Dequantise(0.37, 11), d.input(*shape, elem=INT16)), d(Quantise(0.02, -7), d.input(*shape)),
            d(Quantise(0.0003, 0, INT16), d.input(*shape)), d(Quantise(0.01, 3, Int(8, False)), d.input(*shape)),
        )  # fmt: skip


@case("elementwise", "chains, with members that others read")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 5, 37)
    a = d(Gelu(), d(Mul(), x, d.real(37)))
    b = d(Add(), a, x)
    c = d(Silu(), d(Sub(), b, d.input(5, 1)))
    return c, a, d(Mul(), d(Tanh(), c), d(Sigmoid(), d(Neg(), c))), d(ReduceMean((1,)), b)


@case("elementwise", "a value that is squared, and one that meets itself transposed")
def _(d: Draw) -> tuple[Node, ...]:
    x = d(Relu(), d.input(4, 4))
    return d(Mul(), x, x), d(Add(), x, d(Transpose((1, 0)), x)), d(Div(), d(Exp(), d.input(3)), d(Exp(), d.input(3)))


@case("elementwise", "functions of views")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 6, 10)
    odd = d(Slice(2, 1, 10, 2), x)
    turned = d(Transpose((2, 0, 1)), x)
    y, n = d.input(1, 6, 10, elem=INT8), d.integers(256)
    return (
        d(Gelu(), odd), d(Add(), odd, d.real(5)), d(Tanh(), turned), d(Sub(), turned, d.input(10, 1, 6)),
        d(Table(), d(Slice(2, 0, 10, 3), y), n), d(Table(), d(Transpose((2, 1, 0)), y), n),
    )  # fmt: skip


@case("elementwise", "batch normalisation")
def _(d: Draw) -> tuple[Node, ...]:
    def parameters(channels: int) -> list[Node]:
        variance = constant(d.rng.uniform(0.3, 2, channels).astype(np.float32))
        return [d.real(channels), d.real(channels), d.real(channels), variance]

    y = d(Conv(), d.input(1, 3, 4, 4), d.real(5, 3, 2, 2))
    return (
        d(BatchNormalization(1e-3), d.input(1, 3, 4, 5), *parameters(3)),
        d(Relu(), d(BatchNormalization(1e-5), y, *parameters(5))),
        d(BatchNormalization(1e-5), d.input(2, 6), *parameters(6)),
    )


# Requantisation
for elem in (INT8, INT16):
    for factors in ((1,), (37,), (1, 1, 1), (1, 1, 37), (13, 1), (1, 13, 1)):

        @case("requantise", f"product requantised to {elem} by {factors}")
        def _(d: Draw, elem: Int = elem, factors: tuple[int, ...] = factors) -> Node:
            return requantise(d, linear(d, d.input(1, 13, 9, elem=INT8), 37), factors, elem, -5)

        @case("requantise", f"integers requantised to {elem} by {factors}")
        def _(d: Draw, elem: Int = elem, factors: tuple[int, ...] = factors) -> Node:
            return requantise(d, d.input(1, 13, 37, elem=INT32 if factors[-1] == 1 else INT16), factors, elem, 5)


@case("requantise", "one accumulator twice, both, one, none stored")
def _(d: Draw) -> tuple[Node, ...]:
    found: list[Node] = []
    for inner in (True, False):
        acc = linear(d, d.input(1, 14, 9, elem=INT8), 37)
        narrow, wide = requantise(d, acc, (37,), zero_point=4), requantise(d, acc, (37,), INT16)
        if inner:
            found += [linear(d, narrow, 5), wide]
        else:
            found += [d(Table(), narrow, d.integers(256)), d(Relu(), wide)]
    acc = linear(d, d.input(1, 5, 9, elem=INT8), 8)
    return *found, acc, requantise(d, acc, (8,)), requantise(d, acc, (1,), INT16)


@case("requantise", "residual chains")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 14, 40, elem=INT16)
    y = requantise(d, linear(d, d.input(1, 14, 9, elem=INT8), 40), (40,), INT16)
    stream = d(AddRequantised(*IDENTITY, 45000, 16), x, y)
    z = requantise(d, linear(d, integer_norm(d, stream), 40), (40,), INT16)
    out = d(AddRequantised(40000, 16, *IDENTITY), z, stream)
    narrow = requantise(d, out, (1,), zero_point=7)
    return out, d(Table(), narrow, d.integers(256)), d(AddRequantised(*IDENTITY, *IDENTITY, subtract=True), y, x)


@case("requantise", "tables and requantised joins in place")
def _(d: Draw) -> tuple[Node, ...]:
    x = d.input(1, 13, 9, elem=INT8)
    made = [
        d(Table(), requantise(d, linear(d, x, n), (n,), zero_point=3), d.integers(256)) for n in (5, 40)
    ]
    joined = d(Concat(2), *made)
    back = d(Dequantise(0.05, 3), joined)
    odd = d(Transpose((0, 2, 1)), requantise(d, linear(d, x, 6), (6,)))
    return back, joined, odd, d(Transpose((0, 2, 1)), d(Table(), odd, d.integers(256)))


@case("requantise", "rows that are not evenly spaced where they are stored")
def _(d: Draw) -> tuple[Node, ...]:
    made = [requantise(d, linear(d, d.input(2, n, 7, elem=INT8), 9), (9,), INT16) for n in (3, 4)]
    maps = [
        requantise(d, d(Conv(), d.input(2, 3, n, 4, elem=INT8), d.integers(6, 3, 1, 2)), (6, 1, 1)) for n in (2, 3)
    ]
    real = [linear(d, d.input(2, n, 7), 9) for n in (3, 4)]
    return d(Concat(1), *made), d(Concat(2), *maps), d(Concat(1), d(Gelu(), real[0]), real[1])


@case("requantise", "extreme accumulators and factors")
def _(d: Draw) -> tuple[Node, ...]:
    top = (1 << 26) - 1
    acc = constant(np.array([top, -top, top - 1, 1, 0, -1, 2, -2, 1 << 25, 3 << 20], np.int32))
    found = []
    for multiplier, shift in ((1 << 15, 1), ((1 << 16) - 1, 1), (1 << 15, 16), (65535, 30), (40001, 47), (1 << 15, 47)):
        pair = constant(np.array([multiplier], np.int32)), constant(np.array([shift], np.int8))
        for elem in (INT8, INT16):
            joined = d(Concat(0), acc, d.input(3, elem=INT32))
            found.append(d(Requantise(-9, elem), joined, *pair))
    return tuple(found)
