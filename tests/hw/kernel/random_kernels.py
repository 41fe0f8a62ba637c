"""Kernels made at random: command bounds, guarded reads, state, tables, buffers, uncertain writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
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
    bit_length,
    bits,
    cat_bits,
    clamp,
    const,
    dot,
    first,
    i,
    index,
    last,
    maximum,
    minimum,
    multiply,
    round_shift,
    sat,
    select,
    stack,
    u,
    wrap,
)
from edgewright.hw.kernel.ir import Channel, Rom
from edgewright.hw.kernel.schedule import WIDE

Command = Struct("Command", n=u(2), m=u(3), shift=u(3), mode=u(1))
WIDEST = 40


@dataclass
class Made:
    """What a random kernel needs to be driven."""

    command: str
    inputs: dict[str, Int | Array] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    bounds: tuple[str, str] = ("n", "m")


def random_type(r: Random) -> Int | Array:
    e = Int(r.choice([1, 3, 8, 8, 16, 31]), r.random() < 0.6)
    kinds: list[Int | Array] = [e, e, e[3], e[2, 2], e[5]]
    return r.choice(kinds)


def expression(r: Random, p: ProcessTrace, pool: list[Value], flags: list[Value], rom: Rom, depth: int) -> Value:
    """A value made of those in the pool; everything on the way joins the pool."""
    for _ in range(depth):
        a, b = r.choice(pool), r.choice(pool)
        if a.shape and b.shape and a.shape != b.shape:
            b = b.reshape(-1)[0] if len(b.shape) == 1 else b.sum()
        kind = r.randrange(16)
        if kind == 0:
            new = a + b
        elif kind == 1:
            new = a - b
        elif kind == 2:
            new = wrap(a, i(min(a.bits, 18))) * wrap(b, i(min(b.bits, 20)))
        elif kind == 3:
            new = select(r.choice(flags), a, b)
        elif kind == 4:
            new = minimum(a, b) if r.random() < 0.5 else maximum(a, b)
        elif kind == 5:
            new = round_shift(a, r.choice([1, 2, wrap(b.reshape(-1)[0] if b.shape else b, u(3))]))
        elif kind == 6:
            new = sat(a, r.choice([i(8), u(6)]))
        elif kind == 7:
            new = p.lookup(rom, wrap(a.reshape(-1)[0] if a.shape else a, u(4)))
        elif kind == 8:
            op: Any = r.choice(["add", "max", "min"])
            new = p.accumulate(wrap(a, i(16)), clear=flags[0], op=op, type=i(28))
        elif kind == 9 and len(a.shape) < 2:
            new = p.shift_in(a, r.choice([1, 2, 3]), when=r.choice([True, flags[-1]]))
        elif kind == 10:
            new = a.sum() if a.shape else bit_length(wrap(a, u(9)))
        elif kind == 11 and a.shape:
            new = a[::-1] if len(a.shape) == 1 else a.T
        elif kind == 12 and a.shape and a.shape[0] >= 2:
            new = index(a, wrap(b.reshape(-1)[0] if b.shape else b, u(1)))
        elif kind == 13:
            new = cat_bits(a, wrap(b, u(2)))
        elif kind == 14 and len(a.shape) < 2:
            apart, taps, counter = r.choice([3, 4]), r.choice([1, 2]), pool[1]
            line = p.delay(a, apart, r.choice([4, 80]), count=taps, clear=first(counter))
            new = select(counter >= apart * taps, line[taps - 1], 0)  # any value before
        elif kind == 15:
            new = multiply(wrap(a, i(8)), wrap(b, i(8)), luts=True)
        else:
            new = (a ^ b) & clamp(a, -3, 30)
        if new.bits > WIDEST:
            new = wrap(new, Int(WIDEST, new.signed))
        pool.append(new)
        flags.append((new if not new.shape else new.max()) > r.randrange(-3, 9))
    return pool[-1]


def add_chain(b: Block, prefix: str, r: Random) -> Made:
    """A commanded process, then one that runs for ever."""
    made = Made(f"{prefix}_cmd")
    commands = b.input(made.command, Command)
    rom = b.rom(f"{prefix}_rom", i(9), [r.randrange(-256, 256) for _ in range(16)])
    streams: list[Channel] = []
    for n in range(r.choice([1, 2])):
        name = f"{prefix}_x{n}"
        made.inputs[name] = random_type(r)
        streams.append(b.input(name, made.inputs[name]))
    width = WIDE // 24 + (prefix != "c1")  # one of the chains with a bypass
    middle = b.channel(f"{prefix}_mid", i(24)[width], depth=r.choice([1, 2, 4]), slack=r.choice([None, None, 0]))
    out = b.output(f"{prefix}_y", i(30))
    made.outputs.append(out.name)
    inner: Any = r.choice([3, lambda c: c.m, lambda c, a: select(first(a), c.m, wrap(c.m, u(2)))])
    outer: Any = r.choice([2, lambda c: c.n])

    def head(p: ProcessTrace, c: StructValue, a: Value, k: Value) -> None:
        flags = [first(k), first(k), last(k), c.mode == 1]
        pool = [a, k, c.shift]
        for n, stream in enumerate(streams):
            when = r.choice([True, first(k), last(k) & (c.mode == 1), a == k]) if n else r.choice([True, first(k)])
            pool.append(p.read(stream, when=when, absent=when is not True))
        control = list(flags)
        value = expression(r, p, pool, flags, rom, r.choice([2, 5, 8]))
        flat = value.reshape(-1) if len(value.shape) == 2 else value
        lanes = stack([wrap(flat[n % flat.shape[0]] if flat.shape else flat, i(24)) for n in range(width)])
        when = r.choice([True, r.choice(control), r.choice(flags), r.choice(control) & r.choice(flags)])
        p.write(middle, lanes, when=when)

    b.process(command=commands, loops=[("a", outer), ("k", inner)], name=f"{prefix}_head")(head)

    def tail(p: ProcessTrace, j: Value) -> None:
        token = p.read(middle, when=r.choice([True, first(j)]))
        flags = [first(j), first(j), last(j), token[1] > 0]
        value = expression(r, p, [token, j, token[0]], flags, rom, r.choice([1, 4]))
        total = value.sum() if value.shape else value
        p.write(out, wrap(total, i(30)), when=r.choice([True, last(j), r.choice(flags)]))

    b.process(loops=[("j", r.choice([1, 2, 4]))], name=f"{prefix}_tail")(tail)
    return made


def add_buffered(b: Block, prefix: str, r: Random) -> Made:
    """A process that fills banks and one that reads them, with the same commands."""
    made = Made(f"{prefix}_cmd")
    commands = b.input(made.command, Command)
    fill_commands, drain_commands = b.fork(commands, 2, depth=4)
    name = f"{prefix}_x"
    made.inputs[name] = i(8)[4]
    source = b.input(name, i(8)[4])
    element: Any = r.choice([i(8)[4], i(8)[2, 4], Struct("Pair", low=i(8)[4], sum=i(11))])
    memory = b.buffer(f"{prefix}_buf", element, depth=8, banks=r.choice([1, 2, 3]), style="distributed")
    out = b.output(f"{prefix}_y", i(24))
    made.outputs.append(out.name)
    per_outer = r.random() < 0.6
    masked = not isinstance(element, Struct) and r.random() < 0.5
    bound: Any = r.choice([4, lambda c: c.m, lambda c, a: select(last(a), c.m, wrap(c.m, u(2)))])
    loops = [("a", lambda c: c.n), ("k", bound)]

    def fill(p: ProcessTrace, c: StructValue, a: Value, k: Value) -> None:
        p.lock(memory, per=a if per_outer else None)
        x = p.read(source)
        scaled = wrap(round_shift(x * 5, c.shift), i(8))
        address = wrap(k, u(3))
        if isinstance(element, Struct):
            value: Any = StructValue({"low": scaled, "sum": wrap(x.sum(), i(11))})
            p.store(memory, address, value)
        elif element == i(8)[4]:
            mask = const(1, u(1)[4]) if masked else None
            p.store(memory, address, scaled, mask=mask)
        else:
            p.store(memory, address, stack([scaled, x]), mask=const(1, u(1)[2]) if masked else None)

    def drain(p: ProcessTrace, c: StructValue, a: Value, k: Value) -> None:
        p.lock(memory, per=a if per_outer else None)
        here = wrap(k, u(3))
        if isinstance(element, Struct):
            found = p.load(memory, here)
            total = found.low.sum() * 3 + found.sum
        elif r.random() < 0.5:
            total = p.load(memory, stack([here, wrap(here * 0, u(3))])).reshape(-1).sum()
        else:
            total = p.load(memory, here).reshape(-1).sum() + p.load(memory, wrap(here * 0, u(3))).reshape(-1)[1]
        running = p.accumulate(wrap(total, i(20)), clear=first(k), type=i(24))
        p.write(out, running, when=r.choice([True, last(k), total > 0]))

    b.process(command=fill_commands, loops=loops, name=f"{prefix}_fill")(fill)
    b.process(command=drain_commands, loops=loops, name=f"{prefix}_drain")(drain)
    return made


def add_products(b: Block, prefix: str, r: Random) -> Made:
    """A product with its weights held for a row of tiles."""
    made = Made(f"{prefix}_cmd")
    commands = b.input(made.command, Command)
    t, o, k = r.choice([2, 3, 4]), r.choice([1, 2]), r.choice([2, 5, 18])
    a_type, w_type = i(8)[t, k], i(8)[o, k]
    made.inputs = {f"{prefix}_a": a_type, f"{prefix}_w": w_type}
    a_in, w_in = b.input(f"{prefix}_a", a_type), b.input(f"{prefix}_w", w_type)
    out = b.output(f"{prefix}_y", i(26)[t, o])
    made.outputs.append(out.name)

    def product(p: ProcessTrace, c: StructValue, n: Value, m: Value) -> None:
        w = p.read(w_in, when=first(m))
        sums = dot(p.read(a_in), w)
        p.write(out, p.accumulate(sums, clear=first(m), type=i(26)), when=last(m))

    b.process(command=commands, loops=[("n", lambda c: c.n), ("m", lambda c: c.m)], name=f"{prefix}_product")(product)
    return made


def random_inputs(b: Block, made: list[Made], r: Random) -> dict[str, Any]:
    """One to five commands (bounds may be 0) for each kernel, and more than enough tokens."""
    rng = np.random.default_rng(r.randrange(1 << 30))
    out: dict[str, Any] = {}
    for each in made:
        count = r.randrange(1, 6)
        out[each.command] = {
            "n": rng.integers(0, 4, count),
            "m": rng.integers(0, 8, count),
            "shift": rng.integers(0, 8, count),
            "mode": rng.integers(0, 2, count),
        }
        for name, t in each.inputs.items():
            e, shape = (t.elem, t.shape) if isinstance(t, Array) else (t, ())
            low = -127 if e == i(8) else e.low
            out[name] = rng.integers(low, e.high + 1, (200, *shape))
    return out


def random_block(seed: int, name: str = "mix", chains: int = 5) -> tuple[Block, dict[str, Any]]:
    r = Random(seed)
    b = Block(name)
    made = [add_chain(b, f"c{n}", r) for n in range(chains)]
    made += [add_buffered(b, f"b{n}", r) for n in range(3)]
    made += [add_products(b, "p0", r)]
    return b, random_inputs(b, made, r)


__all__ = ["Command", "bits", "random_block"]
