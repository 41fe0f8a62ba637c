"""Shifts that narrow are rounding shifts followed by a narrowing, for every number and amount."""

from __future__ import annotations

import numpy as np
import pytest
from edgewright.hw.kernel import Block, Int, ProcessTrace, Value, i, interpret, sat_shift, u, wrap_shift
from hypothesis import given, settings
from hypothesis import strategies as st

NARROWINGS = {"sat": sat_shift, "wrap": wrap_shift}


def narrowed(how: str, numbers: list[int], amounts: list[int], wide: Int, amount: Int, narrow: Int) -> list[int]:
    """Return the results of a process that narrows each number by its amount."""
    b = Block("narrow")
    x, n, y = b.input("x", wide), b.input("n", amount), b.output("y", narrow)

    @b.process(loops=[("k", 1)])
    def shift(p: ProcessTrace, k: Value) -> None:
        p.write(y, NARROWINGS[how](p.read(x), p.read(n), narrow))

    return [int(v) for v in interpret(b, {"x": np.array(numbers, object), "n": np.array(amounts)})["y"]]


def wanted(how: str, x: int, n: int, narrow: Int) -> int:
    """Return x / 2^n to nearest, ties upwards, in the range of a type or in its low bits."""
    value = (2 * x + (1 << n)) >> (n + 1)
    if how == "sat":
        return min(max(value, narrow.low), narrow.high)
    low = value & ((1 << narrow.bits) - 1)
    return low - (1 << narrow.bits) if narrow.signed and low > narrow.high else low


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_number_by_any_amount(data: st.DataObject) -> None:
    signed = data.draw(st.booleans())
    wide = Int(data.draw(st.integers(3, 60)), signed)
    narrow, amount = Int(data.draw(st.integers(2, wide.bits - 1)), signed), u(data.draw(st.integers(1, 6)))
    how = data.draw(st.sampled_from(sorted(NARROWINGS)))
    amounts = data.draw(st.lists(st.integers(0, amount.high), min_size=1, max_size=20))
    # numbers at the edges of the narrow type after their shift are those that a mistake would show in
    near = st.tuples(st.sampled_from([narrow.low, narrow.high, 0, wide.high, wide.low]), st.integers(-3, 3))
    numbers = []
    for n in amounts:
        edge, off = data.draw(near)
        close = max(wide.low, min(wide.high, (edge << n) + (off << n >> 1)))
        numbers.append(data.draw(st.sampled_from([close, data.draw(st.integers(wide.low, wide.high))])))
    found = narrowed(how, numbers, amounts, wide, amount, narrow)
    assert found == [wanted(how, x, n, narrow) for x, n in zip(numbers, amounts, strict=True)]


@pytest.mark.parametrize("to", [i(8), i(9), u(4)])
@pytest.mark.parametrize("how", sorted(NARROWINGS))
def test_only_narrower_types_of_the_same_sign(how: str, to: Int) -> None:
    with pytest.raises(TypeError, match="not a narrower type of the same sign"):
        narrowed(how, [0], [0], i(8), u(3), to)
