"""Rewrite the body of a process to the ops that the SystemVerilog printer handles: no Reduce or Dot, constants folded, equal
nodes shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import fitted, positions
from edgewright.hw.kernel.evaluate import evaluate
from edgewright.hw.kernel.types import Int, Leaf, Struct, elem_of, i, leaf, of_range, shape_of, size_of, u

PACK_SHIFT = 19  # two i8 products in one multiplier: sums of up to 16 products have 19 bits
PACK_SUM = 16


@dataclass(slots=True)
class ExpandedBody:
    """The rewritten roots of a process and the names of rewritten nodes."""

    effects: tuple[ir.Node, ...]
    bounds: tuple[int | ir.Node, ...]
    names: dict[ir.Node, str]


class Rewriter:
    def __init__(self, names_of: dict[ir.Node, str]) -> None:
        self.names_of = names_of
        self.known: dict[tuple[ir.Op, tuple[ir.Node, ...], object], ir.Node] = {}
        self.done: dict[ir.Node, ir.Node] = {}
        self.names: dict[ir.Node, str] = {}
        self.where = ""
        self.label = ""

    def make(self, op: ir.Op, args: tuple[ir.Node, ...], type_: Leaf, label: str = "") -> ir.Node:
        """Return a pure node: folded if constant, shared with equal ones."""
        if args and not isinstance(op, ir.Lookup) and all(isinstance(a.op, ir.Const) for a in args):
            rows = evaluate(ir.Node(op, args, type_), [evaluate(a, [], "") for a in args], self.where)
            return self.make(ir.Const(tuple(int(v) for v in rows.reshape(-1))), (), type_)
        if isinstance(op, ir.Compare) and (known := decided(op.kind, *args)) is not None:
            return self.make(ir.Const((int(known),) * size_of(shape_of(type_))), (), type_)
        if isinstance(op, ir.Strided):
            simplified = self.view(op, args[0], type_)
            if simplified is not None:
                return simplified
        if isinstance(op, ir.Mul) and (shifted := self.shifts(args, type_)) is not None:
            return shifted
        key = (op, args, type_)
        if key not in self.known:
            self.known[key] = ir.Node(op, args, type_, self.where)
            if label and self.label:
                self.names[self.known[key]] = f"{self.label}_{label}"
        return self.known[key]

    def shifts(self, args: tuple[ir.Node, ...], type_: Leaf) -> ir.Node | None:
        """Return a product with a constant of at most two signed digits as a shift, or as a sum or difference of two; 12 and
        127 are such constants."""
        x, factor = args if isinstance(args[1].op, ir.Const) else args[::-1]
        assert not isinstance(x.type, Struct)
        if not isinstance(factor.op, ir.Const) or shape_of(x.type) != shape_of(type_) or len(set(factor.op.values)) > 1:
            return None
        digits = signed_digits(factor.op.values[0])
        e, bits = elem_of(x.type), elem_of(type_).bits
        if len(digits) not in (1, 2) or digits[-1][1] < 0:
            return None
        first, *others = (
            x if at == 0 else self.make(ir.Shl(at), (x,), leaf(Int(e.bits + at, e.signed), shape_of(type_)))
            for at, _ in reversed(digits)
        )
        if not others:
            return self.cast(first, elem_of(type_))
        if digits[0][1] > 0:
            return self.make(ir.Add(), (first, others[0]), type_)
        signed = Int(bits if elem_of(type_).signed else bits + 1, True)
        return self.cast(self.make(ir.Sub(), (first, others[0]), leaf(signed, shape_of(type_))), elem_of(type_))

    def view(self, op: ir.Strided, source: ir.Node, type_: Leaf) -> ir.Node | None:
        """Remove identities; merge a Strided of a Strided where the result is affine."""
        assert not isinstance(source.type, Struct)
        if source.type == type_ and np.array_equal(positions(op, shape_of(type_)).ravel(), np.arange(size_of(shape_of(type_)))):
            return source
        if not isinstance(source.op, ir.Strided):
            return None
        shape = shape_of(type_)
        inner = positions(source.op, shape_of(source.type)).ravel()
        joined = fitted(inner[positions(op, shape).ravel()].reshape(shape))
        return None if joined is None else self.make(joined, source.args, type_)

    def rewrite(self, node: ir.Node) -> ir.Node:
        for each in ir.topological([node]):
            if each not in self.done:
                self.where = each.where
                self.label = self.names_of.get(each, "")
                self.done[each] = self.one(each, tuple(self.done[a] for a in each.args))
                if self.label:
                    self.names.setdefault(self.done[each], self.label)
        return self.done[node]

    def one(self, node: ir.Node, args: tuple[ir.Node, ...]) -> ir.Node:
        op = node.op
        if isinstance(op, (*ir.EFFECTS, *ir.STATE, ir.Load)):
            return ir.Node(op, args, node.type, node.where)
        if isinstance(op, ir.Command):
            return self.known.setdefault((op, (), node.type), node)
        assert not isinstance(node.type, Struct)
        if isinstance(op, ir.Reduce):
            return self.reduce(op, args[0], node.type)
        if isinstance(op, ir.Dot):
            return self.dot(args[0], args[1], node.type)
        return self.make(op, args, node.type)

    def part(self, x: ir.Node, *key: slice | int | None) -> ir.Node:
        """Return x[key] as a Strided."""
        assert not isinstance(x.type, Struct)
        shape = shape_of(x.type)
        selected = np.arange(size_of(shape)).reshape(shape)[key]
        op = fitted(selected)
        assert op is not None
        return self.make(op, (x,), leaf(elem_of(x.type), selected.shape))

    def cast(self, x: ir.Node, e: Int, label: str = "") -> ir.Node:
        assert not isinstance(x.type, Struct)
        if elem_of(x.type) == e:
            return x
        return self.make(ir.Cast("wrap"), (x,), leaf(e, shape_of(x.type)), label)

    def reduce(self, op: ir.Reduce, x: ir.Node, type_: Leaf) -> ir.Node:
        for axis in sorted(op.axes, reverse=True):
            x = self.tree(op.kind, x, axis)
        return self.cast(x, elem_of(type_))

    def tree(self, kind: ir.ReduceKind, x: ir.Node, axis: int) -> ir.Node:
        """Reduce an axis pairwise: each level is one elementwise op on the even and the odd elements."""
        assert not isinstance(x.type, Struct)
        start, terms, level = elem_of(x.type), 1, 0
        lead = (slice(None),) * axis
        while (n := shape_of(x.type)[axis]) > 1:
            terms, level = 2 * terms, level + 1
            even, odd = self.part(x, *lead, slice(0, n - n % 2, 2)), self.part(x, *lead, slice(1, n, 2))
            e = start
            if kind == "add":
                e = of_range(terms * start.low, terms * start.high)
                e = Int(e.bits, start.signed)
            pairs_type = leaf(e, shape_of(even.type))
            pairs = self.make(PAIRWISE[kind], (even, odd), pairs_type, f"sum{level}" if kind == "add" else f"{kind}{level}")
            if n % 2:
                rest = self.cast(self.part(x, *lead, slice(n - 1, n)), e)
                shape = list(shape_of(pairs_type))
                shape[axis] += 1
                pairs = self.make(ir.Concat(axis), (pairs, rest), leaf(e, tuple(shape)))
            x = pairs
            assert not isinstance(x.type, Struct)
        return self.part(x, *lead, 0)

    def dot(self, a: ir.Node, w: ir.Node, type_: Leaf) -> ir.Node:
        """Compute pairs of rows of `a` with one DSP each: ((a1 << 19) + a0) * w, split after the sum over at most 16
        products."""
        assert not isinstance(a.type, Struct) and not isinstance(w.type, Struct)
        (rows, inner), outs = shape_of(a.type), shape_of(w.type)[0]
        e, pairs = elem_of(type_), rows // 2
        parts: list[ir.Node] = []
        if pairs:
            sums = [self.packed(a, w, at, min(inner, at + PACK_SUM), e) for at in range(0, inner, PACK_SUM)]
            total = sums[0]
            for each in sums[1:]:
                total = self.make(ir.Add(), (total, each), leaf(e, (pairs, 2, outs)))
            parts.append(self.make(ir.Strided(0, (outs, 1)), (total,), leaf(e, (2 * pairs, outs))))
        if rows % 2:
            one = self.part(a, slice(rows - 1, rows), None, slice(None))
            product = self.make(ir.Mul(), (one, self.part(w, None)), leaf(i(16), (1, outs, inner)), "product")
            parts.append(self.cast(self.tree("add", product, 2), e))
        return parts[0] if len(parts) == 1 else self.make(ir.Concat(0), tuple(parts), type_)

    def packed(self, a: ir.Node, w: ir.Node, low: int, high: int, e: Int) -> ir.Node:
        """Return the sums over inputs low..high, (pairs, 2, outs), in type `e` (which holds them)."""
        assert not isinstance(a.type, Struct) and not isinstance(w.type, Struct)
        pairs, outs = shape_of(a.type)[0] // 2, shape_of(w.type)[0]
        even, odd = (self.part(a, slice(k, 2 * pairs, 2), slice(low, high)) for k in (0, 1))
        columns = self.part(w, slice(None), slice(low, high))
        total = self.make(ir.Cascade(PACK_SHIFT), (even, odd, columns), leaf(i(2 * PACK_SHIFT), (pairs, outs)), "total")
        assert not isinstance(total.type, Struct)
        top = self.make(ir.Shr(PACK_SHIFT), (total,), leaf(i(elem_of(total.type).bits - PACK_SHIFT), (pairs, outs)))
        carry = self.make(ir.Bits(PACK_SHIFT - 1, PACK_SHIFT - 1), (total,), leaf(u(1), (pairs, outs)))
        upper = self.make(ir.Add(), (top, carry), leaf(e, (pairs, outs)), "upper")
        lower = self.cast(self.cast(total, i(PACK_SHIFT)), e, "lower")
        both = (self.part(lower, slice(None), None), self.part(upper, slice(None), None))
        return self.make(ir.Concat(1), both, leaf(e, (pairs, 2, outs)))


def signed_digits(value: int) -> list[tuple[int, int]]:
    """Return the fewest signed powers of two that add up to a value, as (exponent, sign), the lowest first; sums before
    differences."""
    if value > 0 and value.bit_count() <= 2:
        return [(at, 1) for at in range(value.bit_length()) if value >> at & 1]
    digits: list[tuple[int, int]] = []
    at = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((at, sign))
            value -= sign
        value >>= 1
        at += 1
    return digits


def decided(kind: ir.CompareKind, a: ir.Node, b: ir.Node) -> bool | None:
    """Return the result of a comparison that the ranges of its operands decide, else None."""
    (low_a, high_a), (low_b, high_b) = range_of(a), range_of(b)
    below, above = high_a < low_b, low_a > high_b  # strictly
    not_above, not_below = high_a <= low_b, low_a >= high_b
    always = {"lt": below, "le": not_above, "gt": above, "ge": not_below, "eq": False, "ne": below or above}[kind]
    never = {"lt": not_below, "le": above, "gt": not_above, "ge": below, "eq": below or above, "ne": False}[kind]
    return True if always else False if never else None


def range_of(node: ir.Node) -> tuple[int, int]:
    if isinstance(node.op, ir.Const):
        return min(node.op.values), max(node.op.values)
    e = elem_of(node.type)
    return e.low, e.high


PAIRWISE: dict[str, ir.Op] = {"add": ir.Add(), "max": ir.Max(), "min": ir.Min(), "and": ir.And(), "or": ir.Or()}


def expand_body(process: ir.Process) -> ExpandedBody:
    """Rewrite all effects and bounds of a process."""
    rewriter = Rewriter(process.names)
    effects = tuple(rewriter.rewrite(n) for n in process.effects)
    bounds = tuple(loop.bound if isinstance(loop.bound, int) else rewriter.rewrite(loop.bound) for loop in process.loops)
    for loop in process.loops:
        rewriter.names[rewriter.rewrite(loop.counter)] = loop.name
    return ExpandedBody(effects, bounds, rewriter.names)
