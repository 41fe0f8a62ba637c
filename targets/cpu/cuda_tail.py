"""The elementwise end of a CUDA kernel: each thread carries its own results through the tail and stores them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Requantise, Table, value_of
from edgewright.targets.cpu.cuda_scalar import cuda_formula
from edgewright.targets.cpu.cuda_tir import Argument, Buffers, let
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.tir import Expr, cast, constant, put, row_offset
from edgewright.targets.cpu.view import View, collapse, dtype_of

Keep = Callable[[Array], View]
Given = View | float | int


class CudaTail:
    """The tail of one group. `arrange(view)` brings a view of the group's shape to (row axes..., column axis)."""

    def __init__(self, group: Group, values: Mapping[Node, View], keep: Keep, arrange: Callable[[View], View]) -> None:
        self.group = group
        self.stored = {node: arrange(values[node]) for node in group.stored}
        self.given: dict[tuple[Node, int], Given] = {}
        inside = set(group.members)
        for member in group.tail:
            for i, operand in enumerate(member.inputs):
                if operand in inside:
                    continue
                value = value_of(operand)
                if value is not None and value.size == 1:
                    self.given[member, i] = value.item()
                elif isinstance(member.op, Table) and i:
                    assert value is not None
                    self.given[member, i] = keep(value.astype(np.int8))
                elif isinstance(member.op, Requantise) and i:
                    assert value is not None
                    self.given[member, i] = arrange(keep(value.astype(np.int32)).broadcast_to(member.shape))
                else:
                    self.given[member, i] = arrange(values[operand].broadcast_to(member.shape))

    @property
    def arguments(self) -> list[Argument]:
        """Everything the tail touches."""
        views = [v for v in self.given.values() if isinstance(v, View)]
        return [Argument(view) for view in (*views, *self.stored.values())]

    def emit(self, buffers: Buffers, row: Expr, column: Expr, anchor: Expr | None) -> None:
        """Statements for one element; `anchor` is the anchor's result there."""
        computed: dict[Node, Expr] = {}
        if anchor is not None:
            assert self.group.anchor is not None
            computed[self.group.anchor] = let(anchor)

        def at(view: View) -> Expr:
            sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
            base = row_offset(sizes, strides, row)
            return base + column * view.strides[-1] if view.strides[-1] else base

        def operand(member: Node, position: int) -> Expr:
            given = self.given.get((member, position))
            if isinstance(given, View):
                return let(buffers[given][at(given)])
            if given is not None:
                whole = isinstance(member.op, Requantise)
                return constant(given, "int64" if whole else dtype_of(member.inputs[position].elem))
            return computed[member.inputs[position]]

        for member in self.group.tail:
            if isinstance(member.op, Table):
                table = self.given[member, 1]
                assert isinstance(table, View)
                computed[member] = let(buffers[table][cast(operand(member, 0), "int32") + 128])
                continue
            formula = cuda_formula(member.op)
            assert formula is not None, member.op.kind
            computed[member] = let(formula(member, [operand(member, i) for i in range(len(member.inputs))]))
        for node, view in self.stored.items():
            put(buffers[view], at(view), computed[node])
