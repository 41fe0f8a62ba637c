"""The text of one pipeline stage: loops over elements, registers, assertions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from edgewright.hw.kernel.delays import FAN_OUT


def fanned(loads: int) -> str:
    """Return what stands before a signal that drives so much: synthesis makes copies of its register or gate."""
    return f"(* max_fanout = {FAN_OUT} *) " if loads > FAN_OUT else ""


Segment = tuple[tuple[int, ...], list[str]]  # loops over a shape, and what is in them
ASSIGNED = re.compile(r"(\w+)((?:\[[^\]]*\])*) = ")


@dataclass(slots=True)
class PrintedStage:
    """The text of one stage. A group is one always_comb (an assign where there is no loop)."""

    groups: list[list[Segment]] = field(default_factory=list)
    registers: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)  # registers that wait for issue
    checks: list[Segment] = field(default_factory=list)

    def add(self, shape: tuple[int, ...], lines: Iterable[str]) -> None:
        """Add assignments of one element. They join the last loop if it has the same shape and they read only the same element
        of what it assigns."""
        for line in lines:
            last = self.groups[-1] if self.groups else []
            if shape and len(last) == 1 and last[0][0] == shape and self.joins(last[0][1], line):
                last[0][1].append(line)
            else:
                self.groups.append([(shape, [line])])

    @staticmethod
    def joins(before: list[str], line: str) -> bool:
        for earlier in before:
            assigned = ASSIGNED.match(earlier)
            if assigned is None:
                return False
            name, subscript = assigned.groups()
            for use in re.finditer(rf"\b{name}\b((?:\[[^\]]*\])*)", line):
                if not use.group(1).startswith(subscript):  # bit selects may follow
                    return False
        return True

    def add_together(self, segments: list[Segment]) -> None:
        """Add assignments to parts of one variable, which must share an always_comb."""
        self.groups.append(segments)
