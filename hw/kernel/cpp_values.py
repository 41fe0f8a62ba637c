"""Decide which values of a body become C++ variables and which are printed inside the expressions that use them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import Affine, affine, aligned, fitted, flat, positions
from edgewright.hw.kernel.cpp_expr import Expr, apply, literal, variable
from edgewright.hw.kernel.cpp_lanes import Index
from edgewright.hw.kernel.types import Int, Struct, elem_of, shape_of, size_of

ELEMENTWISE = (
    ir.Add,
    ir.Sub,
    ir.Mul,
    ir.And,
    ir.Or,
    ir.Xor,
    ir.Neg,
    ir.Not,
    ir.Compare,
    ir.Min,
    ir.Max,
    ir.Abs,
    ir.Select,
    ir.Shl,
    ir.Shr,
    ir.ShlBy,
    ir.ShrBy,
    ir.BitLength,
    ir.Bits,
    ir.Cast,
)
FREE = (ir.Const, ir.Counter, ir.First, ir.Last, ir.Command, ir.Part, ir.Strided)
DEEPEST = 3
"""Operations inside one expression, so that lines stay readable."""


@dataclass(frozen=True, slots=True)
class Base:
    """Where a value is: text of the scalar or of the whole flat array, whose size may be left out."""

    text: str
    type: Int
    array: bool
    size: int = 0

    def at(self, position: Affine) -> Expr:
        return variable(f"{self.text}[{position.spaced()}]" if self.array else self.text, self.type)


def elements(node: ir.Node) -> int:
    return 1 if isinstance(node.type, Struct) else size_of(shape_of(node.type))


def is_elementwise(node: ir.Node) -> bool:
    if isinstance(node.op, ir.Reinterpret):
        return not shape_of(node.type) and not shape_of(node.args[0].type)
    return isinstance(node.op, ELEMENTWISE)


def constant(node: ir.Node) -> tuple[int, ...] | None:
    """Return the flat values of a constant or of a Strided of one, else None."""
    if isinstance(node.op, ir.Const):
        return node.op.values
    if isinstance(node.op, ir.Strided):
        values = constant(node.args[0])
        if values is not None:
            return tuple(values[p] for p in positions(node.op, shape_of(node.type)).flat)
    return None


def whole_needed(node: ir.Node) -> list[ir.Node]:
    """Return the arguments that must be whole arrays in memory."""
    op = node.op
    if isinstance(op, ir.Reinterpret) and not is_elementwise(node):
        return [a for a in node.args if shape_of(a.type)]
    if isinstance(op, ir.Dot):
        return list(node.args)
    if isinstance(op, ir.Index):
        return [node.args[0]]
    return []


class Values:
    """The values printed so far, and the text of the others."""

    def __init__(self, nodes: list[ir.Node], names: dict[ir.Node, str]) -> None:
        self.base: dict[ir.Node, Base] = {}
        self.names = names
        self.uses: Counter[ir.Node] = Counter()
        self.spread: set[ir.Node] = set()  # used by something with more elements
        self.whole: set[ir.Node] = set()
        self.viewed: set[ir.Node] = set()
        self.inside: dict[ir.Node, int] = {}
        self.inline: dict[ir.Node, Expr] = {}  # scalars that stand for themselves
        self.flags: dict[ir.Op, Expr] = {}  # Counter, First, Last
        for node in nodes:
            self.note(node)

    def note(self, node: ir.Node) -> None:
        for arg in set(node.args):
            self.uses[arg] += sum(a is arg for a in node.args)
            if max(elements(node), *(elements(a) for a in node.args)) > elements(arg):
                self.spread.add(arg)
        self.whole.update(whole_needed(node))
        if isinstance(node.op, ir.Strided):
            self.viewed.add(node.args[0])
            if isinstance(node.args[0].op, ir.Strided) and constant(node) is None and self.located(node) is None:
                self.whole.add(node.args[0])

    def depth(self, node: ir.Node) -> int:
        """Return the number of operations in the expression of a value that is not a variable."""
        if node in self.base or node in self.inline or isinstance(node.op, FREE):
            return 0
        return self.inside.get(node, 0)

    def wants_variable(self, node: ir.Node) -> bool:
        """Return whether a node gets a variable. Called once, when all arguments are known."""
        if isinstance(node.op, (ir.Const, ir.Counter, ir.First, ir.Last, ir.Command, ir.Part)):
            return node in self.whole and not isinstance(node.op, ir.Part)
        if isinstance(node.op, ir.Strided):
            return node in self.whole
        if not is_elementwise(node):
            return True
        deep = 1 + max((self.depth(a) for a in node.args), default=0)
        self.inside[node] = deep
        return (
            self.uses[node] > 1
            or node in self.names
            or node in self.spread
            or node in self.whole
            or (isinstance(node.op, ir.Mul) and node.op.luts)  # its variable is bound
            or (node in self.viewed and bool(shape_of(node.type)))
            or deep >= DEEPEST
        )

    def located(self, view: ir.Node) -> tuple[ir.Node, ir.Strided] | None:
        """Return the node that a Strided (of Strideds) finally reads, and how; None where that is not affine."""
        assert isinstance(view.op, ir.Strided)
        at, source = positions(view.op, shape_of(view.type)), view.args[0]
        while isinstance(source.op, ir.Strided) and source not in self.base:
            at, source = positions(source.op, shape_of(source.type)).reshape(-1)[at], source.args[0]
        op = fitted(at)
        return None if op is None else (source, op)

    def element(self, node: ir.Node, index: Index) -> Expr:
        """Return the element of a value at an index of its own shape."""
        if node in self.base:
            return self.base[node].at(flat(index, shape_of(node.type)))
        if node in self.inline:
            return self.inline[node]
        op = node.op
        values = constant(node)
        if values is not None:
            return self.constant_element(node, values, index)
        if isinstance(op, (ir.Counter, ir.First, ir.Last)):
            return self.flags[op]
        if isinstance(op, ir.Strided):
            location = self.located(node)
            assert location is not None
            source, where = location
            if not shape_of(source.type):
                return self.element(source, ())
            return self.base[source].at(affine(where.offset, where.strides, index))
        kinds = [elem_of(a.type) for a in node.args]
        args = [self.element(a, aligned(index, shape_of(a.type))) for a in node.args]
        return apply(op, args, elem_of(node.type), kinds)

    def constant_element(self, node: ir.Node, values: tuple[int, ...], index: Index) -> Expr:
        shape = shape_of(node.type)
        at = flat(index, shape)
        if not at.terms:
            return literal(values[at.offset])
        if len(set(values)) == 1:
            return literal(values[0])
        op = fitted(np.array(values, dtype=object).reshape(shape))
        assert op is not None, "a constant array that is not affine is emitted as a table"
        value = affine(op.offset, op.strides, index).spaced()
        e = elem_of(node.type)
        return variable(f"{'Int' if e.signed else 'UInt'}<{e.bits}>({value})", e)

    def needs_table(self, node: ir.Node) -> bool:
        """Return whether a constant array is not an affine function of its indices."""
        values = constant(node)
        return (
            isinstance(node.op, (ir.Const, ir.Strided))
            and values is not None
            and len(set(values)) > 1
            and (
                node in self.whole
                or fitted(np.array(values, dtype=object).reshape(shape_of(node.type))) is None
                or max(abs(v) for v in values) >= 2**31
            )
        )

    def scalar(self, node: ir.Node) -> Expr:
        return self.element(node, ())
