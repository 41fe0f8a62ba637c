"""Views, joins, elementwise operators and requantisation: small graphs of odd shapes."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.op import Op
from edgewright.passes.ir.types import INT8, INT16, INT32, INT64, Int
from edgewright.passes.ops import (
    Add,
    AddRequantised,
    BatchNormalization,
    Cast,
    Clip,
    Concat,
    Conv,
    Dequantise,
    Div,
    Elementwise,
    Erf,
    Exp,
    Gelu,
    HardSwish,
    Max,
    Min,
    Mul,
    Neg,
    Pow,
    Quantise,
    Reciprocal,
    ReduceMean,
    Relu,
    Requantise,
    Reshape,
    Sigmoid,
    Sign,
    Silu,
    Slice,
    Sqrt,
    Sub,
    Table,
    Tanh,
    Transpose,
    Where,
    constant,
)
from edgewright.passes.ops.elementwise import FUNCTIONS
from edgewright.passes.ops.scaling import IDENTITY

from tests.targets.cpu.case_layers import Cases, integer_norm, linear, requantise
from tests.targets.cpu.lowered import Draw

CASES = Cases()
case = CASES.case

# Views and joins
for elem, word in ((None, "float"), (INT8, "int8"), (INT16, "int16"), (INT64, "int64")):

    @case("views", f"views as outputs, {word}")
    def _(d: Draw, elem: Int | None = elem) -> tuple[Node, ...]:
        x = d.input(2, 3, 4, 5, elem=elem) if elem else d.input(2, 3, 4, 5)
        turned = d(Transpose((3, 1, 0, 2)), x)
        return (
            x,
            x,
            turned,
            d(Reshape((6, 20)), x),
            d(Reshape((5, 24)), turned),
            d(Slice(2, 1, 4, 2), x),
            d(Transpose((1, 0)), d(Reshape((8, 15)), d(Transpose((0, 2, 1, 3)), x))),
            d(Reshape((2, 1, 12, 5)), x),
            d(Reshape((3, 5, 4)), d(Slice(0, 1, 2), d(Transpose((0, 1, 3, 2)), x))),
            d(Reshape((120,)), d(Slice(0, 0, 2), x)),
            d(Slice(3, 4, 5), x),
            d(Transpose((0, 1, 2, 3)), x),
        )


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
            d(Concat(axis), x, y),
            nested,
            d(Concat(axis), fixed, y, fixed),
            d(Concat(axis), made, x, made),
            made,
            d(Concat(axis), turned, y),
            d(Neg(), d(Concat(axis), x, d(Slice(axis, 1, 3), turned))),
            d(Concat(axis), x),
        )


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
    ((2, 3, 5), (2, 3, 5)),
    ((2, 3, 5), (5,)),
    ((2, 3, 5), (3, 1)),
    ((2, 3, 5), (2, 1, 1)),
    ((2, 3, 5), ()),
    ((2, 1, 5), (1, 3, 1)),
    ((3, 1), (1, 65)),
    ((1,), (2, 2)),
    ((1, 7, 4, 4), (1, 7, 1, 1)),
    ((2, 1, 3, 1), (4, 1, 5)),
    ((1, 33), (2049, 1)),
)
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

    @case("elementwise", f"integer quotients of {left} and {right}")
    def _(d: Draw, a: tuple[int, ...] = left, b: tuple[int, ...] = right) -> tuple[Node, ...]:
        """Divisors of all signs, 0 among them; products of both, so that numerators have many bits."""
        x, y = d(Mul(), d.input(*a, elem=INT8), d.input(*a, elem=INT8)), d.input(*b, elem=INT8)
        quotients = [d(Div(fraction), x, y) for fraction in (0, 9, 31)]
        wide = d(Div(20, -77), d.input(*a, elem=INT16), d(Mul(), y, d.input(*b, elem=INT8)))
        return *quotients, requantise(d, wide, (1,)), d(Div(12), d.integers(*a, low=-9999, high=9999, dtype="int16"), y)


UNARY: tuple[Op, ...] = (
    *(Relu(), Neg(), HardSwish(), Gelu(), Gelu("tanh"), Sigmoid(), Silu(), Tanh(), Erf(), Exp(), Sign()),
    *(Clip(-0.5, 1.5), Clip(0.0), Clip(-1e8, 0.25), Clip(1.0, -1.0), Clip(-3.4e38), Clip()),
    *(
        Elementwise(name, tuple(1.5 * value for value in function.parameters.values()))
        for name, function in FUNCTIONS.items()
        if name != "Log"
    ),
)
for one in ((), (3, 5), (1, 2, 33), (2, 2000)):

    @case("elementwise", f"functions of {one}")
    def _(d: Draw, shape: tuple[int, ...] = one) -> tuple[Node, ...]:
        roots = [d(op, d.input(*shape, kind="positive")) for op in (Sqrt(), Reciprocal(), Elementwise("Log"))]
        return *(d(op, d.input(*shape)) for op in UNARY), *roots

    @case("elementwise", f"integer functions of {one}")
    def _(d: Draw, shape: tuple[int, ...] = one) -> tuple[Node, ...]:
        x = d.input(*shape, elem=INT8)
        return (
            d(Clip(-7.0, 100.0), x),
            d(Clip(high=30.0), x),
            d(Clip(5.0), d.input(*shape, elem=INT16)),
            d(Max(), x, d.input(*shape, elem=INT8)),
            d(Min(), x, d.input(*shape, elem=INT8)),
            d(Table(), x, d.integers(256)),
            d(Relu(), x),
            d(Relu(), d.input(*shape, elem=INT16)),
            d(Cast(), d.input(*shape, elem=INT64)),
            d(Cast(), x),
            d(Cast(), d.input(*shape, elem=Int(32))),
            d(Dequantise(0.37, 11), d.input(*shape, elem=INT16)),
            d(Quantise(0.02, -7), d.input(*shape)),
            d(Quantise(0.0003, 0, INT16), d.input(*shape)),
            d(Quantise(0.01, 3, Int(8, False)), d.input(*shape)),
        )


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
        d(Gelu(), odd),
        d(Add(), odd, d.real(5)),
        d(Tanh(), turned),
        d(Sub(), turned, d.input(10, 1, 6)),
        d(Table(), d(Slice(2, 0, 10, 3), y), n),
        d(Table(), d(Transpose((2, 1, 0)), y), n),
    )


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
    made = [d(Table(), requantise(d, linear(d, x, n), (n,), zero_point=3), d.integers(256)) for n in (5, 40)]
    joined = d(Concat(2), *made)
    back = d(Dequantise(0.05, 3), joined)
    odd = d(Transpose((0, 2, 1)), requantise(d, linear(d, x, 6), (6,)))
    return back, joined, odd, d(Transpose((0, 2, 1)), d(Table(), odd, d.integers(256)))


@case("requantise", "rows that are not evenly spaced where they are stored")
def _(d: Draw) -> tuple[Node, ...]:
    made = [requantise(d, linear(d, d.input(2, n, 7, elem=INT8), 9), (9,), INT16) for n in (3, 4)]
    maps = [requantise(d, d(Conv(), d.input(2, 3, n, 4, elem=INT8), d.integers(6, 3, 1, 2)), (6, 1, 1)) for n in (2, 3)]
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
