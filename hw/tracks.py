"""What each process of an engine does at each cycle of a predicted run: issue, wait for a queue, or nothing.

A wait can be followed to its root: what the process that should have filled the queue did meanwhile, and if that was waiting
too, what it waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from edgewright.hw.blocks.operation import ROLES
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.timing import Activity, Timing
from edgewright.hw.kernel.tokens import Rows

BUSY, IDLE = -1, -2
"""What a process does unless it waits for the queue with this number: it issues, or it has no command."""
SEQUENCER = "sequencer"
DEEPEST = 24
"""Processes one behind the other through which a wait is followed."""
ANSWER_CYCLES = 3
"""Cycles from a word's arrival at a port to the stream of its words, at least."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """Spans of cycles, from ``first`` to before ``end``. ``of``: the number of what each is a part of; ``what``: what happens
    in it; ``late``: cycles by which its cause was earlier."""

    of: Rows
    what: Rows
    first: Rows
    end: Rows
    late: Rows

    @classmethod
    def of_spans(cls, first: Rows, end: Rows) -> Pieces:
        """Return one piece for each span, numbered."""
        return cls(np.arange(len(first)), np.zeros_like(first), first, end, np.zeros_like(first))

    @classmethod
    def joined(cls, parts: Sequence[Pieces]) -> Pieces:
        """Return the pieces of all parts in the order of their cycles."""
        columns = [np.concatenate([getattr(p, name) for p in parts]) for name in cls.__slots__]
        order = np.argsort(columns[2], kind="stable")
        return cls(*(column[order] for column in columns))

    def chosen(self, mask: Rows) -> Pieces:
        """Return those where `mask` holds."""
        return Pieces(self.of[mask], self.what[mask], self.first[mask], self.end[mask], self.late[mask])

    @property
    def cycles(self) -> Rows:
        """The length of each."""
        return self.end - self.first


@dataclass(frozen=True, slots=True)
class Track:
    """What one process does from cycle 0 to before `end`: from ``first[i]`` to the next one it is ``what[i]``."""

    first: Rows
    what: Rows
    end: int

    @classmethod
    def of_activity(cls, activity: Activity, end: int, *, commanded: bool) -> Track:
        """Return the track of a process; one that needs no command works unless it waits."""
        runs, waits = activity.runs, activity.waits
        events = [
            (np.zeros(1, np.int64), IDLE if commanded else BUSY),
            (runs[:, 2] + 1, IDLE),
            (runs[:, 1], BUSY),
            (waits[:, 3], BUSY),
        ]
        at = np.concatenate([*(cycles for cycles, _ in events), waits[:, 2]])
        what = np.concatenate([*(np.full(len(cycles), code) for cycles, code in events), waits[:, 1]])
        order = np.argsort(at, kind="stable")  # of one cycle the last holds: an execution may begin with a wait
        at, what = at[order], what[order]
        kept = np.append(at[1:] != at[:-1], True) & (at < end)
        return cls(at[kept], what[kept], end)

    def within(self, spans: Pieces) -> Pieces:
        """Cut spans where what this process does changes, ``late`` cycles before; the pieces keep the number of their span."""
        first, end = (np.clip(edge - spans.late, 0, self.end) for edge in (spans.first, spans.end))
        low = np.searchsorted(self.first, first, side="right") - 1
        count = np.where(end > first, np.searchsorted(self.first, end, side="left") - low, 0)
        span = np.repeat(np.arange(len(first)), count)
        place = np.repeat(low - np.cumsum(count) + count, count) + np.arange(len(span))
        until, late = np.append(self.first[1:], self.end), spans.late[span]
        begin = np.maximum(first[span], self.first[place]) + late
        return Pieces(spans.of[span], self.what[place], begin, np.minimum(end[span], until[place]) + late, late)

    def whole(self) -> Pieces:
        """Return the whole track in pieces."""
        return self.within(Pieces.of_spans(np.zeros(1, np.int64), np.full(1, self.end)))


class Tracks:
    """The tracks of all processes of a program, and who fills and empties its queues."""

    def __init__(self, program: ir.Program, timing: Timing, end: int) -> None:
        self.program, self.timing, self.end = program, timing, end
        self.known: dict[str, Track] = {}
        queues = timing.queues
        self.sources = {q: c.writer for c, q in queues.readable.items()} | {q: b.writer for b, q in queues.full.items()}
        self.takers = {q: c.reader for c, q in queues.free.items()} | {q: b.reader for b, q in queues.empty.items()}
        self.ports = {queues.readable[port.data]: port for port in program.axi if port.done is None}
        self.roles = {process.name: role_of(process) for process in program.processes}
        self.commanded = {process.name: process.command is not None for process in program.processes}

    def track(self, process: str) -> Track:
        """Return what a process does."""
        if process not in self.known:
            commanded = self.commanded[process]
            self.known[process] = Track.of_activity(self.timing.activity[process], self.end, commanded=commanded)
        return self.known[process]

    def leader(self, role: str) -> str:
        """Return the process that does the work of a unit: of those with its first command the one that issues most."""
        kind = ROLES[role][0]
        same = [p.name for p in self.program.processes if p.command is not None and p.command.type == kind]
        return max(reversed(same), key=lambda name: int((whole := self.track(name).whole()).cycles[whole.what == BUSY].sum()))

    def source(self, queue: int) -> str | None:
        """Return the role of the unit that fills a queue; None: a port of the memory."""
        writer = self.sources.get(queue)
        return None if writer is None else self.roles.get(writer)

    def roots(self, waits: Pieces) -> Iterator[tuple[str, Pieces]]:
        """Yield what waits (``what``: the queue) come from, with the parts of them that do: the role of a unit that works,
        "memory", "completion" of results that are read again, "room", or "command" where a unit had none."""
        for _ in range(DEEPEST):
            left: list[Pieces] = []
            for queue in np.unique(waits.what).tolist():
                for root, pieces in self._followed(queue, waits.chosen(waits.what == queue)):
                    if root is None:
                        left.append(pieces)
                    elif pieces.of.size:
                        yield root, pieces
            if not left:
                return
            waits = Pieces.joined(left)
        yield SEQUENCER, waits

    def _followed(self, queue: int, waits: Pieces) -> Iterator[tuple[str | None, Pieces]]:
        """Follow waits for one queue by one process. None: the pieces wait for something else."""
        if queue in self.takers:
            yield "room" if self.takers[queue] in self.roles else "memory", waits
            return
        if queue in self.ports:
            port = self.ports[queue]
            asked = np.clip(self._asked(port, waits.end - waits.late) + waits.late, waits.first, waits.end)
            yield "memory", replace(waits, first=asked).chosen(asked < waits.end)
            waits = replace(waits, end=asked).chosen(waits.first < asked)
            queue = self.timing.queues.readable[port.requests]
        writer = self.sources.get(queue)
        if writer is None or self.roles.get(writer, SEQUENCER) == SEQUENCER:
            yield "completion", waits
            return
        waits = replace(waits, late=waits.late + self.timing.delays.get(queue, 0))
        start = np.minimum(waits.end, waits.late)  # before the cycle that was so long ago, the program had not started
        yield "command", replace(waits, end=start).chosen(waits.first < start)
        pieces = self.track(writer).within(waits)
        yield self.roles[writer], pieces.chosen(pieces.what == BUSY)
        yield "command", pieces.chosen(pieces.what == IDLE)
        if (again := pieces.chosen(pieces.what >= 0)).of.size:
            yield None, again

    def _asked(self, port: ir.AxiPort, arrival: Rows) -> Rows:
        """Return when the words were asked for that came at these cycles. On-chip words move when they are asked for."""
        moves = self.timing.moves[port.name]
        if not len(moves):
            return arrival
        moved = arrival - 1 - ANSWER_CYCLES
        row = moves[np.maximum(0, np.searchsorted(moves[:, 2], moved, side="right") - 1)]
        return np.asarray(np.where(row[:, 1] == row[:, 2], np.clip(moved, row[:, 2], row[:, 3]), row[:, 1]))


def role_of(process: ir.Process) -> str:
    """Return the unit that a process is part of (`ROLES`), by the type of its command."""
    kind = None if process.command is None else process.command.type
    return next((role for role, kinds in ROLES.items() if kind in kinds), SEQUENCER)
