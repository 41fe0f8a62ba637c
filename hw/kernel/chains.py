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
    bits_of,
    clocked_latency,
    delay_ns,
    equality,
    fan_out,
    is_multiplier,
)
from edgewright.hw.kernel.nest import depends_on
from edgewright.hw.kernel.schedule import Placement
from edgewright.hw.kernel.types import elem_of, of_range, width

INPUTS_OF_A_GATE = 6


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


def register(what: str, where: str = "") -> Arrival:
    return Arrival(REGISTER_NS, (Link(what, where, REGISTER_NS),))


def latest(arrivals: Iterable[Arrival]) -> Arrival:
    return max(arrivals, key=lambda arrival: arrival.ns, default=NOW)


def chains(process: ir.Process, stages: Placement) -> list[Chain]:
    """Return all chains of a process, the slowest first."""
    found = sorted(Timed(process, stages).ends, key=lambda end: -end[1].ns)
    return [Chain(process.name, what, round(arrival.ns + MARGIN_NS, 3), arrival.links) for what, arrival in found]


def slowest_chains(program: ir.Program, placements: dict[str, Placement]) -> list[Chain]:
    """Return the slowest chain of each process, the slowest first."""
    slowest = [chains(process, placements[process.name])[0] for process in program.processes]
    return sorted(slowest, key=lambda chain: -chain.ns)


class Timed:
    """Arrivals of all nodes and control signals; `ends`: those that go into a register, with its name."""

    def __init__(self, process: ir.Process, stages: Placement) -> None:
        self.process, self.stages = process, stages
        self.ends: list[tuple[str, Arrival]] = []
        self.value: dict[ir.Node, Arrival] = {}  # in the stage in which it is ready
        self.last: dict[int, Arrival] = {}
        for node in stages.order:
            self.node(node)
        self.nest()
        self.issue()
        self.effects()

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
        if isinstance(op, (ir.Counter, ir.First, ir.Last)):
            self.value[node] = self.flag(op)
            return
        if isinstance(op, (ir.Read, ir.Command)):
            self.value[node] = register(f"the FIFO of {self.channel(op)}", node.where)
            return
        inputs = latest(self.at(a, start) for a in node.args)
        if isinstance(op, (ir.Write, ir.Store, ir.Load)):
            self.value[node] = register(self.label(node), node.where)
            return  # see effects
        if is_multiplier(node):
            self.ends_in(f"the DSP of {self.label(node)}", inputs)
            self.ends_in("the DSP", inputs.then(self.label(node), DSP_NS - REGISTER_NS, node.where))
        through = inputs.then(self.label(node), delay_ns(node), node.where)
        clocked = clocked_latency(node) > 0
        if not is_multiplier(node):
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
        bound = self.stages.body.bounds[level]
        return self.value.get(bound, NOW) if isinstance(bound, ir.Node) else NOW

    def flag(self, op: ir.Counter | ir.First | ir.Last) -> Arrival:
        name, bits = self.process.loops[op.loop].name, self.counter_bits(op.loop)
        counter = register(f"counter {name}")
        if isinstance(op, ir.Counter):
            return counter
        if isinstance(op, ir.First):
            return counter.then(f"first {name}", equality(bits))
        return self.last_of(op.loop)

    def last_of(self, level: int) -> Arrival:
        if level not in self.last:
            name, bits = self.process.loops[level].name, self.counter_bits(level)
            counter = register(f"counter {name}").then("plus one", adder(bits))
            self.last[level] = latest((counter, self.bound(level))).then(f"last {name}", equality(bits))
        return self.last[level]

    def nest(self) -> None:
        """Time the flags that the loops have in common, up to the counters."""
        bounds = self.stages.body.bounds
        dynamic = [level for level, bound in enumerate(bounds) if isinstance(bound, ir.Node) or bound == 0]
        zeros = {level: self.bound(level).then("is it 0", equality(self.counter_bits(level))) for level in dynamic}
        self.done: list[Arrival] = []
        for level in range(len(bounds)):
            empties = [zeros[k] for k in dynamic if k <= level or depends_on(bounds[k]) < level]
            last = self.last_of(level)
            self.done.append(latest((last, *empties)).then("done", GATE_NS) if empties else last)
        self.carry = [self.together(self.done[level + 1 :]) for level in range(len(bounds))]
        self.end = latest((self.carry[0], self.done[0])).then("end of the nest", GATE_NS)
        started = register("the command is there")
        self.skip = latest((started, *zeros.values())).then("skip", GATE_NS) if zeros else started
        self.slot = self.skip

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
        for effect in self.stages.body.effects:
            if isinstance(effect.op, ir.Read):
                known = self.at(effect.args[0], self.stages.issue) if effect.args else NOW
                terms.append(latest((register(f"{effect.op.channel.name} has a token"), known)))
                self.known[effect] = known
            elif isinstance(effect.op, ir.Write):
                part = self.stages.reserve[effect]
                known = NOW if part is None else self.at(part, self.stages.issue)
                room = register(f"credit of {effect.op.channel.name}").then("is there room", equality(5))
                terms.append(latest((room, known)))
        for lock in self.process.locks:
            free = register(f"banks of {lock.buffer.name}").then("is there a bank", equality(3))
            terms.append(free)
        self.issued = self.together(terms, 2).then("issue", 0)
        step = self.issued.then("step", GATE_NS)
        loads = sum(self.counter_bits(level) for level in range(len(self.process.loops)))
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
        for lock in self.process.locks:
            inner = [*self.done[lock.level + 1 :], step]
            self.ends_in(f"the lock of {lock.buffer.name}", self.together(inner))

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
                    credit = valid.then("credit", adder(of_range(0, op.channel.depth).bits + 3))
                    self.ends_in(f"the credit of {op.channel.name}", credit)
                bits = width(op.channel.type)
                valid = valid.then("into the FIFO", EFFECT_NS).then(f"{bits} flip-flops", fan_out(bits))
                self.ends_in(f"the FIFO of {op.channel.name}", valid)
            elif isinstance(op, ir.Store):
                store = ir.store_parts(node)
                bank = adder(of_range(0, op.buffer.banks * op.buffer.depth - 1).bits)
                address = self.at(store.address, start).then("place of the bank", bank).then("into the memory", EFFECT_NS)
                data = latest(self.at(a, start) for a in (*store.values, *([store.mask] if store.mask is not None else [])))
                valid = self.valid(start)
                if store.when is not None:
                    valid = latest((valid, self.at(store.when, start))).then("and", GATE_NS)
                self.ends_in(f"the memory {op.buffer.name}", address)
                self.ends_in(f"the memory {op.buffer.name}", data.then("into the memory", EFFECT_NS))
                self.ends_in(f"the memory {op.buffer.name}", valid.then("into the memory", EFFECT_NS + GATE_NS))
            elif isinstance(op, ir.Load):
                bank = adder(of_range(0, op.buffer.banks * op.buffer.depth - 1).bits)
                address = self.at(node.args[0], start).then("place of the bank", bank)
                self.ends_in(f"the address of {op.buffer.name}", address)
            elif isinstance(op, ir.STATE):
                enable = self.valid(start)
                if isinstance(op, ir.Hold) or (isinstance(op, ir.ShiftIn) and op.guarded):
                    enable = latest((enable, self.at(node.args[1], start))).then("and", GATE_NS)
                bits = bits_of(node)
                self.ends_in(self.label(node), enable.then(f"{bits} flip-flops", fan_out(bits)))
