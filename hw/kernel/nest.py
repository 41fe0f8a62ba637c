"""All iterations of a loop nest at once: counters, bounds, flags and scope starts as arrays with a row per iteration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.evaluate import evaluate, spread
from edgewright.hw.kernel.tokens import Rows
from edgewright.hw.kernel.types import leaves

Control = dict[ir.Op, Rows]  # rows of Counter, First, Last by op


@dataclass(slots=True)
class Iterations:
    """`count` iterations of one or more executions of the nest, complete executions only."""

    count: int
    execution: Rows  # (count,) index of the execution, from 0
    command: list[Rows]  # leaf rows of the command, (count, ..); empty without a command
    counters: list[Rows]
    bounds: list[Rows]
    skips: bool = False  # whether any loop has no iterations

    def starts(self, level: int) -> Rows:
        """Return (count,) bool: whether a scope per iteration of loop `level` (-1: per execution) starts here."""
        changed = np.ones(self.count, dtype=bool)
        if self.count > 1:
            changed[1:] = self.execution[1:] != self.execution[:-1]
            for counter in self.counters[: level + 1]:
                changed[1:] |= counter[1:] != counter[:-1]
        return changed

    def flags(self) -> Control:
        out: Control = {}
        for level, (counter, bound) in enumerate(zip(self.counters, self.bounds, strict=True)):
            out[ir.Counter(level)] = counter
            out[ir.First(level)] = (counter == 0).astype(np.int64)
            out[ir.Last(level)] = (counter == bound - 1).astype(np.int64)
        return out


def expand(process: ir.Process, command: list[Rows], executions: int) -> Iterations:
    """Return all iterations of `executions` executions of the nest, with the command rows of each."""
    index = np.arange(executions)
    fields = command
    counters: list[Rows] = []
    bounds: list[Rows] = []
    skips = False
    for loop in process.loops:
        bound = bound_rows(process, loop.bound, Iterations(len(index), index, fields, counters, bounds))
        skips = skips or bool((bound == 0).any())
        index, fields = np.repeat(index, bound), [np.repeat(f, bound, axis=0) for f in fields]
        counters = [*(np.repeat(c, bound) for c in counters), counted(bound)]
        bounds = [*(np.repeat(b, bound) for b in bounds), np.repeat(bound, bound)]
    return Iterations(len(index), index, fields, counters, bounds, skips)


def bound_rows(process: ir.Process, bound: int | ir.Node, outer: Iterations) -> Rows:
    """Return the bound of a loop for each iteration of the loops around it."""
    if isinstance(bound, int):
        return np.full(outer.count, bound)
    values = control(process, [bound], outer.flags(), outer.command, outer.count)
    return spread(values[bound], outer.count).astype(np.int64)


def counted(bound: Rows) -> Rows:
    """Return 0, 1, .. bound - 1 for each bound, concatenated."""
    starts = np.cumsum(bound) - bound
    return np.asarray(np.arange(int(bound.sum())) - np.repeat(starts, bound))


def slots(process: ir.Process, command: list[Rows]) -> tuple[Rows, int]:
    """Return the step in which the printed hardware reaches each iteration of one execution, and the number of steps: a loop of
    no iterations takes one step, and so does a loop around it that does nothing else for any value of its counter."""
    part = Iterations(1, np.zeros(1, dtype=np.int64), command, [], [])
    real = np.ones(1, dtype=bool)
    for level, loop in enumerate(process.loops):
        bound = bound_rows(process, loop.bound, part)
        inside = [k.bound for k in process.loops[level + 1 :] if depends_on(k.bound) < level]
        real = real & (bound != 0)
        for inner in inside:
            real &= bound_rows(process, inner, part) != 0
        bound = np.where(real, bound, 1)
        real = np.repeat(real, bound)
        part = Iterations(
            len(real),
            np.repeat(part.execution, bound),
            [np.repeat(f, bound, axis=0) for f in part.command],
            [*(np.repeat(c, bound) for c in part.counters), counted(bound)],
            [*(np.repeat(b, bound) for b in part.bounds), np.repeat(bound, bound)],
        )
    return np.flatnonzero(real), len(real)


def depends_on(bound: int | ir.Node) -> int:
    """Return the innermost loop whose counter a bound depends on, -1 for none."""
    if isinstance(bound, int):
        return -1
    used = [n.op.loop for n in ir.topological([bound]) if isinstance(n.op, (ir.Counter, ir.First, ir.Last))]
    return max(used, default=-1)


def control(process: ir.Process, roots: list[ir.Node], known: Control, command: list[Rows], count: int) -> dict[ir.Node, Rows]:
    """Return the rows of control nodes, given those of the counters and of the command."""
    out: dict[ir.Node, Rows] = {}
    for node in ir.topological(roots):
        if node.op in known:
            out[node] = known[node.op]
        elif isinstance(node.op, ir.Command):
            if len(command) == 1:
                out[node] = command[0]
        elif isinstance(node.op, ir.Part):
            out[node] = command[part_index(node)]
        elif count:
            out[node] = evaluate(node, [out[a] for a in node.args], f"process {process.name}, {node.where}")
        else:
            out[node] = np.zeros(0, dtype=np.int64)
    return out


@lru_cache(maxsize=1 << 14)
def part_index(node: ir.Node) -> int:
    """Return the position of a Part's leaf among the leaves of its struct."""
    op = node.op
    assert isinstance(op, ir.Part)
    return [path for path, _, _ in leaves(node.args[0].type)].index(op.path)
