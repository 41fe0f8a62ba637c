"""Time every chain of a scheduled process, from register to register, by the table of `delays`.

The schedule decides where registers stand; this reads it and adds up what lies between them, the control of the nest and of
issue included, so that a mistake of the scheduler shows as a chain that is too long."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.delays import (
    DSP_NS,
    EFFECT_NS,
    GATE_NS,
    MARGIN_NS,
    REGISTER_NS,
    adder,
    bank_ns,
    bits_of,
    choice,
    clocked_latency,
    delay_ns,
    enabled_bits,
    equality,
    fan_out,
    guard_of,
    in_luts,
    lut_rows_ns,
    output_ns,
    uses_dsp,
)
from edgewright.hw.kernel.nest import depends_on
from edgewright.hw.kernel.placement import SOURCES, Placement
from edgewright.hw.kernel.types import elem_of, width

INPUTS_OF_A_GATE = 6
CREDIT_BITS, BANK_BITS = 8, 3
"""Of the counters of free places in a FIFO, and of banks: as many as most have."""


@dataclass(frozen=True, slots=True)
class Link:
    """A part of a chain: what it is, the source line that it comes from ("" for control that no line wrote), its delay."""

    what: str
    where: str
    ns: float


@dataclass(frozen=True, slots=True)
class Chain:
    """Logic between two registers of a process; ``ns`` includes the margin for setup and clock uncertainty. ``end``: where it
    goes."""

    process: str
    end: str
    ns: float
    links: tuple[Link, ...]

    @property
    def where(self) -> str:
        """The source line of its longest part that has one."""
        return max((link for link in self.links if link.where), key=lambda link: link.ns, default=Link("", "", 0.0)).where

    def __str__(self) -> str:
        parts = (f"{link.what} ({link.where})" if link.where else link.what for link in self.links)
        return f"{' > '.join(parts)} > {self.end}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a signal is stable after the clock edge, and through what."""

    ns: float
    links: tuple[Link, ...]

    def then(self, what: str, ns: float, where: str = "") -> Arrival:
        return Arrival(self.ns + ns, (*self.links, Link(what, where, ns))) if ns else self


NOW = Arrival(0.0, ())


def register(what: str, where: str = "", ns: float = REGISTER_NS) -> Arrival:
    return Arrival(ns, (Link(what, where, ns),))


def latest(arrivals: Iterable[Arrival]) -> Arrival:
    return max(arrivals, key=lambda arrival: arrival.ns, default=NOW)


def chains(process: ir.Process, stages: Placement) -> list[Chain]:
    """Return all chains of a process, the slowest first."""
    timed = Timed(process, stages, stages.order)
    timed.effects()
    found = sorted(timed.ends, key=lambda end: -end[1].ns)
    return [Chain(process.name, what, round(arrival.ns + MARGIN_NS, 3), arrival.links) for what, arrival in found]


def slowest_chains(program: ir.Program, placements: dict[str, Placement]) -> list[Chain]:
    """Return the slowest chain of each process, the slowest first."""
    slowest = [chains(process, placements[process.name])[0] for process in program.processes]
    return sorted(slowest, key=lambda chain: -chain.ns)


def issued(process: ir.Process, stages: Placement) -> Arrival:
    """Return when it is known that an iteration issues, once what decides it has its stages."""
    return Timed(process, stages, [node for node in stages.order if node in stages.ready]).issued


def driven_ns(node: ir.Node) -> float:
    """Return what an effect or running value adds to `issued`, in the stage of issue."""
    op = node.op
    if isinstance(op, ir.Write):
        return GATE_NS * op.guarded + EFFECT_NS + fan_out(width(op.channel.type))
    if isinstance(op, ir.Store):
        return GATE_NS * op.guarded + EFFECT_NS + GATE_NS + fan_out(width(op.buffer.type))
    if isinstance(op, ir.Load):  # the end of the lock, which moves the port to the next bank, or the window of a ring
        return 3 * GATE_NS + (bank_ns(op.buffer) + adder(op.buffer.depth.bit_length()) if op.buffer.ring else 0)
    return GATE_NS * (guard_of(node) is not None) + fan_out(enabled_bits(node))


def flag_of(process: ir.Process, stages: Placement, op: ir.Op, bound: Arrival) -> Arrival:
    """Return when a counter or flag of a loop is there. First is a register, and so is Last of a bound that has settled."""
    assert isinstance(op, SOURCES)
    if isinstance(op, ir.Following):
        return register(f"the next {type(op.of).__name__.lower()} {process.loops[op.of.loop].name}")
    name = process.loops[op.loop].name
    if isinstance(op, ir.Last) and not stages.settled(op.loop):
        ends = equality(elem_of(process.loops[op.loop].counter.type).bits)
        return latest((register(f"counter {name}"), bound)).then(f"last {name}", ends)
    return register(f"{type(op).__name__.lower()} {name}")


