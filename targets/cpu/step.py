"""What lowering for CPUs makes: steps that are functions of pointers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgewright.passes.ir import Shape
from edgewright.targets.cpu.tail import Tail
from edgewright.targets.cpu.tir import step_function
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.step import LoweringContext, ProgramStep
from edgewright.targets.lowering.tail import Arrange
from edgewright.targets.lowering.view import StridedView

PARALLEL_MACS = 150_000  # below, waking another thread (some 2 us) costs more than it saves
PARALLEL_ELEMENTS = 30_000
Body = Callable[[Mapping[StridedView, Any]], None]


class Context(LoweringContext[ProgramStep]):
    """What lowering a node for one variant of the micro-kernels may use."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.variant = variant

    def dense(self, shape: Shape, dtype: str) -> StridedView:
        """Return row-major memory that is kept as long as steps read it."""
        view = self.temporary(math.prod(shape), dtype).reshape(shape)
        assert view is not None
        return view

    def tail(self, group: Group, arrange: Arrange = lambda view: view, tiles: bool = False) -> Tail:
        return Tail(group, self.values, self.keep, arrange, tiles)

    def add(self, group: Group, views: Sequence[StridedView], body: Body, kind: str = "", macs: int = 0) -> None:
        """Append a step whose statements `body` makes from the buffers of `views`: the one that completes the group, or
        one of another `kind` before it."""
        used = tuple(dict.fromkeys(views))
        fields = self.fields(group) | ({"kind": kind, "stored": ()} if kind else {})
        self.steps.append(ProgramStep(function=step_function(used, body), views=used, macs=macs, **fields))

    def add_move(self, name: str, kind: str, views: Sequence[StridedView], body: Body) -> None:
        """Append a step that only moves or fills values."""
        self.steps.append(ProgramStep(name, kind, step_function(views, body), tuple(views), 0))
