"""The stage of every node of a process: what the scheduler decides, and the printer and the timing model read.

Stage 0 sees the command and the loop counters; an iteration issues in stage `issue`. Up to there all values wait together for
issue, after it they run freely. A value is there from stage `ready` on; a clocked node (product, load, running value) reads its
operands in `start`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.delays import bits_of
from edgewright.hw.kernel.expand import ExpandedBody

SOURCES = (ir.Counter, ir.First, ir.Last, ir.Following)
"""Nodes that the nest gives, in stage 0."""


@dataclass(slots=True)
class Placement:
    """`solid` nodes have a variable of their own; other Strideds are read through their source."""

    body: ExpandedBody
    order: list[ir.Node]
    start: dict[ir.Node, int]
    ready: dict[ir.Node, int]
    solid: set[ir.Node]
    until: dict[ir.Node, int] = field(default_factory=dict)  # last stage in which a solid node is used
    reserve: dict[ir.Node, ir.Node | None] = field(default_factory=dict)  # Write -> control part of its predicate
    steady: set[ir.Node] = field(default_factory=set)  # depend on the command alone
    wires: set[ir.Node] = field(default_factory=set)  # of those: parts of the command, without logic
    # cycles that the nest waits for its command: in the first, flags of bounds that depend on it alone become registers; in a
    # second, bounds that depend on the outermost loop too, from then on one iteration of it ahead
    settles: int = 0
    following: dict[int, ir.Node] = field(default_factory=dict)  # loop -> such a bound, in the next iteration
    issue: int = 0
    depth: int = 0

    def access(self, op: ir.Write | ir.Store | ir.Load) -> int:
        """Return the cycles from issue to when the printed hardware does what ``op`` does: the last time, if there are
        several such loads."""
        return max(at for node, at in self.start.items() if node.op == op) - self.issue

    def bound(self, level: int) -> ir.Node | None:
        """Return the bound of a loop where it is known at run time only."""
        bound = self.body.bounds[level]
        return bound if isinstance(bound, ir.Node) else None

    def settled(self, level: int) -> bool:
        """Return whether the bound of a loop is there before its first iteration, so that flags of it are registers."""
        bound = self.bound(level)
        return bound is None or (self.settles > 0 and bound in self.steady)

    @property
    def lead(self) -> int:
        """The cycles from the arrival of a command to the first issue."""
        return self.issue + self.settles

    @property
    def waiting_bits(self) -> int:
        """The bits of registers that wait for issue, without the loop counters."""
        total = 0
        for node, last in self.until.items():
            if node not in self.steady and not isinstance(node.op, (ir.Const, *ir.EFFECTS)):
                total += bits_of(node) * max(0, min(last, self.issue) - self.ready[node])
        return total


def steady_nodes(order: list[ir.Node]) -> set[ir.Node]:
    """Return the nodes that keep their value as long as the command stays."""
    found: set[ir.Node] = set()
    moving = (*SOURCES, *ir.STATE, *ir.EFFECTS, ir.Load)
    for node in order:
        if not isinstance(node.op, (ir.Const, *moving)) and all(a in found or isinstance(a.op, ir.Const) for a in node.args):
            found.add(node)
    return found


def control_part(when: ir.Node | None, join: Callable[[ir.Node, ir.Node], ir.Node]) -> ir.Node | None:
    """Return the conjuncts of a predicate that are known at issue; None if there are none."""
    if when is None:
        return None
    if ir.is_control(when):
        return when
    if isinstance(when.op, ir.And):
        parts = [p for p in (control_part(a, join) for a in when.args) if p is not None]
        return join(parts[0], parts[1]) if len(parts) == 2 else parts[0] if parts else None
    return None
