"""The iterations of a loop nest, all at once: counters, bounds, flags and scope starts as arrays with a row per iteration."""

from __future__ import annotations

from dataclasses import dataclass

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

    def starts(self, level: int) -> Rows:
        """(count,) bool: a scope per iteration of loop `level` (-1: per execution) starts here."""
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
    """All iterations of `executions` executions of the nest, with the command rows of each."""
    index = np.arange(executions)
    fields = command
    counters: list[Rows] = []
    bounds: list[Rows] = []
    for loop in process.loops:
        if isinstance(loop.bound, int):
            bound = np.full(len(index), loop.bound)
        else:
            known: Control = {ir.Counter(level): c for level, c in enumerate(counters)}
            for level, (c, b) in enumerate(zip(counters, bounds, strict=True)):
                known[ir.First(level)] = (c == 0).astype(np.int64)
                known[ir.Last(level)] = (c == b - 1).astype(np.int64)
            values = control(process, [loop.bound], known, fields, len(index))
            bound = spread(values[loop.bound], len(index)).astype(np.int64)
        total = int(bound.sum())
        starts = np.cumsum(bound) - bound
        counter = np.arange(total) - np.repeat(starts, bound)
        index, fields = np.repeat(index, bound), [np.repeat(f, bound, axis=0) for f in fields]
        counters = [*(np.repeat(c, bound) for c in counters), counter]
        bounds = [*(np.repeat(b, bound) for b in bounds), np.repeat(bound, bound)]
    return Iterations(len(index), index, fields, counters, bounds)


def control(
    process: ir.Process, roots: list[ir.Node], known: Control, command: list[Rows], count: int
) -> dict[ir.Node, Rows]:
    """The rows of control nodes, given those of the counters and of the command."""
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


def part_index(node: ir.Node) -> int:
    """Position of a Part's leaf among the leaves of its struct."""
    op = node.op
    assert isinstance(op, ir.Part)
    return [path for path, _, _ in leaves(node.args[0].type)].index(op.path)
