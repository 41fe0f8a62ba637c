"""What a pass is: one graph in, one graph out, checked on both sides and counted. `rewriting` has rules and groups."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from edgewright.passes import orders
from edgewright.passes.diagnostics import CompileError, Diagnostic, Exit, fail
from edgewright.passes.ir import Graph, Level, Node
from edgewright.passes.ir.verify import verify
from edgewright.passes.results import Cell, Table

Dump: TypeAlias = Callable[[str, Graph], None]
Progress: TypeAlias = Callable[[str, int, int], None]
"""What long work reports: the stage, how much is done, and how much there is (0: not known)."""


@dataclass
class Note:
    """What a pass reports while it runs: events to count, tables for the report, and refusals to raise together.

    verified: nodes that need no check any more (see `verify.problems`). settled: nodes that the pass has nothing to do for,
    whatever reads them; kept between the rounds of a group. parts: what the passes of a group did.
    """

    counts: Counter[str] = field(default_factory=Counter)
    refusals: list[Diagnostic] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    verified: Set[Node] = frozenset()
    settled: Set[Node] = frozenset()
    parts: tuple[Statistics, ...] = ()

    def count(self, event: str, times: int = 1) -> None:
        if times:
            self.counts[event] += times

    def table(
        self, name: str, columns: Sequence[str], rows: Iterable[Sequence[object]], text: str = "", draw: str = "table"
    ) -> None:
        """Add a table to the report: the first column names the row, None is what was not measured. draw: "table", "map" (a
        heat map of the other columns) or "bars" (of the second column); text: one sentence on what it shows.

        numpy's numbers become Python's. ValueError for a row of another length, for nan and infinity."""
        cells = tuple(tuple(_cell(value) for value in row) for row in rows)
        if draw not in ("table", "map", "bars") or any(len(row) != len(columns) for row in cells):
            raise ValueError(f"table {name!r}: every row has {len(columns)} cells, and {draw!r} is a way to draw them")
        self.tables.append(Table(name, tuple(columns), cells, text, draw))

    def refuse(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self.refusals:
            self.refusals.append(diagnostic)


def _cell(value: Any) -> Cell:
    """Return a value as JSON holds it."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        raise ValueError(f"{plain} in a table: None stands for what was not measured")
    return plain if plain is None or isinstance(plain, (bool, int, float)) else str(plain)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What one pass did, for logs and reports. parts: what each pass of a group did, all its rounds together."""

    name: str
    nodes_before: int
    nodes_after: int
    counts: tuple[tuple[str, int], ...]
    seconds: float
    tables: tuple[Table, ...] = ()
    parts: tuple[Statistics, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """What holds on every machine, for JSON: all but the time."""
        nodes = {"nodes_before": self.nodes_before, "nodes_after": self.nodes_after}
        parts = {"passes": [part.facts for part in self.parts]} if self.parts else {}
        return {"name": self.name, **nodes, "counts": dict(self.counts), **parts}

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
        """Return the rewritten graph. Pure: reads only its arguments and fields, writes only the note."""

    @property
    def name(self) -> str:
        return type(self).__name__

    def __call__(self, graph: Graph, dump: Dump | None = None) -> tuple[Graph, Statistics]:
        """Run between two checks. CompileError: A-codes for a graph that other passes made unfit for this one
        (`orders`), all refusals noted, or what the verifier finds after."""
        result, done = self.checked(graph, Note())
        if dump is not None:
            dump(self.name, result)
        return result, done

    def checked(self, graph: Graph, note: Note) -> tuple[Graph, Statistics]:
        """Run as `__call__`, with a note of the caller's."""
        orders.check(self.name, graph)
        if graph.level is not self.needs:
            fail("G006", f"{self.name} needs a {self.needs.value} graph", graph.name, exit=Exit.BUG)
        start = time.perf_counter()
        result = self.run(graph, note)
        if note.refusals:
            raise CompileError(note.refusals, Exit.MODEL)
        if result is not graph or not note.verified:
            verify(result, self.name, note.verified)
        if result.level is not self.gives:
            fail("G006", f"{self.name} left a {result.level.value} graph", graph.name, exit=Exit.BUG)
        nodes = len(graph.nodes()), len(result.nodes())
        seconds = time.perf_counter() - start
        counts = tuple(sorted(note.counts.items()))
        return result, Statistics(self.name, *nodes, counts, seconds, tuple(note.tables), note.parts)


def run_passes(graph: Graph, passes: Iterable[Pass], dump: Dump | None = None) -> tuple[Graph, tuple[Statistics, ...]]:
    """Run the passes in order, each on the result of the one before."""
    statistics = []
    verified: frozenset[Node] = frozenset()
    for step in passes:
        graph, done = step.checked(graph, Note(verified=verified))
        verified = frozenset(graph.nodes() if graph.level is Level.FLOAT else ())
        statistics.append(done)
        if dump is not None:
            dump(step.name, graph)
    return graph, tuple(statistics)
