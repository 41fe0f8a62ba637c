"""The elementwise end of a CUDA kernel: each thread carries its own results through the tail and stores them."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Node
from edgewright.passes.ops import Requantise, Table, value_of
from edgewright.targets.gpu.formulas import formula_of
from edgewright.targets.gpu.tir import Argument, Buffers, let
from edgewright.targets.lowering.tail import GroupTail
from edgewright.targets.lowering.tir import Expr, cast, constant, element, put
from edgewright.targets.lowering.view import StridedView, dtype_of


class CudaTail(GroupTail):
    """The tail of one group, an element a thread. Factors are (multiplier, shift) pairs."""

    def add_factors(self, member: Node) -> None:
        for i, operand in enumerate(member.inputs[1:], 1):
            value = np.asarray(value_of(operand))
            self.operands[member, i] = (
                value.item() if value.size == 1 else self.spread(self.keep(value.astype(np.int32)), member)
            )

    @property
    def arguments(self) -> list[Argument]:
        """The pointers to everything that the tail touches."""
        return [Argument(view) for view in self.views]

    def emit(self, buffers: Buffers, row: Expr, column: Expr, anchor: Expr | None) -> None:
        """Emit the statements for one element; `anchor` is the anchor's result there."""
        computed: dict[Node, Expr] = {}
        if anchor is not None:
            assert self.group.anchor is not None
            computed[self.group.anchor] = let(anchor)

        def operand(member: Node, position: int) -> Expr:
            value = self.operands.get((member, position))
            if isinstance(value, StridedView):
                return let(buffers[value][element(value, row, column)])
            if value is not None:
                integer = isinstance(member.op, Requantise)
                return constant(value, "int64" if integer else dtype_of(member.inputs[position].elem))
            return computed[member.inputs[position]]

        for member in self.group.tail:
            if isinstance(member.op, Table):
                table = self.operands[member, 1]
                assert isinstance(table, StridedView)
                computed[member] = let(buffers[table][cast(operand(member, 0), "int32") + 128])
                continue
            operands = [operand(member, i) for i in range(len(member.inputs))]
            computed[member] = let(formula_of(member.op)(member, operands))
        for node, view in self.stored.items():
            put(buffers[view], element(view, row, column), computed[node])
