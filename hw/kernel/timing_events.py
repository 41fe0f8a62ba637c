"""Find the iterations of each process that access a stream or a bank, without times.

A process that has a command depends on the values of its commands, and those on other processes; none depends on when
something happens (a Kahn network). So the values come first, here, and the times after them (`timing_loop.c`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.evaluate import spread
from edgewright.hw.kernel.nest import control, expand, part_index, slots
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.schedule import has_bypass
from edgewright.hw.kernel.tokens import Rows
from edgewright.hw.kernel.types import leaves

WIDEST = 2**62
"""Values of a command from here on are Python integers."""
Command = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Cycles between two events of the printed hardware, measured on it once and tested.

    ``fifo``: from a token's write to the earliest issue that can read it. ``store``: the cycles that it takes longer through a
    FIFO without a bypass. ``credit``: from the issue that reads it to the earliest issue that can use its place.
    ``bank_full``, ``bank_free``: the same for banks, both ways, added to the stage of the last access. ``empty``: a loop of no
    iterations. ``memory``: from a read request's write to its first word, and ``acknowledge``: from the last word of a write to
    its acknowledgement, both without the memory's latency. ``hub_read``: from the read of an on-chip word to its data.
    ``hub_mark``: from the last word of a marked write on chip to its acknowledgement.
    """

    fifo: int = 1
    store: int = 1
    credit: int = 2
    bank_full: int = 1
    bank_free: int = 2
    empty: int = 1
    memory: int = 5
    acknowledge: int = 2
    hub_read: int = 5
    hub_mark: int = 5


class TimeQueues:
    """Numbers of the queues of times: two for each channel, each buffer and each AXI port."""

    def __init__(self, program: ir.Program) -> None:
        self.names: list[str] = []
        self.readable = {c: self._add(c.name) for c in program.channels}
        self.free = {c: self._add(f"room in {c.name}") for c in program.channels}
        self.full = {b: self._add(f"a full bank of {b.name}") for b in program.buffers}
        self.empty = {b: self._add(f"a free bank of {b.name}") for b in program.buffers}
        self.room = {a: self._add(f"room in the mover of {a.name}") for a in program.axi}
        self.answers = {a: self._add(f"memory behind {a.name}") for a in program.axi}

    def _add(self, name: str) -> int:
        self.names.append(name)
        return len(self.names) - 1


@dataclass(slots=True)
class RunPlans:
    """Events of all different executions, end to end. An event is an iteration (`position`) and what it takes and gives
    (`pattern`); `rows`: of each execution its steps, and its first and last event, -1 without iterations."""

    rows: list[tuple[int, int, int]] = field(default_factory=list)
    position: list[Rows] = field(default_factory=list)
    pattern: list[Rows] = field(default_factory=list)
    events: int = 0
    patterns: dict[tuple[tuple[int, ...], tuple[tuple[int, int], ...]], int] = field(default_factory=dict)

    def add(self, steps: int, position: Rows, pattern: Rows) -> int:
        """Add an execution with these events; return its number."""
        self.rows.append((steps, self.events, self.events + len(position)))
        self.position.append(position)
        self.pattern.append(pattern)
        self.events += len(position)
        return len(self.rows) - 1

    def add_empty(self, steps: int) -> int:
        """Add an execution of `steps` steps without iterations; return its number."""
        self.rows.append((steps, -1, -1))
        return len(self.rows) - 1

    def pattern_of(self, takes: tuple[int, ...], gives: tuple[tuple[int, int], ...]) -> int:
        """The number of a pattern: queues to take from, and queues to give to with their clocks."""
        return self.patterns.setdefault((takes, gives), len(self.patterns))


