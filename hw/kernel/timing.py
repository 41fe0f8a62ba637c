"""Predict when each process of a block issues: a token-level model of the printed hardware, without data.

Every iteration issues as early as its process, the tokens it reads, the space in the FIFOs it writes and the banks it enters
allow. Processes run one after the other as far as their tokens are known (a Kahn network with time stamps); only iterations
that access a stream or a bank cost time here. Predicates must be control (known at issue); values of streams that steer
other processes are computed where they are control too, and supplied by the caller where they are not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.evaluate import spread
from edgewright.hw.kernel.nest import control, expand, slots
from edgewright.hw.kernel.schedule import Placement, entries
from edgewright.hw.kernel.tokens import Rows
from edgewright.hw.kernel.types import leaves


@dataclass(frozen=True, slots=True)
class Clocks:
    """Cycles between two events of the printed hardware, measured once and checked by tests.

    ``fifo``: from a token's write to the earliest issue that can read it. ``credit``: from the issue that reads it to
    the earliest issue that can reuse its entry. ``bank_full``, ``bank_free``: the same for banks, added to the stage of the
    last access. ``empty``: a loop of no iterations. ``memory``: from a read request's write to its first word.
    ``acknowledge``: from the last word of a write to its acknowledgement.
    """

    fifo: int = 1
    credit: int = 2
    bank_full: int = 1
    bank_free: int = 2
    empty: int = 1
    memory: int = 27
    acknowledge: int = 26


@dataclass(slots=True)
class TimedStream:
    """Tokens in flight: when each can be read, its steering values, and when FIFO entries become free."""

    available: deque[int] = field(default_factory=deque)
    values: deque[tuple[int, ...]] = field(default_factory=deque)
    free: deque[int] = field(default_factory=deque)
    steers: bool = False


@dataclass(slots=True)
class Activity:
    """The iterations of one process, and the first and last issue of each execution of its nest."""

    iterations: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timing:
    """Result of a run. ``outputs``: the cycle of each token of every output stream."""

    outputs: dict[str, list[int]]
    activity: dict[str, Activity]
    stuck: tuple[str, ...]


def predict(
    program: ir.Program,
    tokens: Mapping[str, Sequence[tuple[int, ...]]],
    *,
    placements: dict[str, Placement],
    clocks: Clocks,
    inputs: Mapping[str, int],
) -> Timing:
    """Run the program. ``inputs``: tokens per input stream, all available at cycle 0. ``tokens``: leaf values, in order, of the
    tokens of those streams that steer processes and are not control where they are written."""
    return _Model(program, tokens, placements, clocks).run(inputs)


class _Model:
    def __init__(
        self,
        program: ir.Program,
        tokens: Mapping[str, Sequence[tuple[int, ...]]],
        placements: dict[str, Placement],
        clocks: Clocks,
    ) -> None:
        self.program, self.placements, self.clocks = program, placements, clocks
        self.supplied = {name: deque(rows) for name, rows in tokens.items()}
        self.streams = {c: TimedStream(free=deque([0] * entries(c, placements))) for c in program.channels}
        self.full = {b: deque[int]() for b in program.buffers}
        self.free = {b: deque([0] * b.banks) for b in program.buffers}
        steering = {p.command for p in program.processes} | {a.requests for a in program.axi}
        for channel in program.channels:
            self.streams[channel].steers = channel in steering
        self.outputs: dict[str, list[int]] = {c.name: [] for c in program.outputs}
        self.activity = {p.name: Activity() for p in program.processes}
        self.waits: dict[str, str] = {}

    def run(self, inputs: Mapping[str, int]) -> Timing:
        for channel in self.program.inputs:
            stream = self.streams[channel]
            for _ in range(inputs.get(channel.name, 0)):
                stream.available.append(0)
                if stream.steers:
                    stream.values.append(self.supplied[channel.name].popleft())
        actors: list[Generator[None, None, None]] = [self.process(p) for p in self.program.processes]
        actors += [self.read_mover(a) if a.done is None else self.write_mover(a) for a in self.program.axi]
        actors += [self.drain(c) for c in self.program.outputs]
        before = -1
        while before != self.moves:
            before = self.moves
            for actor in actors:
                next(actor)
        stuck = tuple(f"{name} waits for {what}" for name, what in self.waits.items() if what)
        return Timing(self.outputs, self.activity, stuck)

    moves = 0

    # ---- processes

    def process(self, process: ir.Process) -> Generator[None, None, None]:
        """Run one nest after the other. Yields where a token is not known yet; the caller resumes it later."""
        command = None if process.command is None else self.streams[process.command]
        now = -1
        activity = self.activity[process.name]
        plan: _Plan | None = None
        while True:
            values: list[Rows] = []
            if command is not None:
                while not command.available:
                    self.waits[process.name] = ""
                    yield
                values = [np.array([v], dtype=object if v > 2**62 else np.int64) for v in command.values.popleft()]
            if plan is None or command is not None or plan.steers:
                plan = _Plan(self, process, values)
            ready = 0 if command is None else command.available.popleft()
            if not plan.count:
                if command is None:
                    return
                now = max(now + 1, ready) + plan.steps - 1
                command.free.append(now + self.clocks.credit)
                self.moves += 1
                continue
            base = max(now + 1, ready) - 1
            activity.iterations += plan.count
            position = -1
            now = base
            begin = None
            for iteration, need, room, enter, leave in plan.events:
                now += iteration - position
                position = iteration
                for stream, name in need:
                    while not stream.available:
                        self.waits[process.name] = name
                        yield
                    if stream.available[0] > now:
                        now = stream.available[0]
                for stream, name in room:
                    while not stream[0].free:
                        self.waits[process.name] = f"room in {name}"
                        yield
                    if stream[0].free[0] > now:
                        now = stream[0].free[0]
                for banks, name in enter:
                    while not banks:
                        self.waits[process.name] = f"a bank of {name}"
                        yield
                    if banks[0] > now:
                        now = banks[0]
                for stream, _ in need:
                    stream.available.popleft()
                    stream.free.append(now + self.clocks.credit)
                for (stream, stage, rows), _ in room:
                    stream.free.popleft()
                    stream.available.append(now + stage + self.clocks.fifo)
                    if rows is not None:
                        stream.values.append(rows.popleft())
                for banks, _ in enter:
                    banks.popleft()
                for banks, delay in leave:
                    banks.append(now + delay)
                self.moves += 1
                begin = now - iteration if begin is None else begin
            now += plan.steps - 1 - position
            self.waits[process.name] = ""
            activity.spans.append((base + 1 if begin is None else begin, now))
            if command is not None:
                command.free.append(now + self.clocks.credit)

    # ---- memory

    def read_mover(self, port: ir.AxiPort) -> Generator[None, None, None]:
        requests, data = self.streams[port.requests], self.streams[port.data]
        now = beat = -1
        while True:
            while not requests.available:
                yield
            beats = requests.values.popleft()[1]
            now = max(now + 1, requests.available.popleft())
            requests.free.append(now + self.clocks.credit)
            beat = max(beat, now + self.clocks.memory - 1)
            for _ in range(beats):
                while not data.free:
                    yield
                beat = max(beat + 1, data.free.popleft())
                data.available.append(beat + self.clocks.fifo)
                self.moves += 1

    def write_mover(self, port: ir.AxiPort) -> Generator[None, None, None]:
        assert port.done is not None
        requests, data, done = self.streams[port.requests], self.streams[port.data], self.streams[port.done]
        now = -1
        while True:
            while not requests.available:
                yield
            _, beats, mark = requests.values.popleft()
            start = requests.available.popleft()
            requests.free.append(max(now + 1, start) + self.clocks.credit)
            now = max(now, start)
            for _ in range(beats):
                while not data.available:
                    yield
                now = max(now + 1, data.available.popleft())
                data.free.append(now + self.clocks.credit)
                self.moves += 1
            if mark:
                while not done.free:
                    yield
                done.free.popleft()
                done.available.append(now + self.clocks.acknowledge + self.clocks.fifo)
                self.moves += 1

    def drain(self, channel: ir.Channel) -> Generator[None, None, None]:
        stream = self.streams[channel]
        while True:
            while stream.available:
                at = stream.available.popleft()
                self.outputs[channel.name].append(at)
                stream.free.append(at + self.clocks.credit)
                self.moves += 1
            yield


class _Plan:
    """The iterations of one execution that access streams or banks, with what they access."""

    def __init__(self, model: _Model, process: ir.Process, command: list[Rows]) -> None:
        plan = expand(process, command, 1)
        self.count = self.steps = plan.count
        at = np.arange(plan.count)
        if plan.skips:
            at, steps = slots(process, command)
            skipped = at - np.arange(plan.count)  # empty loops before each iteration
            at = np.arange(plan.count) + model.clocks.empty * skipped
            self.steps += model.clocks.empty * (steps - plan.count)
        self.steers = False
        self.events: list[tuple[int, list[Any], list[Any], list[Any], list[Any]]] = []
        if not plan.count:
            return
        flags, n, placement = plan.flags(), plan.count, model.placements[process.name]
        rows_of: dict[ir.Node, Any] = {}

        def rows(node: ir.Node) -> Rows:
            if node not in rows_of:
                rows_of.update(control(process, [node], flags, plan.command, n))
            return spread(rows_of[node], n)

        def active(when: ir.Node | None, what: str) -> Rows:
            if when is None:
                return np.ones(n, dtype=bool)
            if not ir.is_control(when):
                raise ValueError(f"process {process.name}: whether it writes {what} is not known at issue")
            return np.asarray(rows(when) != 0)

        sorts: list[tuple[Rows, int, Any]] = []  # (mask, kind, item)
        for node in process.of(ir.Read):
            assert isinstance(node.op, ir.Read)
            stream = model.streams[node.op.channel]
            sorts.append((active(node.args[0] if node.args else None, ""), 0, (stream, node.op.channel.name)))
        for node in process.of(ir.Write):
            assert isinstance(node.op, ir.Write)
            channel = node.op.channel
            parts = ir.write_parts(node)
            mask = active(parts.when, channel.name)
            values = self.values(model, process, channel, parts, mask, rows)
            self.steers = self.steers or values is not None
            item = (model.streams[channel], placement.access(node.op), values)
            sorts.append((mask, 1, (item, channel.name)))
        for lock in process.locks:
            starts = plan.starts(lock.level)
            ends = np.append(starts[1:], True)
            access = [
                node.op
                for node in process.effects
                if isinstance(node.op, (ir.Store, ir.Load)) and node.op.buffer is lock.buffer
            ]
            stage = max(placement.access(op) for op in access)
            clocks = model.clocks
            if lock.role == "load":
                sorts.append((starts, 2, (model.full[lock.buffer], lock.buffer.name)))
                sorts.append((ends, 3, (model.free[lock.buffer], stage + clocks.bank_free)))
            else:
                sorts.append((starts, 2, (model.free[lock.buffer], lock.buffer.name)))
                sorts.append((ends, 3, (model.full[lock.buffer], stage + clocks.bank_full)))
        code = np.zeros(n, dtype=np.int64)
        for bit, (mask, _, _) in enumerate(sorts):
            code |= mask.astype(np.int64) << bit
        touched = np.flatnonzero(code)
        patterns: dict[int, tuple[list[Any], list[Any], list[Any], list[Any]]] = {}
        for pattern in np.unique(code[touched]).tolist():
            groups: tuple[list[Any], list[Any], list[Any], list[Any]] = ([], [], [], [])
            for bit, (_, kind, item) in enumerate(sorts):
                if pattern >> bit & 1:
                    groups[kind].append(item)
            patterns[pattern] = groups
        self.events = [(t, *patterns[p]) for t, p in zip(at[touched].tolist(), code[touched].tolist(), strict=True)]

    @staticmethod
    def values(
        model: _Model,
        process: ir.Process,
        channel: ir.Channel,
        parts: ir.WriteParts,
        mask: Rows,
        rows: Callable[[ir.Node], Rows],
    ) -> deque[tuple[int, ...]] | None:
        """Return leaf values of the tokens that this execution writes, if they steer a process."""
        if not model.streams[channel].steers:
            return None
        if channel.name in model.supplied:
            return model.supplied[channel.name]
        if not all(ir.is_control(v) for v in parts.values):
            names = [path for path, _, _ in leaves(channel.type)]
            raise ValueError(f"stream {channel.name} {names} steers a process and is not control in {process.name}")
        columns = [rows(v)[mask].tolist() for v in parts.values]
        return deque(zip(*columns, strict=True))
