"""Rounding shifts of which few bits are wanted: each step chooses only bits that those after it may need."""

from __future__ import annotations

from edgewright.hw.kernel.types import Int, Leaf, elem_of
from edgewright.hw.kernel.value import (
    Operand,
    Value,
    as_value,
    bits,
    cat_bits,
    const,
    sat,
    select,
    shl,
    shr,
    unsigned,
    wrap,
)


def wrap_shift(x: Operand, n: Value, type_: Leaf) -> Value:
    """Return ``wrap(round_shift(x, n), type_)``; the type is narrower than x and has its sign."""
    v, e = operands(x, type_)
    return wrap(rounded(v, unsigned(n, "shift amount"), e.bits), e)


def sat_shift(x: Operand, n: Value, type_: Leaf) -> Value:
    """Return ``sat(round_shift(x, n), type_)``; the type is narrower than x and has its sign. Whether the result is beyond the
    type is seen in x itself: then it has bits, other than its sign, where the type has none after the shift."""
    v, e = operands(x, type_)
    amount = unsigned(n, "shift amount")
    negative = v < 0
    flipped = select(negative, ~v, v) if v.signed else v
    high = bits(flipped, v.bits - 1 - v.signed, e.bits - e.signed)
    mask = cat_bits(*(amount <= place for place in range(high.bits)))  # of those, the ones that remain
    beyond = (high & mask) != 0
    limit = select(negative, const(e.low, e), const(e.high, e)) if v.signed else const(e.high, e)
    result: Value = select(beyond, limit, sat(rounded(v, amount, e.bits), e))
    return result


def operands(x: Operand, type_: Leaf) -> tuple[Value, Int]:
    """Return x and the type of a result's elements, or raise TypeError where that is not narrower, or has another sign."""
    v, e = as_value(x), elem_of(type_)
    if v.signed != e.signed or e.bits >= v.bits:
        raise TypeError(f"a narrowing shift of {v.type} to {e}, which is not a narrower type of the same sign")
    return v, e


def rounded(v: Value, n: Value, count: int) -> Value:
    """Return the low ``count + 1`` bits of ``round_shift(v, n)``."""
    low = shl(v, 1)
    for place in reversed(range(0, n.bits, 2)):  # a step chooses one of four windows, a look-up table a bit, the widest first
        step = bits(n, min(place + 1, n.bits - 1), place)
        window = Int(count + (1 << place), v.signed)
        low = chosen([wrap(shr(low, at << place), window) for at in range(1 << step.bits)], step)
    return shr(low + 1, 1)


def chosen(values: list[Value], at: Value) -> Value:
    """Return the one of 2^k values whose number is ``at``, element by element."""
    for place in range(at.bits):
        flag = bits(at, place, place)
        values = [select(flag, odd, even) for even, odd in zip(values[::2], values[1::2], strict=True)]
    (value,) = values
    return value