class ProcessRuns:
    """The executions of one process, command by command, and the values that they write to streams that steer others.

    ``origins``: of each execution the place of the token that led to it, in a stream whose tokens were given; -1 without a
    command.
    """

    def __init__(
        self,
        process: ir.Process,
        queues: TimeQueues,
        plans: RunPlans,
        steers: set[ir.Channel],
        placement: Placement,
        clocks: Clocks,
    ) -> None:
        self.process, self.queues, self.plans, self.placement, self.clocks = process, queues, plans, placement, clocks
        self.plan_of: list[int] = []
        self.origins: list[int] = []
        self.known: dict[tuple[int, ...], int] = {}
        self.writes = [node for node in process.of(ir.Write) if node.op.channel in steers]  # type: ignore[attr-defined]
        self.shaping = self._shaping()

    def _shaping(self) -> list[int] | None:
        """Return the leaves of the command on which the events depend; None: on all."""
        roots = [loop.bound for loop in self.process.loops if isinstance(loop.bound, ir.Node)]
        for node in self.process.effects:
            if isinstance(node.op, ir.Read):
                roots += node.args[:1]
            elif isinstance(node.op, ir.Write) and (when := ir.write_parts(node).when) is not None:
                roots.append(when)
            elif isinstance(node.op, ir.Load):
                roots += node.args[1:]
            elif isinstance(node.op, ir.Store) and node.op.buffer.ring and (when := ir.store_parts(node).when) is not None:
                roots.append(when)
        used: set[int] = set()
        for node in ir.topological(roots):
            if isinstance(node.op, ir.Part):
                used.add(part_index(node))
            elif isinstance(node.op, ir.Command) and not any(isinstance(n.op, ir.Part) for n in ir.topological(roots)):
                return None
        return sorted(used)

    def run(self, command: Command, origin: int) -> dict[ir.Channel, list[Rows]]:
        """Add the execution with this command; return the columns that it writes to each stream that steers others."""
        self.origins.append(origin)
        key = command if self.shaping is None else tuple(command[i] for i in self.shaping)
        if key in self.known and not self.writes:
            self.plan_of.append(self.known[key])
            return {}
        rows = [np.array([v], dtype=object if v > WIDEST else np.int64) for v in command]
        nest = expand(self.process, rows, 1)
        values = _Values(self.process, nest)
        if key not in self.known:
            self.known[key] = self._plan(nest, rows, values)
        self.plan_of.append(self.known[key])
        return {} if not nest.count else {w.op.channel: self._columns(w, values) for w in self.writes}  # type: ignore[attr-defined]

    def _columns(self, node: ir.Node, values: _Values) -> list[Rows]:
        parts = ir.write_parts(node)
        channel = node.op.channel  # type: ignore[attr-defined]
        if not all(ir.is_control(v) for v in parts.values):
            names = [path for path, _, _ in leaves(channel.type)]
            raise ValueError(f"stream {channel.name} {names} steers a process and is not control in {self.process.name}")
        mask = values.active(parts.when, channel.name)
        return [values.rows(v)[mask] for v in parts.values]

    def _plan(self, nest: Any, command: list[Rows], values: _Values) -> int:
        process, queues, clocks = self.process, self.queues, self.clocks
        at, steps = np.arange(nest.count), nest.count
        if nest.skips:
            at, all_steps = slots(process, command)
            skipped = at - np.arange(nest.count)  # empty loops before each iteration
            at = np.arange(nest.count) + clocks.empty * skipped
            steps += clocks.empty * (all_steps - nest.count)
        if not nest.count:
            return self.plans.add_empty(steps)
        touches: list[tuple[Rows, tuple[int, ...], tuple[tuple[int, int], ...]]] = []
        for node in process.of(ir.Read):
            c = node.op.channel  # type: ignore[attr-defined]
            mask = values.active(node.args[0] if node.args else None, "")
            touches.append((mask, (queues.readable[c],), ((queues.free[c], clocks.credit),)))
        for node in process.of(ir.Write):
            assert isinstance(node.op, ir.Write)
            c = node.op.channel
            mask = values.active(ir.write_parts(node).when, c.name)
            delay = self.placement.access(node.op) + clocks.fifo + (0 if has_bypass(c) else clocks.store)
            touches.append((mask, (queues.free[c],), ((queues.readable[c], delay),)))
        for node in process.effects:
            if not isinstance(node.op, (ir.Store, ir.Load)) or not node.op.buffer.ring:
                continue
            full, empty = queues.full[node.op.buffer], queues.empty[node.op.buffer]
            stage = self.placement.access(node.op)
            if isinstance(node.op, ir.Store):
                mask = values.active(ir.store_parts(node).when, "")
                touches.append((mask, (empty,), ((full, stage + clocks.bank_full),)))
            else:
                touches.append((values.active(node.args[1], ""), (full,), ()))
                touches.append((values.active(node.args[2], ""), (), ((empty, stage + clocks.bank_free),)))
        for lock in process.locks:
            if lock.buffer.ring:
                continue
            starts = nest.starts(lock.level)
            effects = (node.op for node in process.effects)
            accesses = [op for op in effects if isinstance(op, (ir.Store, ir.Load)) and op.buffer is lock.buffer]
            stage = max(self.placement.access(op) for op in accesses)
            full, empty = queues.full[lock.buffer], queues.empty[lock.buffer]
            entered, left, delay = (full, empty, clocks.bank_free) if lock.role == "load" else (empty, full, clocks.bank_full)
            touches.append((starts, (entered,), ()))
            touches.append((np.append(starts[1:], True), (), ((left, stage + delay),)))
        code = np.zeros(nest.count, dtype=np.int64)
        for bit, (mask, _, _) in enumerate(touches):
            code |= mask.astype(np.int64) << bit
        touched = np.flatnonzero(code)
        codes, which = np.unique(code[touched], return_inverse=True)
        numbers = []
        for pattern in codes.tolist():
            active = [touch for bit, touch in enumerate(touches) if pattern >> bit & 1]
            takes = tuple(q for _, taken, _ in active for q in taken)
            gives = tuple(g for _, _, given in active for g in given)
            numbers.append(self.plans.pattern_of(takes, gives))
        return self.plans.add(steps, at[touched], np.array(numbers, dtype=np.int64)[which])


