"""Types, widths and the meaning of each operation, against Python's own integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from edgewright.hw.kernel import (
    Array,
    Block,
    Int,
    ProcessTrace,
    Struct,
    Value,
    absolute,
    bit_length,
    bits,
    cat_bits,
    clamp,
    dot,
    i,
    interpret,
    ir,
    maximum,
    minimum,
    round_shift,
    sat,
    select,
    shl,
    shr,
    u,
    width,
    wrap,
)
from edgewright.hw.kernel.tokens import decode, encode, pack, unpack
from edgewright.hw.kernel.types import leaves, of_range, union
from hypothesis import given, settings
from hypothesis import strategies as st

INTS = st.builds(Int, st.integers(1, 90), st.booleans())


def value(e: Int | Array) -> Value:
    """Some value of a type, outside of any process."""
    return Value(ir.Node(ir.Command(), (), e))


def apply(f: Callable[..., Value], types: list[Int], rows: Sequence[tuple[int, ...]]) -> list[int]:
    """f on rows of integers, by the interpreter."""
    block = Block("apply")
    result = f(*(value(t) for t in types)).type
    source = block.input("source", Struct("Row", **{f"x{n}": t for n, t in enumerate(types)}))
    sink = block.output("sink", result)

    @block.process()
    def body(p: ProcessTrace, k: Value) -> None:
        row = p.read(source)
        p.write(sink, wrap(f(*(getattr(row, f"x{n}") for n in range(len(types)))), result))

    tokens = {f"x{n}": [row[n] for row in rows] for n in range(len(types))}
    return [int(v) for v in interpret(block, {"source": tokens})["sink"]]


def wrapped(x: int, e: Int) -> int:
    low = x & ((1 << e.bits) - 1)
    return low - (1 << e.bits) if e.signed and low >> (e.bits - 1) else low


def rounded(x: int, n: int) -> int:
    return (x + (1 << (n - 1))) >> n if n else x


BINARY: dict[str, tuple[Callable[[Any, Any], Any], Callable[[int, int], int]]] = {
    "add": (lambda a, b: a + b, lambda a, b: a + b),
    "sub": (lambda a, b: a - b, lambda a, b: a - b),
    "mul": (lambda a, b: a * b, lambda a, b: a * b),
    "and": (lambda a, b: a & b, lambda a, b: a & b),
    "or": (lambda a, b: a | b, lambda a, b: a | b),
    "xor": (lambda a, b: a ^ b, lambda a, b: a ^ b),
    "min": (minimum, min),
    "max": (maximum, max),
    "lt": (lambda a, b: a < b, lambda a, b: int(a < b)),
    "ge": (lambda a, b: a >= b, lambda a, b: int(a >= b)),
    "eq": (lambda a, b: a == b, lambda a, b: int(a == b)),
    "select": (lambda a, b: select(a > b, a, b), max),
}


@pytest.mark.parametrize("name", BINARY)
@settings(max_examples=25, deadline=None)
@given(a=INTS, b=INTS, data=st.data())
def test_binary_operations_are_exact(name: str, a: Int, b: Int, data: st.DataObject) -> None:
    ours, exact = BINARY[name]
    rows = data.draw(st.lists(st.tuples(st.integers(a.low, a.high), st.integers(b.low, b.high)), min_size=1, max_size=5))
    rows += [(x, y) for x in (a.low, a.high) for y in (b.low, b.high)]
    assert apply(ours, [a, b], rows) == [exact(*row) for row in rows]


UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[int, Int], int]]] = {
    "neg": (lambda a: -a, lambda a, e: -a),
    "not": (lambda a: ~a, lambda a, e: wrapped(~a, e)),
    "abs": (absolute, lambda a, e: abs(a)),
    "shl": (lambda a: shl(a, 4), lambda a, e: a << 4),
    "shr": (lambda a: shr(a, 4), lambda a, e: a >> 4),
    "round": (lambda a: round_shift(a, 3), lambda a, e: rounded(a, 3)),
    "round1": (lambda a: round_shift(a, 1), lambda a, e: rounded(a, 1)),
    "wrap": (lambda a: wrap(a, i(6)), lambda a, e: wrapped(a, i(6))),
    "sat": (lambda a: sat(a, i(6)), lambda a, e: max(-32, min(31, a))),
    "satu": (lambda a: sat(a, u(6)), lambda a, e: max(0, min(63, a))),
    "clamp": (lambda a: clamp(a, -5, 9), lambda a, e: max(-5, min(9, a))),
    "top": (lambda a: bits(a, a.bits - 1, a.bits // 2), lambda a, e: (a & ((1 << e.bits) - 1)) >> (e.bits // 2)),
    "cat": (lambda a: cat_bits(a, a), lambda a, e: (a & ((1 << e.bits) - 1)) * (1 + (1 << e.bits))),
}


@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=25, deadline=None)
@given(a=INTS, data=st.data())
def test_unary_operations_are_exact(name: str, a: Int, data: st.DataObject) -> None:
    ours, exact = UNARY[name]
    rows = [(x,) for x in [*data.draw(st.lists(st.integers(a.low, a.high), max_size=5)), a.low, a.high, 0]]
    assert apply(ours, [a], rows) == [exact(row[0], a) for row in rows]


@settings(max_examples=30, deadline=None)
@given(a=INTS, n=st.integers(1, 6), data=st.data())
def test_shifts_by_a_value(a: Int, n: int, data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(st.integers(a.low, a.high), st.integers(0, 2**n - 1)), min_size=1, max_size=6))
    assert apply(round_shift, [a, u(n)], rows) == [rounded(*row) for row in rows]
    assert apply(shr, [a, u(n)], rows) == [x >> k for x, k in rows]
    assert apply(shl, [a, u(n)], rows) == [x << k for x, k in rows]


@given(st.integers(0, 2**80))
def test_bit_length(x: int) -> None:
    assert apply(bit_length, [u(81)], [(x,)]) == [x.bit_length()]
    assert apply(bit_length, [u(61)], [(x & (2**61 - 1),)]) == [(x & (2**61 - 1)).bit_length()]


def test_widths_grow_exactly() -> None:
    a, b = value(u(8)), value(i(8))
    assert (a + a).type == u(9)
    assert (a - a).type == i(9)
    assert (a + b).type == i(10)
    assert (a * b).type == i(16)
    assert (b * b).type == i(16)
    assert (-b).type == i(9)
    assert absolute(b).type == u(8)
    assert (a * 100).type == u(15)
    assert shl(b, 3).type == i(11)
    assert shr(b, 3).type == i(5)
    assert round_shift(b, 3).type == i(6)
    assert round_shift(value(i(40)), value(u(6))).type == i(40)
    assert bit_length(a).type == u(4)
    assert minimum(value(u(16)), 4095).type == u(12)
    assert maximum(b, 0).type == u(7)
    assert clamp(value(i(32)), -127, 127).type == i(8)
    assert value(i(8)[4, 3]).sum(1).type == i(10)[4]
    assert dot(value(i(8)[12, 16]), value(i(8)[16, 16])).type == i(19)[12, 16]
    assert value(i(8)[4, 3])[1:, None, 0].type == i(8)[3, 1]
    assert value(i(8)[4, 3]).T.reshape(6, 2).type == i(8)[6, 2]


def test_ranges_and_unions() -> None:
    assert [of_range(0, 255), of_range(-1, 127), of_range(-129, 0), of_range(0, 0)] == [u(8), i(8), i(9), u(1)]
    assert union(u(8), i(8)) == i(9) and union(u(3), u(5)) == u(5)


def test_packing_puts_the_first_field_lowest() -> None:
    inner = Struct("Inner", flag=u(1), pair=i(4)[2])
    outer = Struct("Outer", head=u(3), inner=inner, wide=u(70))
    assert width(outer) == 3 + 9 + 70
    assert [(path, at) for path, _, at in leaves(outer)] == [
        (("head",), 0),
        (("inner", "flag"), 3),
        (("inner", "pair"), 4),
        (("wide",), 12),
    ]
    tokens = {"head": [5], "inner": {"flag": [1], "pair": [[-1, 2]]}, "wide": [1 << 69]}
    packed = pack(outer, encode(outer, tokens, "token"))
    assert packed == [5 | 1 << 3 | 0xF << 4 | 2 << 8 | 1 << (12 + 69)]
    again = decode(outer, unpack(outer, packed))
    assert again["inner"]["pair"].tolist() == [[-1, 2]] and int(again["wide"][0]) == 1 << 69
    assert np.array_equal(again["head"], [5])


@pytest.mark.parametrize("name", ["1x", "a-b", "a__b", "_a", "a_", "", "ä", "a b"])
def test_hostile_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Block("b").channel(name, u(1))
