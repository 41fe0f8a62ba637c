"""What a pass is: one graph in, one graph out, checked on both sides and counted."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.types import Level
from edgewright.passes.ir.verify import verify

Dump: TypeAlias = Callable[[str, Graph], None]


@dataclass
class Note:
    """What a pass says while it runs: events to count, and refusals to raise together."""

    counts: Counter[str] = field(default_factory=Counter)
    refusals: list[Diagnostic] = field(default_factory=list)

    def count(self, event: str, times: int = 1) -> None:
        self.counts[event] += times

    def refuse(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self.refusals:
            self.refusals.append(diagnostic)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one pass did, for logs and reports."""

    name: str
    nodes_before: int
    nodes_after: int
    counts: tuple[tuple[str, int], ...]
    seconds: float

    def __str__(self) -> str:
        events = "".join(f", {event} {times}" for event, times in self.counts)
        return f"{self.name}: nodes {self.nodes_before} -> {self.nodes_after}{events}"


class Pass(ABC):
    """A rewrite of graphs: a frozen dataclass whose fields are its options.

    needs: the level it reads; gives: the level it leaves. exact: equal bits on integers, equal within float rounding
    on floats. Its docstring says Before, After, Exact, Source. Calling it checks, runs, verifies and counts.
    """

    needs: ClassVar[Level] = Level.FLOAT
    gives: ClassVar[Level] = Level.FLOAT
    exact: ClassVar[bool] = True

    @abstractmethod
    def run(self, graph: Graph, note: Note) -> Graph:
        """The rewritten graph. Pure: reads only its arguments and fields, writes only the note."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def __call__(self, graph: Graph, dump: Dump | None = None) -> tuple[Graph, Statistics]:
        """Runs between two checks. CompileError with all refusals noted, or with what the verifier finds after."""
        if graph.level is not self.needs:
            raise CompileError(
                [Diagnostic("G006", f"{self.name} needs a {self.needs.value} graph", graph.name)], Exit.BUG
            )
        note, start = Note(), time.perf_counter()
        before = len(graph.nodes())
        result = self.run(graph, note)
        if note.refusals:
            raise CompileError(note.refusals, Exit.MODEL)
        verify(result, after=self.name)
        if result.level is not self.gives:
            raise CompileError(
                [Diagnostic("G006", f"{self.name} left a {result.level.value} graph", graph.name)], Exit.BUG
            )
        counts = tuple(sorted(note.counts.items()))
        seconds = time.perf_counter() - start
        after = len(result.nodes())
        if dump is not None:
            dump(self.name, result)
        return result, Statistics(self.name, before, after, counts, seconds)


def run_passes(graph: Graph, passes: Iterable[Pass], dump: Dump | None = None) -> tuple[Graph, tuple[Statistics, ...]]:
    """The passes in order, each on the result of the one before."""
    statistics = []
    for step in passes:
        graph, done = step(graph, dump)
        statistics.append(done)
    return graph, tuple(statistics)
