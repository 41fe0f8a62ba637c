"""C++ expressions that are exact in both builds: plain integers by C++'s conversions, ap_int by its own growth."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_types import CType, combined, int_name, promoted, storage, suffix
from edgewright.hw.kernel.types import Int, of_range, u, union

BOOL = u(1)


@dataclass(frozen=True, slots=True)
class Expr:
    """`type` holds the value, `c` is the plain C++ type of the text. `declared`: the text is a variable, an element or a
    cast, so that its ap_int type is `type`; other texts have a wider one. `atom`: needs no parentheses as an operand."""

    text: str
    type: Int
    c: CType
    atom: bool = True
    declared: bool = False
    literal: bool = False

    @property
    def operand(self) -> str:
        return self.text if self.atom else f"({self.text})"


def variable(text: str, t: Int) -> Expr:
    return Expr(text, t, storage(t), declared=True)


def literal(value: int) -> Expr:
    t = of_range(value, value)
    if -(2**31) < value < 2**31:
        return Expr(str(value), t, CType(32, True), atom=value >= 0, literal=True)
    if -(2**63) < value < 2**63:
        return Expr(f"{value}LL", t, CType(64, True), atom=value >= 0, literal=True)
    parts = []
    for at in range(0, t.bits, 32):
        part = (value >> at) & 0xFFFFFFFF if at + 32 < t.bits else value >> at
        name = f"{int_name(t)}({part}LL)"
        parts.append(f"({name} << {at})" if at else name)
    text = " | ".join(reversed(parts))
    return Expr(f"{int_name(t)}({text})", t, storage(t), declared=True, literal=True)


def cast(e: Expr, t: Int) -> Expr:
    """Convert e to the type t, which holds it."""
    if e.declared and e.type == t:
        return e
    return Expr(f"{int_name(t)}({e.text})", t, storage(t), declared=True)


def exact(e: Expr) -> Expr:
    """Give e the ap_int type of its value."""
    return e if e.declared else cast(e, e.type)


def binary(symbol: str, a: Expr, b: Expr, t: Int) -> Expr:
    """Return a symbol b; its exact type t holds both operands."""
    if max(t.bits, a.type.bits, b.type.bits) > 128:
        return Expr(f"{cast(a, t).text} {symbol} {cast(b, t).text}", t, storage(t), atom=False)
    for x, y in ((a, b), (cast(a, t), b), (cast(a, t), cast(b, t))):
        c = combined(x.c, y.c)
        if c.holds(x.type) and c.holds(y.type) and c.holds(t):
            return Expr(f"{x.operand} {symbol} {y.operand}", t, c, atom=False)
    c = combined(storage(t), storage(t))
    return Expr(f"{cast(a, t).text} {symbol} {cast(b, t).text}", t, c, atom=False)


def comparable(a: Expr, b: Expr, strict: bool = False) -> tuple[Expr, Expr]:
    """Convert both so that C++ compares their values. `strict`: in a template, where literals look like variables."""
    both = union(a.type, b.type)
    if both.bits > 128:
        return cast(a, both), cast(b, both)
    c = combined(a.c, b.c)
    fine = c.holds(a.type) and c.holds(b.type)
    if fine and (c.signed or not strict or not (promoted(a.c).signed or promoted(b.c).signed)):
        return a, b
    return cast(a, both), cast(b, both)


def compare(kind: str, a: Expr, b: Expr) -> Expr:
    x, y = comparable(a, b)
    return Expr(f"{x.operand} {ir.RELATIONS[kind]} {y.operand}", BOOL, storage(BOOL), atom=False)


def negation(e: Expr) -> Expr:
    return Expr(f"!{e.operand}", BOOL, storage(BOOL), atom=False)


def select(c: Expr, a: Expr, b: Expr, t: Int) -> Expr:
    x, y = (replace(e, text=e.operand) for e in (cast(a, t), cast(b, t)))
    return Expr(f"{c.operand} ? {x.text} : {y.text}", t, storage(t), atom=False, declared=True)


def call(name: str, t: Int, *args: Expr) -> Expr:
    return Expr(f"{name}({', '.join(a.text for a in args)})", t, storage(t), declared=True)


def bounded(x: Expr, low: int, high: int, t: Int) -> Expr:
    """Clamp x to low..high, as a t."""
    whole = union(x.type, of_range(low, low), of_range(high, high))
    ends = literal(low), literal(high)
    if whole.bits > 64 or any(e.c.bits > 64 for e in ends):
        signed = Int(whole.bits + (not whole.signed), True)
        return call(f"clamp<{int_name(t)}>", t, cast(x, signed), cast(ends[0], signed), cast(ends[1], signed))
    if not promoted(x.c).signed:
        x = cast(x, Int(x.type.bits + 1, True))
    if ends[0].c != ends[1].c:
        ends = tuple(replace(e, text=e.text if e.c.bits == 64 else f"{e.text}LL") for e in ends)  # type: ignore[assignment]
    return call(f"clamp<{int_name(t)}>", t, x, *ends)


def apply(op: ir.Op, args: list[Expr], t: Int, kinds: list[Int]) -> Expr:
    """Apply an elementwise op to scalars; `kinds` are the types of the operand nodes."""
    if type(op) in ir.SYMBOLS:
        return binary(ir.SYMBOLS[type(op)], args[0], args[1], t)
    if isinstance(op, ir.Neg):
        return Expr(f"-{cast(args[0], t).text}", t, promoted(storage(t)), atom=False)
    if isinstance(op, ir.Not):
        if t == BOOL:
            return negation(args[0])
        x = cast(args[0], t)
        return call(f"wrap_{suffix(t)}", t, replace(x, text=f"~{x.operand}"))
    if isinstance(op, ir.Compare):
        return compare(op.kind, args[0], args[1])
    if isinstance(op, (ir.Min, ir.Max)):
        x, y = comparable(args[0], args[1], strict=True)
        return call(f"{'min' if isinstance(op, ir.Min) else 'max'}_of<{int_name(t)}>", t, x, y)
    if isinstance(op, ir.Abs):
        return call(f"abs_of<{int_name(t)}>", t, cast(args[0], Int(kinds[0].bits + 1, True)))
    if isinstance(op, ir.Select):
        return select(args[0], args[1], args[2], t)
    if isinstance(op, ir.Shl):
        return Expr(f"{cast(args[0], t).text} << {op.amount}", t, promoted(storage(t)), atom=False)
    if isinstance(op, ir.Shr):
        n = min(op.amount, kinds[0].bits - 1) if kinds[0].signed else op.amount
        if n >= kinds[0].bits:
            return literal(0)
        x = args[0]
        if x.literal or x.type.bits > 128 or (x.c.bits and n >= promoted(x.c).bits):
            x = cast(x, kinds[0])
        shifted = Expr(f"{x.operand} >> {n}", t, promoted(x.c), atom=False)
        return cast(shifted, t) if x.type.bits > 128 else shifted
    if isinstance(op, ir.ShlBy):
        return call(f"shl_{suffix(t)}", t, exact(args[0]), exact(args[1]))
    if isinstance(op, ir.ShrBy):
        return call("shr", t, cast(args[0], kinds[0]), exact(args[1]))
    if isinstance(op, ir.BitLength):
        return cast(Expr(f"bit_length({exact(args[0]).text})", t, CType(32, True)), t)
    if isinstance(op, ir.Bits):
        x = cast(args[0], kinds[0])
        if op.low == 0:
            return call(f"wrap_{suffix(t)}", t, x)
        return call(f"slice<{t.bits}>", t, x, literal(op.low))
    if isinstance(op, ir.Reinterpret):
        return call(f"wrap_{suffix(t)}", t, args[0])
    if isinstance(op, ir.Cast):
        if t.holds(args[0].type):
            return args[0]
        if op.mode == "sat":
            return bounded(args[0], t.low, t.high, t)
        return call(f"{op.mode}_{suffix(t)}", t, args[0])
    raise AssertionError(op)
