"""A process in the interpreter: which iterations can run, and their effects."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.evaluate import REDUCE, KernelError, evaluate, max_elements, spread
from edgewright.hw.kernel.nest import Iterations, control, expand, part_index
from edgewright.hw.kernel.tokens import Rows, TokenQueue, dtype_of, in_range, settle
from edgewright.hw.kernel.types import Struct, elem_of, leaves, shape_of

ELEMENTS_AT_ONCE = 1 << 20


class Banks:
    """The banks of a buffer that are written and not yet read; each is a list of leaf arrays (depth, *shape)."""

    def __init__(self, buffer: ir.Buffer) -> None:
        self.buffer = buffer
        self.full: deque[list[Rows]] = deque()
        self.held = 0  # by the writer and the reader
        self.elements = TokenQueue(buffer.type)  # of a ring: not taken yet
        self.window = self.fresh() if buffer.ring else []

    def fresh(self) -> list[Rows]:
        return [np.zeros((self.buffer.depth, *shape_of(t)), dtype=dtype_of(elem_of(t))) for _, t, _ in leaves(self.buffer.type)]


class Execution:
    def __init__(
        self,
        process: ir.Process,
        streams: dict[ir.Channel, TokenQueue],
        banks: dict[ir.Buffer, Banks],
        room: dict[ir.Channel, int | None],
        bounded: bool,
    ) -> None:
        self.process, self.streams, self.banks, self.room, self.bounded = process, streams, banks, room, bounded
        self.nodes = process.nodes()
        self.reads = process.of(ir.Read)
        self.writes = process.of(ir.Write)
        locks_load = any(lock.role == "load" for lock in process.locks)
        self.rings = [n for n in process.effects if isinstance(n.op, (ir.Store, ir.Load)) and n.op.buffer.ring]
        self.locks = [lock for lock in process.locks if not lock.buffer.ring]
        self.source = process.command is None and not self.reads and not locks_load
        if self.source:
            self.room = {c: c.depth if r is None else r for c, r in room.items()}
        self.most = max(8, min(8192, ELEMENTS_AT_ONCE // max_elements(self.nodes)))
        self.state: dict[ir.Node, Any] = {}
        self.held: dict[ir.Buffer, list[Rows] | None] = {lock.buffer: None for lock in self.locks}
        self.plan: Iterations | None = None
        self.at = 0
        self.needs: list[tuple[ir.Node, Rows]] = []
        self.potential: list[tuple[ir.Node, Rows]] = []
        self.starts: list[tuple[ir.Lock, Rows]] = []
        self.begins: dict[int, Rows] = {}  # by lock level, -1 always there
        self.blocked = ""

    def where(self, node: ir.Node) -> str:
        return f"process {self.process.name}, {node.where}"

    def waiting(self) -> str | None:
        """Return what a half-done nest waits for, None if it is not half done."""
        if self.plan is None or self.at == self.plan.count:
            return None
        if self.process.command is None and self.begins[-1][self.at]:
            return None
        loops = ", ".join(f"{loop.name}={c[self.at]}" for loop, c in zip(self.process.loops, self.plan.counters, strict=True))
        return f"process {self.process.name} at {loops} waits for {self.blocked}"

    def refill(self) -> bool:
        """Add the next commands (or executions of a nest without command) to the plan."""
        command: list[Rows] = []
        if self.process.command is not None:
            stream = self.streams[self.process.command]
            executions = min(stream.count, 1 if self.bounded else self.most)
            if not executions:
                self.blocked = self.process.command.name
                return False
            command = stream.take(executions)
        else:
            size = max(1, expand(self.process, [], 1).count) if self.plan is None else max(1, self.plan.count)
            executions = max(1, min(self.most // size, 256)) if self.plan is None else 0
        if executions:
            self.plan = expand(self.process, command, executions)
            self.prepare(self.plan)
        self.at = 0
        assert self.plan is not None
        if self.plan.count == 0 and self.process.command is None:
            self.blocked = "nothing: its nest is empty"
            return False
        return True

    def prepare(self, plan: Iterations) -> None:
        """Count the tokens read, tokens that may be written and scopes started, up to and including each iteration."""
        flags, n = plan.flags(), plan.count

        def running(when: ir.Node | None) -> Rows:
            if when is None or not ir.is_control(when):
                return np.arange(1, n + 1)
            values = control(self.process, [when], flags, plan.command, n)
            return np.cumsum(spread(values[when], n))

        self.needs = [(r, running(r.args[0] if r.args else None)) for r in self.reads]
        self.potential = [(w, running(ir.write_parts(w).when)) for w in self.writes]
        self.begins = {level: plan.starts(level) for level in {-1, *(lock.level for lock in self.locks)}}
        self.starts = [(lock, np.cumsum(self.begins[lock.level])) for lock in self.locks]
        self.elements = [(node, running(ir.element_flag(node))) for node in self.rings]

    def runnable(self) -> int:
        """Return how many of the planned iterations can run now."""
        assert self.plan is not None
        count = min(self.plan.count - self.at, self.most)

        def limit(total: Rows, available: int, what: str) -> None:
            nonlocal count
            before = int(total[self.at - 1]) if self.at else 0
            allowed = int(np.searchsorted(total[self.at : self.at + count], before + available, side="right"))
            if allowed < count:
                count, self.blocked = allowed, what

        if count == 0:
            return 0
        for node, total in self.needs:
            assert isinstance(node.op, ir.Read)
            limit(total, self.streams[node.op.channel].count, node.op.channel.name)
        for lock, total in self.starts:
            bank = self.banks[lock.buffer]
            if lock.role == "load":
                limit(total, len(bank.full), f"a full bank of {lock.buffer.name}")
            elif self.bounded:
                limit(total, lock.buffer.banks - bank.held - len(bank.full), f"a free bank of {lock.buffer.name}")
        for node, total in self.elements:
            assert isinstance(node.op, (ir.Store, ir.Load))
            bank = self.banks[node.op.buffer]
            if isinstance(node.op, ir.Load):
                limit(total, bank.elements.count, f"an element of {node.op.buffer.name}")
            elif self.bounded:
                limit(total, node.op.buffer.depth - bank.held, f"room in {node.op.buffer.name}")
        for node, total in self.potential:
            assert isinstance(node.op, ir.Write)
            capacity = self.room[node.op.channel]
            if capacity is not None:
                limit(total, capacity - self.streams[node.op.channel].count, f"room in {node.op.channel.name}")
        return count

    def run(self) -> bool:
        """Run all iterations that can run; return whether any did."""
        if (self.plan is None or self.at == self.plan.count) and not self.refill():
            return False
        assert self.plan is not None
        if self.plan.count == 0:
            return True
        count = self.runnable()
        if count == 0:
            return False
        self.iterate(self.at, count)
        self.at += count
        if self.at == self.plan.count and self.process.command is not None:
            self.plan, self.at = None, 0
        return True

    def iterate(self, at: int, count: int) -> None:
        plan = self.plan
        assert plan is not None
        span = slice(at, at + count)
        part = Iterations(
            count,
            plan.execution[span],
            [c[span] for c in plan.command],
            [c[span] for c in plan.counters],
            [b[span] for b in plan.bounds],
        )
        flags = part.flags()
        values: dict[ir.Node, Any] = {}
        scopes = self.scopes(at, count)
        for node in self.nodes:
            op = node.op
            if op in flags:
                values[node] = flags[op]
            elif isinstance(op, ir.Command):
                values[node] = part.command if isinstance(node.type, Struct) else part.command[0]
            elif isinstance(op, ir.Part):
                values[node] = values[node.args[0]][part_index(node)]
            elif isinstance(op, ir.Read):
                columns = self.read(node, [values[a] for a in node.args], count)
                values[node] = columns if isinstance(node.type, Struct) else columns[0]
            elif isinstance(op, ir.Load) and op.buffer.ring:
                columns = self.replay(node, *(spread(values[a], count) for a in node.args))
                values[node] = columns if isinstance(node.type, Struct) else columns[0]
            elif isinstance(op, ir.Load):
                columns = self.load(node, spread(values[node.args[0]], count), scopes[op.buffer])
                values[node] = columns if isinstance(node.type, Struct) else columns[0]
            elif isinstance(op, ir.Accumulate):
                values[node] = self.accumulate(node, *(spread(values[a], count) for a in node.args))
            elif isinstance(op, ir.ShiftIn):
                values[node] = self.shift_in(node, [spread(values[a], count) for a in node.args])
            elif isinstance(op, ir.Delay):
                values[node] = self.delay(node, [spread(values[a], count) for a in node.args])
            elif isinstance(op, ir.Hold):
                values[node] = self.hold(node, *(spread(values[a], count) for a in node.args))
            elif isinstance(op, ir.Write):
                parts = ir.write_parts(node)
                columns = [spread(values[v], count) for v in parts.values]
                if parts.when is not None:
                    chosen = spread(values[parts.when], count) != 0
                    columns = [c[chosen] for c in columns]
                self.streams[op.channel].push(columns)
            elif isinstance(op, ir.Store) and op.buffer.ring:
                self.append(node, values, count)
            elif isinstance(op, ir.Store):
                self.store(node, values, scopes[op.buffer], count)
            else:
                values[node] = evaluate(node, [values[a] for a in node.args], self.where(node))
        self.close(scopes)

    def scopes(self, at: int, count: int) -> dict[ir.Buffer, list[tuple[int, int, list[Rows], bool]]]:
        """Return the scopes of these iterations by buffer: first row, end row, bank, and whether the scope ends with its
        last row."""
        out: dict[ir.Buffer, list[tuple[int, int, list[Rows], bool]]] = {}
        assert self.plan is not None
        for lock in self.locks:
            starts = self.begins[lock.level]
            begins = np.flatnonzero(starts[at : at + count]).tolist()
            edges = sorted({0, *begins, count})
            bank = self.banks[lock.buffer]
            spans = []
            for begin, end in pairwise(edges):
                if starts[at + begin]:
                    self.held[lock.buffer] = bank.full.popleft() if lock.role == "load" else bank.fresh()
                    bank.held += 1
                held = self.held[lock.buffer]
                assert held is not None
                over = at + end == self.plan.count or bool(starts[at + end])
                spans.append((begin, end, held, over))
            out[lock.buffer] = spans
        return out

    def close(self, scopes: dict[ir.Buffer, list[tuple[int, int, list[Rows], bool]]]) -> None:
        for lock in self.locks:
            bank = self.banks[lock.buffer]
            for _, _, held, over in scopes[lock.buffer]:
                if over:
                    bank.held -= 1
                    if lock.role == "store":
                        bank.full.append(held)

    def read(self, node: ir.Node, args: list[Rows], count: int) -> list[Rows]:
        assert isinstance(node.op, ir.Read)
        stream = self.streams[node.op.channel]
        if not args:
            return stream.take(count)
        when = spread(args[0], count) != 0
        fresh = stream.take(int(when.sum()))
        before = self.state.get(node)
        position = np.cumsum(when)
        if before is None:
            if position[0] == 0 and not node.op.absent:
                raise KernelError(f"{self.where(node)}: channel {node.op.channel.name} is held before any read")
            before = [np.zeros((1, *c.shape[1:]), dtype=c.dtype) for c in fresh]
        columns = [np.concatenate([b, c]) for b, c in zip(before, fresh, strict=True)]
        self.state[node] = [c[-1:] for c in columns]
        return [c[position] for c in columns]

    def load(self, node: ir.Node, address: Rows, scopes: list[tuple[int, int, list[Rows], bool]]) -> list[Rows]:
        assert isinstance(node.op, ir.Load)
        if address.max(initial=0) >= node.op.buffer.depth:
            raise KernelError(f"{self.where(node)}: load({node.op.buffer.name}) at {address.max()} of {node.op.buffer.depth}")
        parts = [[column[address[begin:end]] for column in bank] for begin, end, bank, _ in scopes]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def replay(self, node: ir.Node, address: Rows, fresh: Rows, free: Rows, _: Rows) -> list[Rows]:
        """Read the window of a ring, run by run of iterations that all take elements or all do not."""
        assert isinstance(node.op, ir.Load)
        bank, parts = self.banks[node.op.buffer], []
        if address.max(initial=0) >= node.op.buffer.window:
            raise KernelError(
                f"{self.where(node)}: replay({node.op.buffer.name}) at {address.max()} of {node.op.buffer.window}"
            )
        edges = [0, *(np.flatnonzero(np.diff(fresh != 0)) + 1).tolist(), len(fresh)]
        for begin, end in pairwise(edges):
            at = address[begin:end]
            if fresh[begin]:
                taken = bank.elements.take(end - begin)
                for memory, column in zip(bank.window, taken, strict=True):
                    memory[at] = column
                parts.append(taken)
            else:
                parts.append([memory[at] for memory in bank.window])
        bank.held -= int((free != 0).sum())
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def append(self, node: ir.Node, values: dict[ir.Node, Any], count: int) -> None:
        assert isinstance(node.op, ir.Store)
        parts, bank = ir.store_parts(node), self.banks[node.op.buffer]
        columns = [spread(values[v], count) for v in parts.values]
        if parts.when is not None:
            chosen = spread(values[parts.when], count) != 0
            columns = [c[chosen] for c in columns]
        bank.elements.push(columns)
        bank.held += len(columns[0])

    def store(
        self, node: ir.Node, values: dict[ir.Node, Any], scopes: list[tuple[int, int, list[Rows], bool]], count: int
    ) -> None:
        assert isinstance(node.op, ir.Store)
        parts = ir.store_parts(node)
        address = spread(values[parts.address], count)
        columns = [spread(values[v], count) for v in parts.values]
        active = np.ones(count, dtype=bool) if parts.when is None else spread(values[parts.when], count) != 0
        if active.any() and address[active].max() >= node.op.buffer.depth:
            raise KernelError(
                f"{self.where(node)}: store({node.op.buffer.name}) at {address[active].max()} of {node.op.buffer.depth}"
            )
        mask = None if parts.mask is None else spread(values[parts.mask], count) != 0
        for begin, end, bank, _ in scopes:
            rows = begin + np.flatnonzero(active[begin:end])
            for memory, column in zip(bank, columns, strict=True):
                if mask is None:
                    memory[address[rows]] = column[rows]
                else:
                    row, lane = np.nonzero(mask[rows])
                    memory[address[rows][row], lane] = column[rows[row], lane]

    def accumulate(self, node: ir.Node, x: Rows, clear: Rows) -> Rows:
        assert isinstance(node.op, ir.Accumulate) and not isinstance(node.type, Struct)
        e, op = elem_of(node.type), REDUCE[node.op.kind]
        fresh = clear != 0
        x = settle(x, e).copy()
        if not fresh[0]:
            if node not in self.state:
                raise KernelError(f"{self.where(node)}: accumulate is not cleared in its first iteration")
            x[0] = op(self.state[node], x[0])
        begin = np.maximum.accumulate(np.where(fresh, np.arange(len(x)), 0))
        if node.op.kind == "add":
            total = np.cumsum(x, axis=0, dtype=x.dtype)
            out = total - (total[begin] - x[begin])
        else:
            out, step, longest = x, 1, int((np.arange(len(x)) - begin).max()) + 1
            while step < longest:
                inside = (np.arange(step, len(x)) - step >= begin[step:]).reshape(-1, *([1] * (x.ndim - 1)))
                out = np.concatenate([out[:step], np.where(inside, op(out[step:], out[:-step]), out[step:])])
                step *= 2
        if not in_range(out, e):
            raise KernelError(f"{self.where(node)}: accumulate reaches {out.min()}..{out.max()}, its type is {e}")
        self.state[node] = out[-1].copy()
        return np.asarray(out)

    def shift_in(self, node: ir.Node, args: list[Rows]) -> Rows:
        assert isinstance(node.op, ir.ShiftIn)
        x, n = args[0], node.op.count
        history = self.state.get(node)
        if history is None:
            history = np.zeros((n, *x.shape[1:]), dtype=x.dtype)
        when = args[1] != 0 if len(args) > 1 else np.ones(len(x), dtype=bool)
        line = np.concatenate([history, x[when]])
        self.state[node] = line[-n:]
        return np.asarray(line[np.cumsum(when)[:, None] + np.arange(n)])

    def delay(self, node: ir.Node, args: list[Rows]) -> Rows:
        """Give the taps of a delay line. What nothing was shifted in for is the largest number, for misuse to show."""
        op = node.op
        assert isinstance(op, ir.Delay) and not isinstance(node.type, Struct)
        when = args[3] != 0 if op.guarded else np.ones(len(args[0]), dtype=bool)
        x, n, clear = (a[when] for a in args[:3])
        if len(n) and not op.least <= n.min() <= n.max() <= op.most:
            raise KernelError(f"{self.where(node)}: a delay of {n.min()}..{n.max()} values, not {op.least}..{op.most}")
        nothing = np.full((1, op.count, *x.shape[1:]), elem_of(node.type).high, dtype=x.dtype)
        line, begin, before = self.state.get(node, (x[:0], -1, nothing))
        if len(x) and begin < 0 and not clear[0]:
            raise KernelError(f"{self.where(node)}: delay is not cleared in its first shift")
        here = len(line) + np.arange(len(x))
        line = np.concatenate([line, x])
        begins = np.maximum.accumulate(np.where(clear != 0, here, begin))
        at = here[:, None] - n[:, None] * np.arange(1, op.count + 1)
        there = (at >= begins[:, None]).reshape(*at.shape, *([1] * (x.ndim - 1)))
        found = np.where(there, line[np.maximum(at, 0)], nothing) if len(x) else np.repeat(nothing, 0, axis=0)
        out = np.concatenate([before, found])
        dropped = max(0, len(line) - op.count * op.most)
        begin = max(0, int(begins[-1]) - dropped) if len(x) else begin
        self.state[node] = (line[dropped:], begin, out[-1:])
        return np.asarray(out[np.cumsum(when)])

    def hold(self, node: ir.Node, x: Rows, when: Rows) -> Rows:
        position = np.maximum.accumulate(np.where(when != 0, np.arange(1, len(x) + 1), 0))
        before = self.state.get(node)
        if before is None:
            if position[0] == 0:
                raise KernelError(f"{self.where(node)}: hold before its predicate was ever true")
            before = np.zeros((1, *x.shape[1:]), dtype=x.dtype)
        line = np.concatenate([before, x])
        out = line[position]
        self.state[node] = out[-1:]
        return out
