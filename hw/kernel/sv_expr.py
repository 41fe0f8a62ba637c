"""SystemVerilog expressions: exact types, and the element of a variable that a Strided reads."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import Affine
from edgewright.hw.kernel.types import Int, Leaf, Struct, elem_of, shape_of, union

COLUMNS = 124
"""Of a printed line, without its indentation."""


def filled(text: str, indent: str) -> str:
    """Return text in lines of at most `COLUMNS` characters, all but the first indented."""
    return textwrap.fill(text, COLUMNS, subsequent_indent=indent, break_long_words=False)


def span(a: Affine, extents: dict[str, int]) -> tuple[int, int]:
    """Return the smallest and the largest value."""
    low = a.offset + sum(min(0, c * (extents[n] - 1)) for n, c in a.terms)
    return low, a.offset + sum(max(0, c * (extents[n] - 1)) for n, c in a.terms)


def quotient_text(flat: Affine, stride: int, extent: int, extents: dict[str, int]) -> str:
    """Return flat / stride % extent, without the terms that do not matter."""
    for scale in sorted({abs(c) for _, c in flat.terms} | {stride}, reverse=True):
        low = Affine(flat.offset % scale, tuple((n, c) for n, c in flat.terms if c % scale))
        if stride % scale == 0 and span(low, extents)[0] >= 0 and span(low, extents)[1] < scale:
            high = tuple((n, c // scale) for n, c in flat.terms if c % scale == 0)
            flat, stride = Affine(flat.offset // scale, high), stride // scale
            break
    if span(flat, extents)[0] >= 0:
        flat = Affine(flat.offset % (stride * extent), tuple((n, c) for n, c in flat.terms if c % (stride * extent)))
    text = str(flat)
    if not text.isidentifier() and (stride > 1 or span(flat, extents)[1] >= extent):
        text = f"({text})"
    small = span(flat, extents)[0] >= 0 and span(flat, extents)[1] < stride * extent
    return text + (f"/{stride}" if stride > 1 else "") + ("" if small else f"%{extent}")


def digits(flat: Affine, shape: tuple[int, ...], extents: dict[str, int]) -> list[str]:
    """Return the index along each axis of an array of `shape` for a flat position."""
    out: list[str] = []
    rest = flat
    for axis, extent in enumerate(shape):
        stride = 1
        for n in shape[axis + 1 :]:
            stride *= n
        quotient = {n: abs(c) // stride * (1 if c > 0 else -1) for n, c in rest.terms}
        digit = Affine(rest.offset // stride, tuple((n, c) for n, c in quotient.items() if c))
        left = [(n, c - quotient[n] * stride) for n, c in rest.terms]
        remainder = Affine(rest.offset % stride, tuple((n, c) for n, c in left if c))
        low, high = span(remainder, extents)
        if low >= 0 and high < stride and span(digit, extents)[0] >= 0 and span(digit, extents)[1] < extent:
            out.append(str(digit))
            rest = remainder
            continue
        # the position carries from one axis to the next: divide
        for at in range(axis, len(shape)):
            stride = 1
            for n in shape[at + 1 :]:
                stride *= n
            out.append(quotient_text(rest, stride, shape[at], extents))
        break
    return out


def bit_range(high: int, low: int = 0) -> str:
    """Return the select of some bits of a vector."""
    return f"[{high}]" if high == low else f"[{high}:{low}]"


def dimension(bits: int) -> str:
    """Return the dimension of a signal, with the space behind it; a single bit has none."""
    return f"[{bits - 1}:0] " if bits > 1 else ""


def literal(value: int, e: Int) -> str:
    if e.bits > 32:
        return f"{e.bits}'{'s' if e.signed else ''}h{value & ((1 << e.bits) - 1):x}"
    if not e.signed:
        return f"{e.bits}'d{value}"
    if value == e.low or e.bits == 1:
        return f"{e.bits}'sh{value & ((1 << e.bits) - 1):x}"
    return f"-{e.bits}'sd{-value}" if value < 0 else f"{e.bits}'sd{value}"


def extend(text: str, old: Int, new: Int) -> str:
    """Convert `text` from type `old` to `new`: the same value where `new` holds it, else the low bits."""
    if old == new:
        return text
    if old.signed == new.signed:
        return f"{new.bits}'({text})"
    if old.bits == new.bits:
        return f"{'signed' if new.signed else 'unsigned'}'({text})"
    if old.signed:
        return f"unsigned'({new.bits}'({text}))"
    if old.bits + 1 == new.bits:
        return f"signed'({{1'b0, {text}}})"
    if old.bits > new.bits:
        return f"signed'({new.bits}'({text}))"
    return f"{new.bits}'(signed'({{1'b0, {text}}}))"


def declared(type_: Leaf) -> tuple[str, str]:
    """Return what stands before and behind the name of a variable that is declared."""
    e, shape = elem_of(type_), shape_of(type_)
    return f"logic {'signed ' if e.signed else ''}{dimension(e.bits)}", "".join(f" [{n}]" for n in shape)


@dataclass(frozen=True, slots=True)
class Operand:
    """An operand printed in place; constants keep their value so that they take any type."""

    text: str
    e: Int
    value: int | None = None

    def to(self, e: Int) -> str:
        if self.value is not None:
            bits = self.value & ((1 << e.bits) - 1)
            return literal(bits - (1 << e.bits) if e.signed and bits >> (e.bits - 1) else bits, e)
        return extend(self.text, self.e, e)

    def part(self, high: int, low: int) -> str:
        """Return the text of some of its bits."""
        return f"{self.text}{bit_range(high, low)}" if self.e.bits > 1 else self.text


def expression(node: ir.Node, args: list[Operand]) -> str:
    """Return the right-hand side of one element of an elementwise node."""
    op, e = node.op, elem_of(node.type)
    sign = ir.SYMBOLS.get(type(op))
    if sign is not None:
        return f"{args[0].to(e)} {sign} {args[1].to(e)}"
    if isinstance(op, ir.Neg):
        return f"-{args[0].to(e)}"
    if isinstance(op, ir.Not):
        return f"~{args[0].text}"
    if isinstance(op, ir.Compare):
        common = union(args[0].e, args[1].e)
        return f"{args[0].to(common)} {ir.RELATIONS[op.kind]} {args[1].to(common)}"
    if isinstance(op, (ir.Min, ir.Max)):
        common = union(args[0].e, args[1].e)
        relation = "<" if isinstance(op, ir.Min) else ">"
        return f"({args[0].to(common)} {relation} {args[1].to(common)}) ? {args[0].to(e)} : {args[1].to(e)}"
    if isinstance(op, ir.Abs):
        a = args[0]
        return f"{a.part(a.e.bits - 1, a.e.bits - 1)} ? unsigned'(-{a.text}) : unsigned'({a.text})"
    if isinstance(op, ir.Select):
        return f"{args[0].text} ? {args[1].to(e)} : {args[2].to(e)}"
    if isinstance(op, ir.Shl):
        return f"{args[0].to(e)} << {op.amount}"
    if isinstance(op, ir.Shr):
        a = args[0]
        if not a.e.signed and op.amount >= a.e.bits:
            return literal(0, e)
        part = a.part(a.e.bits - 1, min(op.amount, a.e.bits - 1))
        return f"signed'({part})" if e.signed else part
    if isinstance(op, ir.ShlBy):
        return f"{args[0].to(e)} << {args[1].text}"
    if isinstance(op, ir.ShrBy):
        return f"{args[0].to(e)} {'>>>' if e.signed else '>>'} {args[1].text}"
    if isinstance(op, ir.BitLength):
        return f"bit_length_{args[0].e.bits}({args[0].text})" if args[0].e.bits > 1 else args[0].text
    if isinstance(op, ir.Bits):
        return args[0].part(op.high, op.low)
    if isinstance(op, ir.CatBits):
        return "{" + ", ".join(a.text for a in reversed(args)) + "}"
    if isinstance(op, ir.Cast):
        return cast(op.mode, args[0], e)
    raise AssertionError(op)


def cast(mode: ir.CastMode, a: Operand, e: Int) -> str:
    if mode != "sat":
        return a.to(e)
    text = a.to(e)
    if a.e.low < e.low:
        text = f"({a.text} < {literal(e.low, a.e)}) ? {literal(e.low, e)} : {text}"
    if a.e.high > e.high:
        text = f"({a.text} > {literal(e.high, a.e)}) ? {literal(e.high, e)} : {text}"
    return text


ALL = -1
"""All bits, as a mask."""


def bits_read(node: ir.Node, position: int) -> int:
    """Return which bits of an argument the printed node reads, as a mask; the assertion of a fit reads all."""
    op, arg = node.op, node.args[position]
    if isinstance(node.type, Struct) or isinstance(arg.type, Struct):
        return ALL
    bits = elem_of(node.type).bits
    if isinstance(op, ir.Shr):
        e = elem_of(arg.type)
        return ALL << min(op.amount, e.bits - 1) if e.signed or op.amount < e.bits else 0
    if isinstance(op, ir.Bits):
        return (2 << op.high) - (1 << op.low)
    narrows = isinstance(op, (*ir.SYMBOLS, ir.Neg)) or (isinstance(op, ir.Cast) and op.mode == "wrap")
    return (1 << bits) - 1 if narrows or (isinstance(op, ir.ShlBy) and position == 0) else ALL


def unread(name: str, bits: int, read: int) -> Iterator[str]:
    """Yield the parts of a signal whose bits are not in the mask `read`, the lowest first."""
    left = ((1 << bits) - 1) & ~read
    if left == (1 << bits) - 1:
        yield name
        return
    while left:
        low = (left & -left).bit_length() - 1
        high = low + (~(left >> low) & ((left >> low) + 1)).bit_length() - 2
        yield f"{name}{bit_range(high, low)}"
        left &= -1 << (high + 1)
