"""The elementwise end of a step: what happens to a row of results while it is still in registers or the first cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Requantise, Table, value_of
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.scalar import formula_of, row_kernel
from edgewright.targets.cpu.tir import Expr, address, constant, i64, lanes, put, row_offset, run, scratch
from edgewright.targets.cpu.view import View, collapse, dtype_of

Load = Callable[[Expr], Expr]
Keep = Callable[[Array], View]  # a constant array -> where it lives among the weights


class Tail:
    """The tail of one group over rows of columns.

    `arrange(view)` brings a view of the group's shape to (row axes..., column axis).
    """

    def __init__(self, group: Group, values: Mapping[Node, View], keep: Keep, arrange: Callable[[View], View]) -> None:
        self.group = group
        self.stored = {node: arrange(values[node]) for node in group.stored}
        self.operands: dict[tuple[Node, int], View | float | int] = {}
        inside = set(group.members)
        for member in group.tail:
            shape = member.shape
            for i, operand in self._read(member):
                if operand in inside:
                    continue
                scalar = _scalar(operand)
                if scalar is not None:
                    self.operands[member, i] = scalar
                    continue
                self.operands[member, i] = arrange(values[operand].broadcast_to(shape))
            op = member.op
            if isinstance(op, Requantise):
                factors = _factors(member)
                if factors.size == 1:
                    self.operands[member, 1] = float(factors[0])
                else:
                    self.operands[member, 1] = arrange(keep(factors).broadcast_to(shape))
            elif isinstance(op, Table):
                table = value_of(member.inputs[1])
                assert table is not None
                self.operands[member, 1] = keep(table.astype(np.int8))

    @staticmethod
    def _read(member: Node) -> list[tuple[int, Node]]:
        """Operands that are read element by element; factors and tables are prepared otherwise."""
        count = 1 if isinstance(member.op, (Requantise, Table)) else len(member.inputs)
        return list(enumerate(member.inputs[:count]))

    @property
    def views(self) -> list[View]:
        """Everything the tail touches, for the step's parameters."""
        return [*(v for v in self.operands.values() if isinstance(v, View)), *self.stored.values()]

    def emit(self, buffers: Mapping[View, Any], row: Expr, column: Expr, count: int, anchor: Load | None) -> None:
        """Statements for `count` columns of one row from `column` on; `anchor(lane)` is the anchor's result."""
        computed: dict[Node, Load] = {}
        if anchor is not None:
            assert self.group.anchor is not None
            computed[self.group.anchor] = anchor

        def place(view: View) -> Callable[[Expr], Expr]:
            sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
            base = row_offset(sizes, strides, row)
            step = view.strides[-1]
            return lambda lane: base + (column + lane) * step if step else base

        def load(view: View) -> Load:
            where = place(view)
            return lambda lane: buffers[view][where(lane)]

        def operand(member: Node, position: int) -> Load:
            given = self.operands.get((member, position))
            if isinstance(given, View):
                return load(given)
            if given is not None:
                dtype = "float64" if isinstance(member.op, Requantise) else dtype_of(member.inputs[position].elem)
                return lambda lane: constant(given, dtype)
            return computed[member.inputs[position]]

        waiting: list[Node] = [self.group.anchor] if self.group.anchor in self.stored else []
        for member in self.group.tail:
            kernel = row_kernel(member.op)
            if kernel is None:
                formula = formula_of(member.op)
                assert formula is not None
                parts = [operand(member, i) for i in range(2 if isinstance(member.op, Requantise) else len(member.inputs))]
                computed[member] = _applied(formula, member, parts)
                if member in self.stored:
                    waiting.append(member)
                continue
            dtype, name = kernel
            source = operand(member, 0)
            home = self.stored.get(member)
            if home is not None and home.strides[-1] == 1:
                where = place(home)
                buffer = buffers[home]
            else:
                buffer = scratch(count, dtype)
                where = _identity
            pointer = address(buffer, where(0))
            lanes(count, lambda lane: put(buffer, where(lane), source(lane)))  # noqa: B023  emitted at once
            table = self.operands.get((member, 1))
            extra = [address(buffers[table], 0)] if isinstance(table, View) else []
            run(name, pointer, *extra, i64(count), pointer)
            computed[member] = _loaded(buffer, where)
            if home is not None and home.strides[-1] != 1:
                waiting.append(member)

        def finish(lane: Expr) -> None:
            for member in waiting:
                assert member is not None
                view = self.stored[member]
                put(buffers[view], place(view)(lane), computed[member](lane))

        if waiting:
            lanes(count, finish)


def _identity(lane: Expr) -> Expr:
    return lane


def _loaded(buffer: Any, where: Load) -> Load:
    return lambda lane: buffer[where(lane)]


def _applied(formula: Callable[[Node, Sequence[Expr]], Expr], member: Node, parts: Sequence[Load]) -> Load:
    return lambda lane: formula(member, [part(lane) for part in parts])


def _scalar(node: Node) -> float | int | None:
    value = value_of(node)
    if value is None or value.size != 1:
        return None
    return value.item()


def _factors(member: Node) -> Array:
    """multiplier * 2^-shift, exact in float64."""
    multiplier, shift = (np.asarray(value_of(n)) for n in member.inputs[1:])
    return np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int64))
