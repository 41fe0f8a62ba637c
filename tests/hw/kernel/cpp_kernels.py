"""Random processes and their inputs, for the C++ printer to be compared with the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from edgewright.hw.kernel import (
    Array,
    Block,
    Int,
    ProcessTrace,
    Struct,
    StructValue,
    Value,
    absolute,
    bit_length,
    bits,
    cat_bits,
    clamp,
    concat,
    first,
    i,
    index,
    last,
    maximum,
    minimum,
    reinterpret,
    round_shift,
    sat,
    select,
    shl,
    shr,
    struct,
    u,
    wrap,
)
from edgewright.hw.kernel.nest import expand

Rng = np.random.Generator
WIDEST = 160
ELEMENTS = 24


def random_int(rng: Rng) -> Int:
    bits_ = int(rng.choice([1, 2, 3, 5, 7, 8, 9, 12, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 100, 128, 130]))
    return Int(bits_, bool(rng.integers(2)))


def random_type(rng: Rng) -> Int | Array:
    shape = [(), (), (), (3,), (4,), (2, 3), (1, 4)][int(rng.integers(7))]
    e = random_int(rng)
    return Array(e, shape) if shape else e


def random_tokens(rng: Rng, t: Int | Array, count: int) -> Any:
    e, shape = (t.elem, t.shape) if isinstance(t, Array) else (t, ())
    ends = [e.low, e.high, 0, max(e.low, -1), 1 if e.high else 0]
    span = e.high - e.low + 1
    flat = [
        ends[int(rng.integers(5))] if rng.random() < 0.3 else e.low + int.from_bytes(rng.bytes(40), "little") % span
        for _ in range(count * int(np.prod(shape, dtype=int)))
    ]
    return np.array(flat, dtype=object).reshape(count, *shape)


def narrowed(v: Value) -> Value:
    return wrap(v, Int(WIDEST // 2, v.signed)) if v.bits > WIDEST else v


def unsigned(v: Value, width: int) -> Value:
    return wrap(v, u(width))


def step(rng: Rng, pool: list[Value]) -> Value:
    """One more value from those of the pool."""

    def pick() -> Value:
        return pool[int(rng.integers(len(pool)))]

    def partner(a: Value) -> Value:
        fitting = [v for v in pool if v.shape in ((), a.shape)]
        return fitting[int(rng.integers(len(fitting)))] if fitting else a

    a = pick()
    b = partner(a)
    table: list[Callable[[], Value]] = [
        lambda: a + b,
        lambda: a - b,
        lambda: a * wrap(b, Int(min(b.bits, 40), b.signed)),
        lambda: a & b,
        lambda: a | b,
        lambda: a ^ b,
        lambda: -a,
        lambda: ~a,
        lambda: minimum(a, b),
        lambda: maximum(a, b),
        lambda: absolute(a),
        lambda: select(a > b, a, b),
        lambda: select(unsigned(b, 1), a, 5),
        lambda: (a <= b) & (b != 3),
        lambda: a + 3,
        lambda: a - 200,
        lambda: a * -7,
        lambda: a == 1,
        lambda: shl(a, int(rng.integers(1, 20))),
        lambda: shr(a, int(rng.integers(1, 70))),
        lambda: round_shift(a, int(rng.integers(1, 9))),
        lambda: shl(wrap(a, Int(min(a.bits, 24), a.signed)), unsigned(b, 3)),
        lambda: shr(a, unsigned(b, 7)),
        lambda: round_shift(a, unsigned(b, 4)),
        lambda: bit_length(unsigned(a, min(a.bits, 70))),
        lambda: bits(a, a.bits - 1, int(rng.integers(a.bits))),
        lambda: cat_bits(a, wrap(b, u(min(b.bits, 20)))),
        lambda: wrap(a, random_int(rng)),
        lambda: sat(a, random_int(rng)),
        lambda: clamp(a, -9, 77),
        lambda: a.T if a.shape else a,
        lambda: a[::-1] if a.shape else a + b,
        lambda: a[0] if a.shape else ~a,
        lambda: a[:, None] + a[None, :] if len(a.shape) == 1 else a,
        lambda: a.sum() if a.shape else a,
        lambda: a.max(-1) if a.shape else a,
        lambda: a.min(0) if a.shape else a,
        lambda: (a > 2).any() if a.shape else a,
        lambda: concat([a, a[::-1]]) if a.shape else a,
        lambda: a.reshape(-1) if len(a.shape) > 1 else a,
        lambda: index(a, minimum(unsigned(b, 3), a.shape[0] - 1)) if a.shape and not b.shape else a,
        lambda: reinterpret(a, Int(a.bits, not a.signed)) if not a.shape else reinterpret(a, u(a.bits * int(np.prod(a.shape)))),
        lambda: reinterpret(wrap(a, u(48)), i(8)[6]) if not a.shape else a,
    ]
    result = narrowed(table[int(rng.integers(len(table)))]())
    return result if int(np.prod(result.shape, dtype=int)) <= ELEMENTS else result[0]


def add_random(b: Block, name: str, rng: Rng, executions: int = 6) -> dict[str, Any]:
    """A process with a random nest, body and state; the inputs for it."""
    fields = {f"x{n}": random_type(rng) for n in range(int(rng.integers(2, 5)))}
    command_type = Struct("Command", a=u(3), b=u(2), d=u(1), e=i(5))
    commands, tokens = b.input(f"{name}_cmd", command_type), b.input(f"{name}_in", Struct("Token", **fields))
    held_type = random_type(rng)
    extra = b.input(f"{name}_extra", held_type)
    nests: list[list[tuple[str, Any]]] = [
        [("j", lambda c: c.a), ("k", 3)],
        [("j", lambda c: c.a), ("k", lambda c: c.b)],
        [("j", 2), ("k", lambda c, j: select(j == 0, c.a, c.b)), ("h", lambda c, j, k: select(c.d, 2, 1))],
        [("j", lambda c: c.a), ("k", lambda c, j: select(last(j), c.b, select(first(j), 1, 2)))],
        [("j", lambda c: c.b), ("k", 2), ("h", lambda c, j, k: c.a)],
        [("j", lambda c: c.a)],
    ]
    loops = nests[int(rng.integers(len(nests)))]
    commands_given = {
        "a": rng.integers(0, 6, executions),
        "b": rng.integers(0, 4, executions),
        "d": rng.integers(0, 2, executions),
        "e": rng.integers(-16, 16, executions),
    }

    def trace(p: ProcessTrace, c: StructValue, *counters: Value) -> None:
        token = p.read(tokens)
        inner, flag = counters[-1], first(counters[-1])
        pool = [getattr(token, f) for f in fields] + [c.e, c.a, counters[0], inner]
        pool.append(p.read(extra, when=flag))
        for _ in range(int(rng.integers(4, 14))):
            pool.append(step(rng, pool))
        small = [wrap(v, Int(min(v.bits, 30), v.signed)) for v in pool]
        x = small[int(rng.integers(len(small)))]
        pool.append(p.accumulate(x, clear=flag, type=Int(40, x.signed)))
        y = small[int(rng.integers(len(small)))]
        pool.append(p.accumulate(y, clear=flag | (y if y.type == u(1) else c.d), op="max" if rng.integers(2) else "min"))
        pool.append(p.shift_in(pool[int(rng.integers(4))], 3))
        scalar = next(v for v in reversed(pool) if not v.shape)
        pool.append(p.shift_in(wrap(scalar, u(9)), 2, when=unsigned(scalar, 1)))
        pool.append(p.hold(pool[5], when=flag | unsigned(scalar, 1)))
        for _ in range(3):
            pool.append(step(rng, pool))
        chosen = pool[-9:]
        out = b.output(f"{name}_out", Struct("Result", **{f"y{n}": v.type for n, v in enumerate(chosen)}))
        p.write(out, struct(**{f"y{n}": v for n, v in enumerate(chosen)}), when=last(inner) | unsigned(scalar, 1))

    arguments = ", ".join(key for key, _ in loops)
    body = eval(f"lambda p, c, {arguments}: trace(p, c, {arguments})", {"trace": trace})
    b.process(command=commands, loops=loops, name=name)(body)
    program = next(p for p in b.program.processes if p.name == name)
    count, starts = iteration_counts(program, commands_given)
    return {
        f"{name}_cmd": commands_given,
        f"{name}_in": {f: random_tokens(rng, t, count) for f, t in fields.items()},
        f"{name}_extra": random_tokens(rng, held_type, starts),
    }


def iteration_counts(process: Any, commands: dict[str, Any]) -> tuple[int, int]:
    """Iterations over all commands, and those at which the innermost loop starts."""
    plan = expand(process, [np.asarray(commands[k]) for k in ("a", "b", "d", "e")], len(commands["a"]))
    return plan.count, int((plan.counters[-1] == 0).sum())