class _Values:
    """The rows of control nodes over the iterations of one execution, each computed once."""

    def __init__(self, process: ir.Process, nest: Any) -> None:
        self.process, self.nest, self.flags = process, nest, nest.flags()
        self.known: dict[ir.Node, Rows] = {}

    def rows(self, node: ir.Node) -> Rows:
        if node not in self.known:
            self.known.update(control(self.process, [node], self.flags, self.nest.command, self.nest.count))
        return spread(self.known[node], self.nest.count)

    def active(self, when: ir.Node | None, what: str) -> Rows:
        """Return the iterations in which something happens. ValueError if that is not known at issue."""
        if when is None:
            return np.ones(self.nest.count, dtype=bool)
        if not ir.is_control(when):
            raise ValueError(f"process {self.process.name}: whether it writes {what} is not known at issue")
        return np.asarray(self.rows(when) != 0)


@dataclass(slots=True)
class ProgramRuns:
    """A program with its executions: what the timing loop needs. `requests`: rows (address, words, mark) by AXI port."""

    program: ir.Program
    queues: TimeQueues
    plans: RunPlans
    executions: dict[str, ProcessRuns]
    requests: dict[str, Rows]


def network(
    program: ir.Program,
    tokens: Mapping[str, Sequence[Command]],
    placements: dict[str, Placement],
    clocks: Clocks,
    inputs: Mapping[str, int],
) -> ProgramRuns:
    """Return all executions of a program. ``inputs``: tokens per input stream. ``tokens``: the values of streams that steer
    processes and are not control where they are written, in order.

    Raises ValueError for a steering stream whose values are neither given nor control.
    """
    queues, plans = TimeQueues(program), RunPlans()
    requests = {a.requests: a for a in program.axi}
    commands = {p.command for p in program.processes if p.command is not None}
    given = {c for c in program.channels if c.name in tokens}
    steers = (commands | set(requests)) - given
    executions = {p.name: ProcessRuns(p, queues, plans, steers, placements[p.name], clocks) for p in program.processes}
    waiting: dict[ir.Channel, deque[tuple[Command, int]]] = {c: deque() for c in commands}
    rows: dict[ir.Channel, list[Rows]] = {c: [] for c in requests}
    for c in given:
        values = list(tokens[c.name])
        if c in program.inputs:
            values = values[: inputs.get(c.name, 0)]
        if c in waiting:
            waiting[c].extend(zip(values, range(len(values)), strict=True))
        elif c in rows:
            rows[c].append(np.array(values, dtype=np.int64).reshape(len(values), len(list(leaves(c.type)))))
    for process in program.processes:
        if process.command is None:
            _spread(executions[process.name].run((), -1), -1, waiting, rows)
    progress = True
    while progress:
        progress = False
        for process in program.processes:
            queue = None if process.command is None else waiting[process.command]
            while queue:
                command, origin = queue.popleft()
                _spread(executions[process.name].run(command, origin), origin, waiting, rows)
                progress = True
    ports = {
        port.name: np.concatenate([_three(r) for r in rows[c]]) if rows[c] else np.zeros((0, 3), np.int64)
        for c, port in requests.items()
    }
    return ProgramRuns(program, queues, plans, executions, ports)


def _three(rows: Rows) -> Rows:
    """Return requests as address, words, mark; those of read ports have no mark."""
    missing = 3 - rows.shape[1]
    return np.concatenate([rows, np.zeros((len(rows), missing), rows.dtype)], axis=1).astype(np.int64) if missing else rows


def _spread(
    written: dict[ir.Channel, list[Rows]],
    origin: int,
    waiting: dict[ir.Channel, deque[tuple[Command, int]]],
    rows: dict[ir.Channel, list[Rows]],
) -> None:
    for channel, columns in written.items():
        if channel in waiting:
            waiting[channel].extend((command, origin) for command in zip(*(c.tolist() for c in columns), strict=True))
        else:
            rows[channel].append(np.stack([np.asarray(c, dtype=np.int64) for c in columns], axis=1))
