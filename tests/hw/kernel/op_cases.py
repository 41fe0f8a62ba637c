"""One small process per operation and combination of types, for the printers to be compared with the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    concat,
    const,
    dot,
    i,
    index,
    ir,
    maximum,
    minimum,
    multiply,
    reinterpret,
    round_shift,
    sat,
    sat_shift,
    select,
    shl,
    shr,
    stack,
    struct,
    u,
    wrap,
    wrap_shift,
)

Type = Int | Array


@dataclass(frozen=True)
class Case:
    name: str
    types: tuple[Type, ...]
    function: Callable[..., Value]
    limit: tuple[tuple[int, int] | None, ...] = ()  # narrower ranges of operands


def families(chosen: list[Case]) -> dict[str, list[Case]]:
    """Cases by operation: one process each, so that the build stays small."""
    out: dict[str, list[Case]] = {}
    for case in chosen:
        out.setdefault(case.name.rstrip("0123456789"), []).append(case)
    return out


def add_family(b: Block, family: str, members: list[Case]) -> None:
    """A stream of operands of all cases, the operations, a stream of all results."""
    operand_types = {f"{c.name}x{n}": t for c in members for n, t in enumerate(c.types)}
    result_types = {c.name: c.function(*(Value(ir.Node(ir.Command(), (), t)) for t in c.types)).type for c in members}
    source = b.input(f"{family}_in", Struct("Operands", **operand_types))
    sink = b.output(f"{family}_out", Struct("Results", **result_types))

    def body(p: ProcessTrace, k: Value) -> None:
        token = p.read(source)
        results = {}
        for c in members:
            result = c.function(*(getattr(token, f"{c.name}x{n}") for n in range(len(c.types))))
            results[c.name] = wrap(result, result_types[c.name])
        p.write(sink, struct(**results))

    b.process(loops=[("k", 1)], name=family)(body)


def operands(case: Case, count: int, rng: np.random.Generator) -> dict[str, Any]:
    """Random operands, a third of them at the ends of their ranges."""
    out: dict[str, Any] = {}
    for n, t in enumerate(case.types):
        e, shape = (t.elem, t.shape) if isinstance(t, Array) else (t, ())
        limit = case.limit[n] if n < len(case.limit) else None
        low, high = limit or (e.low, e.high)
        ends = [low, high, max(low, min(high, 0)), max(low, min(high, -1)), max(low, min(high, 1))]
        flat = [
            ends[int(rng.integers(len(ends)))]
            if rng.random() < 0.33
            else low + int.from_bytes(rng.bytes(40), "little") % (high - low + 1)
            for _ in range(count * int(np.prod(shape, dtype=int)))
        ]
        out[f"{case.name}x{n}"] = np.array(flat, dtype=object).reshape(count, *shape)
    return out


def binary(name: str, f: Callable[[Value, Value], Value], pairs: list[tuple[Type, Type]]) -> list[Case]:
    return [Case(f"{name}{n}", pair, f) for n, pair in enumerate(pairs)]


def unary(name: str, f: Callable[[Value], Value], types: list[Type]) -> list[Case]:
    return [Case(f"{name}{n}", (t,), f) for n, t in enumerate(types)]


PAIRS: list[tuple[Type, Type]] = [
    (u(8), u(5)),
    (u(5), u(8)),
    (i(8), i(5)),
    (i(5), u(8)),
    (u(8), i(5)),
    (i(8), u(8)),
    (u(1), i(1)),
    (i(40), u(33)),
    (i(70), i(65)),
    (u(64), u(31)),
    (i(31), i(33)),
    (i(8)[3], i(6)),
    (u(4), i(6)[2, 3]),
    (i(8)[2, 1], u(7)[3]),
]
TYPES: list[Type] = [u(1), u(8), i(1), i(8), i(33), u(64), i(65), i(7)[4], u(5)[2, 3]]


def narrowing(to: str, e: Int, pairs: list[tuple[Type, Type]]) -> list[Case]:
    return binary(f"wrapshift{to}s", lambda a, n: wrap_shift(a, n, e), pairs) + binary(
        f"satshift{to}s", lambda a, n: sat_shift(a, n, e), pairs
    )


def cases() -> list[Case]:
    out: list[Case] = []
    out += binary("add", lambda a, b: a + b, PAIRS)
    out += binary("sub", lambda a, b: a - b, PAIRS)
    out += binary("mul", lambda a, b: a * b, PAIRS)
    out += binary("inluts", lambda a, b: multiply(a, b, luts=True), [(i(8), i(8)), (i(8)[3], i(8)), (i(8)[2, 1], i(8)[3])])
    out += binary("bitand", lambda a, b: a & b, PAIRS)
    out += binary("bitor", lambda a, b: a | b, PAIRS)
    out += binary("bitxor", lambda a, b: a ^ b, PAIRS)
    out += binary("lesser", minimum, PAIRS)
    out += binary("larger", maximum, PAIRS)
    out += binary("compares", lambda a, b: cat_bits(a == b, a != b, a < b, a <= b, a > b, a >= b), PAIRS)
    out += binary("choose", lambda a, b: select(a > b, a, b), PAIRS)
    out += binary("join", cat_bits, PAIRS)
    out += unary("neg", lambda a: -a, TYPES)
    out += unary("inv", lambda a: ~a, TYPES)
    out += unary("magnitude", absolute, TYPES)
    out += unary("mulconst", lambda a: a * 37 - (a * 3) * -5, TYPES)
    out += unary("left", lambda a: shl(a, 3), TYPES)
    out += unary("right", lambda a: shr(a, 3), TYPES)
    out += unary("rightfar", lambda a: shr(a, 80), TYPES)
    out += unary("rounded", lambda a: round_shift(a, 3), TYPES)
    for name, shift in (("leftby", shl), ("rightby", shr), ("roundby", round_shift)):
        out += binary(name, shift, [(i(9), u(3)), (u(9), u(4)), (i(40), u(6)), (i(70), u(7)), (i(8)[3], u(3)), (i(8), u(3)[2])])
    out += narrowing("i5", i(5), [(i(40), u(6)), (i(20), u(4)), (i(49)[3], u(6)), (i(44)[3], u(6)[3])])
    out += narrowing("i17", i(17), [(i(40), u(6)), (i(20), u(4)), (i(49)[3], u(5)), (i(44)[3], u(6)[3])])
    out += narrowing("u12", u(12), [(u(40), u(6)), (u(33), u(3)), (u(20)[2], u(5)[2])])
    out.append(Case("leftcut", (i(8), u(4)), lambda a, n: shl(a, n, 12), (None, (0, 4))))
    out += unary("length", lambda a: bit_length(a), [u(1), u(8), u(19), u(64), u(100), u(6)[3]])
    out += unary("field", lambda a: bits(a, min(a.bits - 1, 5), min(a.bits - 1, 2)), TYPES)
    for name, e in (("u5", u(5)), ("i5", i(5)), ("u12", u(12)), ("i80", i(80))):
        out += unary(f"wrap{name}", lambda a, e=e: wrap(a, e), TYPES)  # type: ignore[misc]
        out += unary(f"sat{name}", lambda a, e=e: sat(a, e), TYPES)  # type: ignore[misc]
    out += unary("clamp", lambda a: clamp(a, -3, 100), TYPES)
    out += structure()
    return out


def structure() -> list[Case]:
    m = i(6)[3, 4]
    return [
        *unary("transposed", lambda a: a.T, [m]),
        *unary("flat", lambda a: a.reshape(12) + a.reshape(4, 3).T.reshape(12), [m]),
        *unary("sliced", lambda a: a[1:, ::2] + a[0, 3], [m]),
        *unary("flipped", lambda a: a[::-1, ::-1] + a, [m]),
        *unary("scattered", lambda a: a.reshape(12)[[0, 5, 7, 1]], [m]),
        *unary("outer", lambda a: a[:, None, :] * a[None, :2, :], [m]),
        *unary("total", lambda a: a.sum(), [m, u(3)[7], i(70)[5]]),
        *unary("rowsum", lambda a: a.sum(1), [m, u(3)[7, 3], i(1)[4, 5]]),
        *unary("colmax", lambda a: a.max(0), [m, u(9)[5, 2]]),
        *unary("least", lambda a: a.min(), [m, u(9)[5]]),
        *unary("anyall", lambda a: cat_bits((a > 3).any(1), (a > 3).all(1)), [m]),
        *unary("joined", lambda a: concat([a, a[:, :1] * 3, a[:, ::-1]], axis=1), [m]),
        *unary("stacked", lambda a: stack([a[0], a[2], a[1]], axis=1), [m]),
        Case("picked", (i(6)[5, 2], u(3)), index, (None, (0, 4))),
        Case("pickedview", (i(6)[2, 5], u(3)), lambda a, n: index(a.T[1:], n), (None, (0, 3))),
        Case("pickedmany", (i(6)[5], u(3)[4]), index, (None, (0, 4))),
        Case("pickedconst", (u(2),), lambda n: index(const([[3, -4], [5, 6], [7, -8], [0, 1]], i(4)[4, 2]), n)),
        *unary("asbytes", lambda a: reinterpret(a, i(8)[4]), [u(32), i(4)[8], u(2)[4, 4]]),
        *unary("aswide", lambda a: reinterpret(a, u(96)), [i(8)[12], i(3)[4, 8]]),
        *unary("asodd", lambda a: reinterpret(a, i(9)[4]), [i(6)[6]]),
        Case("dotsmall", (i(8)[2, 3], i(8)[2, 3]), dot, ((-127, 127), (-127, 127))),
        Case("dotodd", (i(8)[5, 16], i(8)[3, 16]), dot, ((-127, 127), (-127, 127))),
        Case("dotlong", (i(8)[4, 37], i(8)[2, 37]), dot, ((-127, 127), (-127, 127))),
        Case("dotone", (i(8)[1, 4], i(8)[2, 4]), dot, ((-127, 127), (-127, 127))),
    ]
