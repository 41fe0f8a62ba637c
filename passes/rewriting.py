"""Rules replace single nodes; groups run passes until none changes anything. Every graph is rewritten by these two."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from itertools import cycle, islice
from typing import ClassVar, TypeAlias

from edgewright.passes.diagnostics import Exit, fail
from edgewright.passes.ir import Graph, Node, Op, moved, rebuild
from edgewright.passes.transform import Note, Pass, Statistics

Uses: TypeAlias = Callable[[Node], int]
"""How often a value is read, outputs of the graph included; 0 for one that a rule has made inside of a replacement."""


class Rule(Pass):
    """A pass that looks at one node at a time, operands first, and replaces it or keeps it.

    on: the operators it looks at; all where there are none. event: what `Statistics` calls a replacement.
    """

    on: ClassVar[tuple[type[Op], ...]] = ()
    event: ClassVar[str] = "replaced"

    @abstractmethod
    def replace(self, node: Node, uses: Uses) -> Node | None:
        """Return what computes the same value (same shape), or None to keep the node, whose operands are already rewritten.

        The answer depends on the node and, if `uses` was called, on how often its operands are read.
        """

    def run(self, graph: Graph, note: Note) -> Graph:
        kinds = frozenset(self.on)
        settled: set[Node] = set()
        if all(node in note.settled for node in graph.nodes() if not kinds or type(node.op) in kinds):
            return graph
        reads = _Reads(graph)

        def change(old: Node, operands: tuple[Node, ...]) -> Node:
            node = result = moved(old, operands)
            if node in note.settled:
                settled.add(node)
            elif not kinds or type(node.op) in kinds:
                reads.asked = False
                result = self.replace(node, reads) or node
                if (result.op, result.inputs, result.type) == (node.op, node.inputs, node.type):
                    result = node
                    if not reads.asked:
                        settled.add(node)
                else:
                    note.count(self.event)
            reads.moved(old, result)
            return result

        result = rebuild(graph, change)
        note.settled = settled
        return result


class _Reads:
    """`Uses` of a graph while it is rewritten; `asked`: whether it was called."""

    def __init__(self, graph: Graph) -> None:
        self.before = Counter(operand for node in graph.nodes() for operand in node.inputs)
        self.before.update(graph.outputs)
        self.after: Counter[Node] = Counter()
        self.asked = False

    def moved(self, old: Node, new: Node) -> None:
        self.after[new] += self.before[old]

    def __call__(self, node: Node) -> int:
        self.asked = True
        return self.after[node]


@dataclass(frozen=True, slots=True)
class RuleGroup(Pass):
    """Passes under one name that run in order, over and over, until each of them in turn has changed nothing.

    Before: a graph that one of the passes applies to. After: one that none applies to; `rounds_max` rounds that do not
    get there are an error of ours (G007).
    Exact: as its passes are, each of which is verified and counted. Source: the greedy pattern rewriter of MLIR.
    """

    title: str
    passes: tuple[Pass, ...]
    rounds_max: int = 64

    @property
    def name(self) -> str:
        return self.title

    def run(self, graph: Graph, note: Note) -> Graph:
        settled: list[Set[Node]] = [frozenset() for _ in self.passes]
        done: list[list[Statistics]] = [[] for _ in self.passes]
        verified = note.verified
        quiet = 0  # passes since the last change
        for place in islice(cycle(range(len(self.passes))), self.rounds_max * len(self.passes)):
            step = Note(verified=verified, settled=settled[place])
            result, statistics = self.passes[place].checked(graph, step)
            settled[place] = step.settled
            done[place].append(statistics)
            same = (result.inputs, result.outputs) == (graph.inputs, graph.outputs)
            verified = verified if same and verified else frozenset(result.nodes())
            graph, quiet = result, quiet + 1 if same else 0
            if quiet == len(self.passes):
                note.parts = tuple(_together(statistics) for statistics in done if statistics)
                return graph
        busy = ", ".join(step.name for step in self.passes)
        fail("G007", f"the passes of '{self.name}' do not end", graph.name, f"{busy} keep changing the graph", exit=Exit.BUG)


def _together(runs: Sequence[Statistics]) -> Statistics:
    """Add up the runs of one pass: its counts, its time and how many nodes it added or removed in all."""
    counts: Counter[str] = Counter()
    for run in runs:
        counts.update(dict(run.counts))
    before = runs[0].nodes_before
    after = before + sum(run.nodes_after - run.nodes_before for run in runs)
    tables = tuple(table for run in runs for table in run.tables)
    parts = tuple(map(_together, zip(*(run.parts for run in runs), strict=True)))
    seconds = sum(run.seconds for run in runs)
    return Statistics(runs[0].name, before, after, tuple(sorted(counts.items())), seconds, tables, parts)