class Timed:
    """Arrivals of all nodes and control signals; `ends`: those that go into a register, with its name."""

    def __init__(self, process: ir.Process, stages: Placement, nodes: list[ir.Node]) -> None:
        self.process, self.stages = process, stages
        self.ends: list[tuple[str, Arrival]] = []
        self.value: dict[ir.Node, Arrival] = {}  # in the stage in which it is ready
        for node in nodes:
            self.node(node)
        self.nest()
        self.issue()

    def ends_in(self, what: str, arrival: Arrival) -> None:
        self.ends.append((what, arrival))

    def label(self, node: ir.Node) -> str:
        return self.stages.body.names.get(node, type(node.op).__name__.lower())

    # values ----------------------------------------------------------------------------------------------------------

    def at(self, node: ir.Node, stage: int) -> Arrival:
        """Return when a value is there in a stage: it comes from a register in all but the first."""
        if isinstance(node.op, ir.Const):
            return NOW
        return self.value[node] if self.stages.ready[node] >= stage else register(self.label(node), node.where)

    def node(self, node: ir.Node) -> None:
        op, start = node.op, self.stages.start[node]
        if isinstance(op, SOURCES):
            bound = self.bound(op.loop) if isinstance(op, ir.Last) else NOW
            self.value[node] = flag_of(self.process, self.stages, op, bound)
            return
        if isinstance(op, (ir.Read, ir.Command)):
            self.value[node] = register(f"the FIFO of {self.channel(op)}", node.where)
            return
        inputs = latest(self.at(a, start) for a in node.args)
        if isinstance(op, (ir.Write, ir.Store, ir.Load)):
            self.value[node] = register(self.label(node), node.where, output_ns(node))
            return  # see effects
        if uses_dsp(node):
            self.ends_in(f"the DSP of {self.label(node)}", inputs)
            self.ends_in("the DSP", inputs.then(self.label(node), DSP_NS - REGISTER_NS, node.where))
        through = inputs.then(self.label(node), delay_ns(node), node.where)
        clocked = clocked_latency(node) > 0
        if isinstance(op, ir.Lookup):
            entries = (len(op.rom.values) - 1).bit_length()
            self.ends_in(f"the table {op.rom.name}", register("its address").then("read", choice(entries), node.where))
        if isinstance(op, ir.Delay) and not op.block:
            place = register("a place", node.where).then(f"{bits_of(node)} bits", fan_out(bits_of(node) // 2))
            moved = place.then("read", GATE_NS).then("into the line", EFFECT_NS)
            self.ends_in(f"the line {self.label(node)}", moved)
        if in_luts(node):
            self.ends_in(f"the rows of {self.label(node)}", register("rows", node.where).then("two rows", lut_rows_ns()))
        if not uses_dsp(node):
            self.ends_in("a register", through)
        self.value[node] = register(self.label(node), node.where) if clocked else through

    def channel(self, op: ir.Read | ir.Command) -> str:
        channel = op.channel if isinstance(op, ir.Read) else self.process.command
        assert channel is not None
        return channel.name

    # the nest --------------------------------------------------------------------------------------------------------

    def counter_bits(self, level: int) -> int:
        return elem_of(self.process.loops[level].counter.type).bits

    def bound(self, level: int) -> Arrival:
        bound = self.stages.bound(level)
        if level in self.stages.following:
            return register(f"the bound of loop {self.process.loops[level].name}")
        return NOW if bound is None else self.at(bound, 0)

    def nest(self) -> None:
        """Time the flags that the loops have in common, up to the counters."""
        stages, loops = self.stages, self.process.loops
        bounds = stages.body.bounds
        last = [flag_of(self.process, stages, ir.Last(level), self.bound(level)) for level in range(len(loops))]
        zeros: dict[int, Arrival] = {}
        for level, bound in enumerate(bounds):
            if isinstance(bound, ir.Node):
                zeros[level] = self.bound(level).then("is it 0", equality(self.counter_bits(level)))
                if stages.settled(level):
                    self.ends_in(f"loop {loops[level].name} is empty", zeros[level])
                    zeros[level] = register(f"loop {loops[level].name} is empty")
        self.done: list[Arrival] = []
        for level in range(len(loops)):
            empties = [zero for k, zero in zeros.items() if k <= level or depends_on(bounds[k]) < level]
            self.done.append(latest((last[level], *empties)).then("done", GATE_NS) if empties else last[level])
        self.carry = [self.together(self.done[level + 1 :]) for level in range(len(loops))]
        for level, node in stages.following.items():
            moved = latest((self.at(node, 0), self.carry[0])).then("next", GATE_NS)
            self.ends_in(f"the bound of loop {loops[level].name}", moved)
        if stages.following:
            ahead = register(f"the next counter {loops[0].name}").then("plus two", adder(self.counter_bits(0)))
            ahead = latest((ahead, self.bound(0))).then("compare", equality(self.counter_bits(0)))
            self.ends_in(f"the next last {loops[0].name}", latest((ahead, self.carry[0])).then("next", GATE_NS))
        self.end = latest((self.carry[0], self.done[0])).then("end of the nest", GATE_NS)
        self.slot = latest((register("the command is there"), *zeros.values())).then("an iteration", GATE_NS)
        for level, loop in enumerate(loops):
            bits = self.counter_bits(level)
            if stages.settled(level):
                ahead = register(f"counter {loop.name}")
                ahead = ahead if stages.bound(level) is None else ahead.then("plus one", adder(bits))
                following = latest((ahead, self.bound(level))).then("compare", equality(bits))
                self.ends_in(f"last {loop.name}", latest((following, self.carry[level])).then("next", GATE_NS))
            following = register(f"counter {loop.name}").then("plus one", adder(bits))
            self.ends_in(f"counter {loop.name}", latest((following, self.done[level])).then("next", GATE_NS))
        if stages.issue:
            self.ends_in("an iteration waits", self.slot)
            self.ends_in("the end of the nest waits", self.end)
            self.slot, self.end = register("an iteration waits"), register("the end of the nest waits")

    def together(self, terms: list[Arrival], copies: int = 1) -> Arrival:
        """Return the conjunction of signals."""
        arrival, inputs = latest(terms), copies * len(terms)
        while inputs > 1:
            arrival, inputs = arrival.then("and", GATE_NS), -(-inputs // INPUTS_OF_A_GATE)
        return arrival

    # issue -----------------------------------------------------------------------------------------------------------

    def issue(self) -> None:
        """Time the decision to issue, and what it drives."""
        terms = [self.slot]
        self.known: dict[ir.Node, Arrival] = {}
        reserved: dict[ir.Channel, Arrival] = {}
        for effect in self.stages.body.effects:
            if isinstance(effect.op, ir.Read):
                known = self.at(effect.args[0], self.stages.issue) if effect.args else NOW
                terms.append(latest((register(f"{effect.op.channel.name} has a token", effect.where), known)))
                self.known[effect] = known
            elif isinstance(effect.op, ir.Write):
                part = self.stages.reserve[effect]
                known = NOW if part is None else self.at(part, self.stages.issue)
                room = register(f"room in {effect.op.channel.name}", effect.where)
                terms.append(latest((room, known)))
                reserved[effect.op.channel] = known
        for lock in self.process.locks:
            if lock.buffer.ring:
                flag = self.ring_flag(lock)
                known = NOW if flag is None else self.at(flag, self.stages.issue)
                there = register(f"elements of {lock.buffer.name}", self.where(lock.buffer))
                terms.append(latest((there.then("is there one", equality(CREDIT_BITS)), known)))
                continue
            free = register(f"banks of {lock.buffer.name}", self.where(lock.buffer)).then(
                "is there a bank", equality(BANK_BITS)
            )
            terms.append(free)
        self.issued = self.together(terms, 2).then("issue", 0)
        step = self.issued.then("step", GATE_NS)
        loads = sum(self.counter_bits(level) + 2 for level in range(len(self.process.loops))) + self.stages.waiting_bits
        self.ends_in("what waits for issue", step.then(f"{loads} flip-flops", fan_out(loads)))
        for level, loop in enumerate(self.process.loops):
            moved = latest((step, self.carry[level], self.done[level])).then("and", GATE_NS)
            self.ends_in(f"counter {loop.name}", moved.then(f"{loads} flip-flops", fan_out(loads)))
        if self.process.command is not None:
            taken = latest((step, self.end)).then("and", GATE_NS)
            self.pop(self.process.command, taken)
        for effect, known in self.known.items():
            assert isinstance(effect.op, ir.Read)
            taken = latest((self.issued, known))
            taken = taken.then("and", GATE_NS) if effect.op.guarded else taken
            if effect.op.guarded:
                bits = width(effect.op.channel.type)
                self.ends_in(f"the word held of {effect.op.channel.name}", taken.then(f"{bits} flip-flops", fan_out(bits)))
            self.pop(effect.op.channel, taken)
        for channel, known in reserved.items():
            taken = latest((self.issued, known)).then("and", GATE_NS)
            credit = taken.then("credit", adder(CREDIT_BITS)).then("is there room", equality(CREDIT_BITS))
            self.ends_in(f"room in {channel.name}", credit)
        for lock in self.process.locks:
            if lock.buffer.ring:
                moved = self.issued.then("and", GATE_NS)
                counted = moved.then("count of elements", adder(lock.buffer.depth.bit_length()))
                self.ends_in(f"the elements of {lock.buffer.name}", counted)
                continue
            acquired = self.issued.then("and", GATE_NS).then("count of banks", adder(BANK_BITS))
            self.ends_in(f"the banks of {lock.buffer.name}", acquired)
            inner = self.end if lock.level < 0 else self.carry[lock.level]
            if self.stages.issue:
                self.ends_in("the end of a loop waits", inner)
                inner = register("the end of a loop waits")
            ended = latest((inner, step)).then("and", GATE_NS)
            self.ends_in(f"the lock of {lock.buffer.name}", ended.then("and", GATE_NS))
            if lock.role == "load" and any(self.stages.start.get(n) == self.stages.issue for n in self.loads(lock.buffer)):
                self.ends_in(f"the bank of {lock.buffer.name}", ended.then("next bank", GATE_NS))

    def ring_flag(self, lock: ir.Lock) -> ir.Node | None:
        """Return whether an iteration takes an element of a ring, or appends one; None: each does."""
        accesses = (n for n in self.stages.body.effects if isinstance(n.op, (ir.Load, ir.Store)) and n.op.buffer is lock.buffer)
        return ir.element_flag(next(accesses))

    def where(self, buffer: ir.Buffer) -> str:
        """Return the source line of the first access to a buffer."""
        accesses = (n for n in self.stages.body.effects if isinstance(n.op, (ir.Load, ir.Store)) and n.op.buffer is buffer)
        return next(accesses).where

    def loads(self, buffer: ir.Buffer) -> list[ir.Node]:
        return [n for n in self.stages.body.effects if isinstance(n.op, ir.Load) and n.op.buffer is buffer]

    def pop(self, channel: ir.Channel, taken: Arrival) -> None:
        """Time what takes a token out of a FIFO, up to the enable of its output register."""
        bits = width(channel.type)
        output = taken.then(f"the FIFO of {channel.name} moves on", 2 * GATE_NS).then(f"{bits} flip-flops", fan_out(bits))
        self.ends_in(f"the output of the FIFO of {channel.name}", output)

    # effects ---------------------------------------------------------------------------------------------------------

    def valid(self, stage: int) -> Arrival:
        if stage == self.stages.issue:
            return self.issued
        return register(f"an iteration in stage {stage}")

    def effects(self) -> None:
        """Time what goes into FIFOs, memories and running values."""
        for node in self.stages.body.effects:
            op, start = node.op, self.stages.start[node]
            if isinstance(op, ir.Write):
                parts = ir.write_parts(node)
                data = latest(self.at(a, start) for a in parts.values).then("into the FIFO", EFFECT_NS)
                self.ends_in(f"the FIFO of {op.channel.name}", data)
                valid = self.valid(start)
                if parts.when is not None:
                    valid = latest((valid, self.at(parts.when, start))).then("and", GATE_NS)
                    credit = valid.then("credit", adder(CREDIT_BITS)).then("is there room", equality(CREDIT_BITS))
                    self.ends_in(f"room in {op.channel.name}", credit)
                bits = width(op.channel.type)
                valid = valid.then("into the FIFO", EFFECT_NS).then(f"{bits} flip-flops", fan_out(bits))
                self.ends_in(f"the FIFO of {op.channel.name}", valid)
            elif isinstance(op, ir.Store):
                store = ir.store_parts(node)
                address = self.at(store.address, start)
                address = NOW if op.buffer.ring else address.then("place of the bank", bank_ns(op.buffer))
                data = latest(self.at(a, start) for a in (*store.values, *([store.mask] if store.mask is not None else [])))
                valid = self.valid(start)
                if store.when is not None:
                    valid = latest((valid, self.at(store.when, start))).then("and", GATE_NS)
                for arrival in (address, data, valid.then("and", GATE_NS)):
                    self.ends_in(f"the memory {op.buffer.name}", arrival.then("into the memory", EFFECT_NS))
            elif isinstance(op, ir.Load):
                address = self.at(node.args[0], start).then("place of the bank", bank_ns(op.buffer))
                self.ends_in(f"the address of {op.buffer.name}", address)
                for flag in node.args[1:]:
                    taken = latest((self.issued, self.at(flag, self.stages.issue))).then("and", GATE_NS)
                    taken = taken if start == self.stages.issue else register(f"the window of {op.buffer.name} moves")
                    taken = taken.then("count", adder(op.buffer.depth.bit_length())).then("next", bank_ns(op.buffer) + GATE_NS)
                    self.ends_in(f"the window of {op.buffer.name}", taken)
            elif isinstance(op, ir.STATE):
                enable, guard = self.valid(start), guard_of(node)
                if guard is not None:
                    enable = latest((enable, self.at(guard, start))).then("and", GATE_NS)
                bits = enabled_bits(node)
                self.ends_in(self.label(node), enable.then(f"{bits} flip-flops", fan_out(bits)))
