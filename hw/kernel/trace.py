"""Blocks and processes: the entry point of the kernel language.

A process is a Python function that runs once, on values that stand for one iteration; its operations are recorded in the IR."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from edgewright.hw.kernel import ir
from edgewright.hw.kernel.source import origin, place_of, run, statements, watched
from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.types import (
    Array,
    Data,
    Done,
    Int,
    Leaf,
    Request,
    Struct,
    Type,
    check_identifier,
    elem_of,
    leaf,
    leaves,
    of_range,
    shape_of,
    u,
)
from edgewright.hw.kernel.value import (
    Operand,
    StructValue,
    Value,
    as_value,
    cast,
    const,
    dot,
    loop_of,
    make,
    nest,
    unsigned,
)

Bound = int | Callable[..., Any]


def place(type_: Type, node: ir.Node, leading: tuple[int, ...] = ()) -> Any:
    """Return the Value or StructValue of a source node of `type_`; `leading` axes precede those of each leaf."""
    if not isinstance(type_, Struct):
        return Value(node)
    parts = {}
    for path, t, _ in leaves(type_):
        part = leaf(elem_of(t), leading + shape_of(t))
        parts[path] = Value(ir.Node(ir.Part(path), (node,), part, node.where))
    return nest(type_, parts)


class ProcessTrace:
    """The `p` of a process body: what it may do besides arithmetic."""

    def __init__(self, name: str, counters: Sequence[Value]) -> None:
        self.name = name
        self.counters = counters
        self.effects: list[ir.Node] = []
        self.locks: dict[ir.Buffer, int] = {}

    def _fail(self, message: str) -> TypeError:
        return TypeError(f"process {self.name}, {origin()}: {message}")

    def _control(self, when: Operand, what: str) -> Value:
        value = self._flag(when, what)
        if not ir.is_control(value.node):
            raise self._fail(f"{what} depends on data; only counters and command fields are known at issue")
        return value

    def _flag(self, when: Operand, what: str) -> Value:
        value = as_value(when)
        if value.type != u(1):
            raise self._fail(f"{what} is a scalar u1, not {value.type}")
        return value

    def _effect(self, op: ir.Op, args: Iterable[Value], type_: Type) -> ir.Node:
        node = ir.Node(op, tuple(a.node for a in args), type_, origin())
        self.effects.append(node)
        return node

    def read(self, channel: ir.Channel, when: Operand = True, absent: bool = False) -> Any:
        """Return the next token where `when` (counters and command only), else the last one read.

        With `absent`, the value is zero before the first token; without it, holding before any read is an error."""
        if not isinstance(channel, ir.Channel):
            raise self._fail(f"{channel!r} is not a channel")
        if any(isinstance(n.op, ir.Read) and n.op.channel is channel for n in self.effects):
            raise self._fail(f"channel {channel.name} is read twice")
        if channel.reader is not None:
            raise self._fail(f"channel {channel.name} already has a reader, {channel.reader}: fork it")
        args = [] if when is True else [self._control(when, f"the predicate of read({channel.name})")]
        node = self._effect(ir.Read(channel, bool(args), absent), args, channel.type)
        return place(channel.type, node)

    def write(self, channel: ir.Channel, value: Operand, when: Operand = True) -> None:
        """Write one token where `when` (may depend on data). The value must have exactly the channel's type; ints are
        converted."""
        if not isinstance(channel, ir.Channel):
            raise self._fail(f"{channel!r} is not a channel")
        if any(isinstance(n.op, ir.Write) and n.op.channel is channel for n in self.effects):
            raise self._fail(f"channel {channel.name} is written twice: select the value instead")
        if channel.writer is not None:
            raise self._fail(f"channel {channel.name} already has a writer, {channel.writer}")
        args = self._parts(channel.type, value, f"channel {channel.name}")
        if when is not True:
            args.append(self._flag(when, f"the predicate of write({channel.name})"))
        self._effect(ir.Write(channel, when is not True), args, u(1))

    def _parts(self, type_: Type, value: Operand, target: str) -> list[Value]:
        """Return the leaves of `value`, checked against `type_`."""
        parts: list[Value] = []
        if isinstance(type_, Struct):
            if not isinstance(value, StructValue):
                raise self._fail(f"{target} takes struct {type_.name}, not {value!r}")
            if set(value._fields) != {k for k, _ in type_.fields}:
                expected = [k for k, _ in type_.fields]
                raise self._fail(f"{target} takes struct {type_.name} with {expected}, not {list(value._fields)}")
            for key, part in type_.fields:
                parts += self._parts(part, value._fields[key], f"{target}.{key}")
            return parts
        if isinstance(value, StructValue):
            raise self._fail(f"{target} takes {type_}, not a struct")
        v = as_value(value)
        if isinstance(v.node.op, ir.Const) and v.shape in ((), shape_of(type_)):
            try:
                return [const(np.array(v.node.op.values, dtype=object).reshape(v.shape), type_)]
            except ValueError as e:
                raise self._fail(f"{target} takes {type_}: {e}") from None
        if v.type != type_:
            raise self._fail(f"{target} takes {type_}, not {v.type}: wrap, sat or fit the value")
        return [v]

    def lock(self, buffer: ir.Buffer, per: Value | None = None) -> None:
        """Hold one bank of `buffer` for each iteration of loop `per`, or for the whole nest. Without a lock a buffer is held
        per nest."""
        if not isinstance(buffer, ir.Buffer):
            raise self._fail(f"{buffer!r} is not a buffer")
        if buffer in self.locks:
            raise self._fail(f"buffer {buffer.name} is locked twice")
        self.locks[buffer] = -1 if per is None else loop_of(per)

    def _address(self, address: Operand, depth: int, what: str) -> Value:
        at = unsigned(as_value(address), f"address of {what}")
        if len(at.shape) > 1:
            raise self._fail(f"the address of {what} is a scalar or vector, not {at.type}")
        high = max(at.node.op.values) if isinstance(at.node.op, ir.Const) else at.elem.high
        if high >= depth and (1 << (depth - 1).bit_length()) <= high:
            bits = max(1, (depth - 1).bit_length())
            raise self._fail(f"the address of {what} is {at.elem} for a depth of {depth}: wrap or clamp it to u{bits}")
        return at

    def replay(self, ring: ir.Buffer, address: Operand, fresh: Operand, free: Operand, last: Operand) -> Any:
        """Return the element at `address` of the window of a ring; where `fresh`, take it from the writer first: the n-th that
        a window takes is at address n. Where `free`, give back the oldest element; where `last`, the window ends, and as many
        must have been given back as were taken. At an address that the window has not taken, the value is any."""
        at = self._address(address, ring.window, f"replay({ring.name})")
        if not ring.ring or at.shape:
            raise self._fail(f"replay({ring.name}) takes a ring and a scalar address")
        if ring.reader is not None:
            raise self._fail(f"ring {ring.name} already has a reader, {ring.reader}")
        flags = [self._control(flag, f"a flag of replay({ring.name})") for flag in (fresh, free, last)]
        return place(ring.type, self._effect(ir.Load(ring), (at, *flags), ring.type))

    def append(self, ring: ir.Buffer, value: Operand, when: Operand = True) -> None:
        """Append an element to a ring where `when` (counters and command only)."""
        if not ring.ring:
            raise self._fail(f"buffer {ring.name} is not a ring")
        self._control(when, f"the predicate of append({ring.name})")
        self.store(ring, 0, value, when=when)

    def load(self, buffer: ir.Buffer, address: Operand) -> Any:
        """Return the element at `address`; a vector of n addresses gives a leading axis of n (n read ports)."""
        at = self._address(address, buffer.depth, f"load({buffer.name})")
        if any(isinstance(n.op, ir.Store) and n.op.buffer is buffer for n in self.effects):
            raise self._fail(f"buffer {buffer.name} is both stored to and loaded from here")
        if buffer.reader not in (None, self.name):
            raise self._fail(f"buffer {buffer.name} already has a reader, {buffer.reader}")
        type_ = buffer.type
        if not isinstance(type_, Struct):
            type_ = leaf(elem_of(type_), at.shape + shape_of(type_))
        return place(buffer.type, self._effect(ir.Load(buffer), (at,), type_), at.shape)

    def store(
        self, buffer: ir.Buffer, address: Operand, value: Operand, mask: Operand | None = None, when: Operand = True
    ) -> None:
        """Write the element at `address` if `when`: all of it, or the lanes of its first axis where `mask`."""
        at = self._address(address, buffer.depth, f"store({buffer.name})")
        if at.shape:
            raise self._fail(f"the address of store({buffer.name}) is a scalar, not {at.type}")
        for n in self.effects:
            if isinstance(n.op, ir.Store | ir.Load) and n.op.buffer is buffer:
                raise self._fail(f"buffer {buffer.name} is already stored to or loaded from here")
        if buffer.writer is not None:
            raise self._fail(f"buffer {buffer.name} already has a writer, {buffer.writer}")
        args = [at, *self._parts(buffer.type, value, f"buffer {buffer.name}")]
        if mask is not None:
            lanes = as_value(mask)
            shape = () if isinstance(buffer.type, Struct) else shape_of(buffer.type)
            if not shape or lanes.type != u(1)[shape[0]]:
                raise self._fail(f"the mask of store({buffer.name}) of {buffer.type} elements has type {lanes.type}")
            args.append(lanes)
        if when is not True:
            args.append(self._flag(when, f"the predicate of store({buffer.name})"))
        self._effect(ir.Store(buffer, when is not True, mask is not None), args, u(1))

    def lookup(self, rom: ir.Rom, index: Operand) -> Value:
        """Return rom[index]; `index` is a scalar or a vector."""
        at = self._address(index, len(rom.values), f"lookup({rom.name})")
        return make(ir.Lookup(rom), (at,), leaf(elem_of(rom.type), at.shape + shape_of(rom.type)))

    def accumulate(self, x: Operand, clear: Operand, op: ir.ReduceKind = "add", type: Leaf | None = None) -> Value:
        """Return the running value including x, restarted where `clear`. `type` (an element type, default x's) must hold it."""
        if op not in ("add", "max", "min", "or"):
            raise self._fail(f"accumulate op {op!r}; there are add, max, min and or")
        v = as_value(x)
        e = v.elem if type is None else elem_of(type)
        if not e.holds(v.elem):
            raise self._fail(f"accumulate of {v.type} in {e}, which is narrower")
        flag = self._flag(clear, "the clear of accumulate")
        return Value(self._effect(ir.Accumulate(op), (v, flag), leaf(e, v.shape)))

    def shift_in(self, x: Operand, n: int, when: Operand = True) -> Value:
        """Return the last n values of x over iterations (where `when`), index n-1 the newest; zeros before."""
        v = as_value(x)
        args = [v] if when is True else [v, self._flag(when, "the predicate of shift_in")]
        return Value(self._effect(ir.ShiftIn(n, when is not True), args, leaf(v.elem, (n, *v.shape))))

    def hold(self, x: Operand, when: Operand) -> Any:
        """Return x where `when`, else the last x for which `when` held. Structs field by field."""
        if isinstance(x, StructValue):
            return StructValue({k: self.hold(v, when) for k, v in x._fields.items()}, x._name)
        v = as_value(x)
        return Value(self._effect(ir.Hold(), (v, self._flag(when, "the predicate of hold")), v.type))

    def delay(self, x: Operand, n: Operand, most: int, *, clear: Operand, count: int = 1, when: Operand = True) -> Value:
        """Return x of n, 2 n ... `count` n iterations ago (where `when`), index 0 the latest; any value before as many have
        passed since `clear`, which starts anew. `n`: from the command, at most `most` and at least 1, or 3 where `most` is
        above 64 and the line therefore in block RAM."""
        v, length = as_value(x), unsigned(as_value(n), "length of a delay")
        if count < 1 or most < 1:
            raise self._fail(f"a delay of {count} taps, {most} values apart at most")
        if length.shape or any(
            isinstance(each.op, (ir.Counter, ir.First, ir.Last)) or not ir.is_control(each)
            for each in ir.topological([length.node])
        ):
            raise self._fail("the length of a delay is a scalar that depends on the command only")
        args = [v, length, self._flag(clear, "the clear of delay")]
        if when is not True:
            args.append(self._flag(when, "the predicate of delay"))
        return Value(self._effect(ir.Delay(count, most, when is not True), args, leaf(v.elem, (count, *v.shape))))

    def dot(self, a: Operand, w: Operand) -> Value:
        """See `dot`."""
        return dot(a, w)


class Block:
    """A set of processes joined by channels and buffers. `program` is what has been declared so far."""

    def __init__(self, name: str) -> None:
        self.name = check_identifier(name, "block")
        self.program = ir.Program(name)
        self._names: set[str] = set()

    def _name(self, name: str, what: str) -> str:
        check_identifier(name, what)
        if name.lower() in self._names:
            raise ValueError(f"block {self.name} already has something named {name}")
        self._names.add(name.lower())
        return name

    def channel(self, name: str, type: Type, depth: int = 2, slack: int | None = None) -> ir.Channel:
        """Declare a FIFO between two processes. See `ir.Channel` for depth and slack."""
        if depth < 1 or (slack is not None and slack < 0):
            raise ValueError(f"channel {name}: depth {depth} slack {slack}")
        made = ir.Channel(self._name(name, "channel"), type, depth, slack)
        self.program.channels.append(made)
        return made

    def input(self, name: str, type: Type, depth: int = 2) -> ir.Channel:
        """Declare a stream port into the block, followed by a small FIFO."""
        port = self.channel(name, type, depth, 0)
        port.writer = f"input {name}"
        self.program.inputs.append(port)
        return port

    def output(self, name: str, type: Type, depth: int = 2) -> ir.Channel:
        """Declare a stream port out of the block."""
        port = self.channel(name, type, depth)
        port.reader = f"output {name}"
        self.program.outputs.append(port)
        return port

    def buffer(
        self,
        name: str,
        type: Type,
        depth: int,
        banks: int = 2,
        style: Literal["auto", "block", "distributed", "ultra"] = "auto",
    ) -> ir.Buffer:
        """Declare a memory of `banks` x `depth` elements, passed bank by bank from one writer to one reader process."""
        if depth < 1 or banks < 1:
            raise ValueError(f"buffer {name}: depth {depth} banks {banks}")
        made = ir.Buffer(self._name(name, "buffer"), type, depth, banks, style)
        self.program.buffers.append(made)
        return made

    def ring(
        self,
        name: str,
        type: Type,
        depth: int,
        window: int,
        style: Literal["auto", "block", "distributed", "ultra"] = "auto",
    ) -> ir.Buffer:
        """Declare a memory of `depth` elements, passed one by one from one writer to one reader process, which reads windows of
        up to `window` of them several times. See `ir.Buffer`."""
        if not 1 <= window <= depth:
            raise ValueError(f"ring {name}: depth {depth} window {window}")
        made = ir.Buffer(self._name(name, "ring"), type, depth, 1, style, ring=True, window=window)
        self.program.buffers.append(made)
        return made

    def rom(self, name: str, type: Leaf, values: Any) -> ir.Rom:
        """Declare a constant table of elements of `type`; `values` has one more leading axis than the type."""
        array = np.array(values, dtype=object)
        if isinstance(type, Struct) or array.ndim != 1 + len(shape_of(type)) or array.shape[1:] != shape_of(type):
            raise TypeError(f"rom {name}: values of shape {array.shape} for elements of {type}")
        e = elem_of(type)
        rows = tuple(tuple(int(v) for v in np.ravel(row)) for row in array)
        for at, row in enumerate(rows):
            if not all(e.low <= v <= e.high for v in row):
                raise ValueError(f"rom {name}[{at}] = {row} does not fit {type}")
        made = ir.Rom(self._name(name, "rom"), type, rows)
        self.program.roms.append(made)
        return made

    def _join(self, channel: ir.Channel, type_: Type, who: str, reads: bool) -> None:
        if channel.type != type_:
            raise TypeError(f"{who} takes {type_}, channel {channel.name} is {channel.type}")
        taken = channel.reader if reads else channel.writer
        if taken is not None:
            raise TypeError(f"{who}: channel {channel.name} is already {'read' if reads else 'written'} by {taken}")
        if reads:
            channel.reader = who
        else:
            channel.writer = who

    def on_chip_memory(self, words: int, banks: int) -> None:
        """Put an on-chip memory at the first `words` words of the address space, for movers with `hub`. Powers of two."""
        if words & (words - 1) or banks & (banks - 1) or not 2 <= banks <= words // 2:
            raise ValueError(f"on-chip memory has powers of two of words and banks, not {words} and {banks}")
        self.program.on_chip = ir.OnChipMemory(words, banks)

    def axi_read(self, name: str, requests: ir.Channel, data: ir.Channel, hub: bool = False, ahead: int = 64) -> None:
        """Add a mover that reads `beats` 16-byte beats from `addr` for each request (types Request and Data of types.py).

        ``hub``: on-chip memory serves its addresses; ``ahead``: beats that are asked for before they are taken."""
        who = f"axi_read {self._name(name, 'axi')}"
        self._join(requests, Request, who, reads=True)
        self._join(data, Data, who, reads=False)
        self.program.axi.append(ir.AxiPort(name, requests, data, None, hub, ahead))

    def axi_write(self, name: str, requests: ir.Channel, data: ir.Channel, done: ir.Channel, hub: bool = False) -> None:
        """Add a mover that writes data for each request; it gives one `done` token (value 1) when every beat up to and
        including
        a request with mark = 1 has been acknowledged."""
        who = f"axi_write {self._name(name, 'axi')}"
        self._join(requests, Request, who, reads=True)
        self._join(data, Data, who, reads=True)
        self._join(done, Done, who, reads=False)
        self.program.axi.append(ir.AxiPort(name, requests, data, done, hub))

    def fork(self, channel: ir.Channel, n: int, depth: int = 2) -> list[ir.Channel]:
        """Return n copies of a stream, named <channel>_0 ...; a process forwards each token when all have room."""
        copies = [self.channel(f"{channel.name}_{k}", channel.type, depth) for k in range(n)]

        def copy(p: ProcessTrace, i: Value) -> None:
            token = p.read(channel)
            for each in copies:
                p.write(each, token)

        self.process(loops=[("i", 1)], name=f"{channel.name}_fork")(copy)
        return copies

    def process(
        self,
        command: ir.Channel | None = None,
        loops: Sequence[tuple[str, Bound]] = (("i", 1),),
        name: str | None = None,
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: trace `body(p[, c], *loop_variables)` as a process named after the function."""

        def trace(body: Callable[..., Any]) -> Callable[..., Any]:
            self._trace(self._name(name or body.__name__, "process"), command, loops, body)
            return body

        return trace

    def _trace(
        self, name: str, command: ir.Channel | None, loops: Sequence[tuple[str, Bound]], body: Callable[..., Any]
    ) -> None:
        head: list[Any] = []
        if command is not None:
            if command.reader is not None:
                raise TypeError(f"process {name}: channel {command.name} already has a reader, {command.reader}")
            head.append(place(command.type, ir.Node(ir.Command(), (), command.type, origin())))
        counters: list[Value] = []
        made: list[ir.Loop] = []
        if not loops:
            raise TypeError(f"process {name} has no loop")
        if len({key for key, _ in loops}) != len(loops):
            raise TypeError(f"process {name} has two loops of one name")
        for level, (key, bound) in enumerate(loops):
            check_identifier(key, f"process {name}: loop")
            made_bound, top = self._bound(name, key, bound, [*head, *counters])
            counter = Value(ir.Node(ir.Counter(level), (), of_range(0, top), origin()))
            counters.append(counter)
            made.append(ir.Loop(key, made_bound, counter.node))
        p = ProcessTrace(name, counters)
        if command is not None:
            command.reader = name
        names, inner = named(body, (p, *head, *counters))
        if command is not None and any(isinstance(n.op, ir.Read) and n.op.channel is command for n in p.effects):
            raise TypeError(f"process {name}: {command.name} is its command channel, it cannot be read too")
        for loop in made:
            names[loop.counter] = loop.name
        locks, doc = self._join_all(name, p), inspect.getdoc(body) or ""
        self.program.processes.append(
            ir.Process(
                *(name, command, tuple(made), tuple(p.effects), locks, names, doc),
                inner=inner,
                place=place_of(body),
                statements=statements(body),
            )
        )

    def _bound(self, name: str, key: str, bound: Bound, known: list[Any]) -> tuple[int | ir.Node, int]:
        """Return the bound in IR form, and the largest value that the counter can take."""
        if callable(bound):
            count = len(inspect.signature(bound).parameters)
            bound = run(bound, *known[:count])
        if isinstance(bound, (int, np.integer)):
            if bound < 0:
                raise ValueError(f"process {name}: loop {key} runs {bound} times")
            return int(bound), max(0, int(bound) - 1)
        value = as_value(bound)
        if value.shape or value.signed:
            raise TypeError(f"process {name}: the bound of loop {key} is an unsigned scalar, not {value.type}: wrap or fit it")
        if isinstance(value.node.op, ir.Const):
            return value.node.op.values[0], max(0, value.node.op.values[0] - 1)
        if not ir.is_control(value.node):
            raise TypeError(f"process {name}: the bound of loop {key} depends on data")
        return value.node, max(0, value.elem.high - 1)

    def _join_all(self, name: str, p: ProcessTrace) -> tuple[ir.Lock, ...]:
        """Enter the process as reader and writer of its channels and buffers; return its locks."""
        roles: dict[ir.Buffer, Literal["store", "load"]] = {}
        for node in p.effects:
            if isinstance(node.op, ir.Read):
                node.op.channel.reader = name
            elif isinstance(node.op, ir.Write):
                node.op.channel.writer = name
            elif isinstance(node.op, ir.Store):
                node.op.buffer.writer = name
                roles[node.op.buffer] = "store"
            elif isinstance(node.op, ir.Load):
                node.op.buffer.reader = name
                roles[node.op.buffer] = "load"
        for buffer in p.locks:
            if buffer not in roles:
                raise TypeError(f"process {name} locks buffer {buffer.name} but neither stores to it nor loads from it")
        return tuple(ir.Lock(b, p.locks.get(b, -1), role) for b, role in roles.items())

    def check(self) -> ir.Program:
        """Return the program. TypeError that names every channel and buffer without a writer or a reader."""
        loose = []
        for c in self.program.channels:
            loose += [f"channel {c.name} has no {w}" for w, x in (("writer", c.writer), ("reader", c.reader)) if x is None]
        for b in self.program.buffers:
            loose += [f"buffer {b.name} has no {w}" for w, x in (("writer", b.writer), ("reader", b.reader)) if x is None]
        if loose:
            raise TypeError(f"block {self.name}: {'; '.join(loose)}")
        return self.program


def named(body: Callable[..., Any], args: tuple[Any, ...]) -> tuple[dict[ir.Node, str], dict[str, str]]:
    """Run the body; return the names of its values by local variable, and which of them come from functions that it calls.

    The process's own variables win over those of such a function; see `ir.Process.inner` for the second."""
    found: dict[ir.Node, tuple[int, str, bool]] = {}

    def enter(value: Any, depth: int, name: str, parameter: bool) -> None:
        if isinstance(value, Value):
            if value.node not in found or depth < found[value.node][0]:
                found[value.node] = depth, name, parameter
        elif isinstance(value, StructValue):
            for key, part in value._fields.items():
                enter(part, depth, f"{name}_{key}", parameter)

    watched(body, args, (Value, StructValue), enter)
    names: dict[ir.Node, str] = {}
    inner: dict[str, str] = {}
    taken = Symbols(set())
    for node, (depth, name, parameter) in sorted(found.items(), key=lambda item: item[1][0]):
        names[node] = taken.claim(name)
        if depth:
            inner[names[node]] = "" if parameter else name
    return names, inner


__all__ = ["Array", "Block", "Int", "ProcessTrace", "cast"]
