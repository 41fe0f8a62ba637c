"""The elementwise end of a step: where its operands are and where it stores. What it computes is up to the target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import numpy as np
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Requantise, Table, value_of
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.view import StridedView

Arrange = Callable[[StridedView], StridedView]
Keep = Callable[[Array], StridedView]  # a constant array -> where it is among the weights


class GroupTail(ABC):
    """The tail of one group over rows of columns: `operands` from outside the group by (member, position), a number
    where they have one element, and `stored`, the views of what leaves the group.

    `arrange(view)` brings a view of the group's shape to (row axes..., column axis).
    """

    def __init__(self, group: Group, values: Mapping[Node, StridedView], keep: Keep, arrange: Arrange) -> None:
        self.group, self.keep, self.arrange = group, keep, arrange
        self.stored = {node: arrange(values[node]) for node in group.stored}
        self.operands: dict[tuple[Node, int], StridedView | float | int] = {}
        inside = set(group.members)
        for member in group.tail:
            prepared = isinstance(member.op, (Requantise, Table))  # the operands after the first are
            for i, operand in enumerate(member.inputs[:1] if prepared else member.inputs):
                value = value_of(operand)
                if operand in inside:
                    continue
                if value is not None and value.size == 1:
                    self.operands[member, i] = value.item()
                else:
                    self.operands[member, i] = self.spread(values[operand], member)
            if isinstance(member.op, Table):
                self.operands[member, 1] = keep(np.asarray(value_of(member.inputs[1])).astype(np.int8))
            elif prepared:
                self.add_factors(member)

    @abstractmethod
    def add_factors(self, member: Node) -> None:
        """Add the factors of a Requantise to the operands."""

    def spread(self, value: StridedView, member: Node) -> StridedView:
        """Return a value as rows and columns, broadcast to a member's shape."""
        return self.arrange(value.broadcast_to(member.shape))

    @property
    def views(self) -> list[StridedView]:
        """All memory that the tail reads or writes."""
        return [*(v for v in self.operands.values() if isinstance(v, StridedView)), *self.stored.values()]
