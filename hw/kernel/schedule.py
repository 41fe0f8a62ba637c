"""Assign each node to a pipeline stage: operators are chained by their delay in nanoseconds within a target period.

Stage 0 is issue. A node's value is available from stage `ready` on; a clocked node (product, load, running value) reads its
operands in stage `start`. `delays` has the delays, `chains` adds them up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.delays import (
    MARGIN_NS,
    PERIOD_NS,
    REGISTER_NS,
    bits_of,
    clocked_latency,
    delay_ns,
    is_multiplier,
)
from edgewright.hw.kernel.expand import ExpandedBody, expand_body
from edgewright.hw.kernel.types import Int, Struct

ROUND_TRIP = 2  # cycles that a credit takes beyond the writer's stages


@dataclass(frozen=True, slots=True)
class ProcessSchedule:
    """Stages of a process. Issue is stage 0; a token written in stage s is in the FIFO s + 1 cycles after issue."""

    depth: int  # last stage that holds anything
    reads: dict[str, int]
    writes: dict[str, int]
    loads: dict[str, tuple[int, ...]]  # stage of the address, one per load
    stores: dict[str, int]
    register_bits: int


@dataclass(slots=True)
class Placement:
    """The stage of every node. `solid` nodes have a variable of their own; other Strideds are read through their source."""

    body: ExpandedBody
    order: list[ir.Node]
    start: dict[ir.Node, int]
    ready: dict[ir.Node, int]
    solid: set[ir.Node]
    until: dict[ir.Node, int] = field(default_factory=dict)  # last stage in which a solid node is used
    reserve: dict[ir.Node, ir.Node | None] = field(default_factory=dict)  # Write -> control part of its predicate
    depth: int = 0
    issue: int = 0  # stage in which an iteration issues

    def access(self, op: ir.Write | ir.Store | ir.Load) -> int:
        """Return the stage in which the printed hardware does what ``op`` does: the last one, if there are several such
        loads."""
        return max(at for node, at in self.start.items() if node.op == op)


def control_part(when: ir.Node | None, join: Callable[[ir.Node, ir.Node], ir.Node]) -> ir.Node | None:
    """Return the conjuncts of a predicate that are known at issue; None if there are none."""
    if when is None:
        return None
    if ir.is_control(when):
        return when
    if isinstance(when.op, ir.And):
        parts = [p for p in (control_part(a, join) for a in when.args) if p is not None]
        return join(parts[0], parts[1]) if len(parts) == 2 else parts[0] if parts else None
    return None


def place(process: ir.Process, period_ns: float = PERIOD_NS) -> Placement:
    """Schedule a process: each node as soon as possible, then widening nodes as late as possible."""
    body = expand_body(process)
    reserve: dict[ir.Node, ir.Node | None] = {}
    extra: list[ir.Node] = [b for b in body.bounds if isinstance(b, ir.Node)]
    for effect in body.effects:
        if isinstance(effect.op, ir.Write):
            part = control_part(ir.write_parts(effect).when, lambda a, b: ir.Node(ir.And(), (a, b), Int(1, False), a.where))
            reserve[effect] = part
            extra += [part] if part is not None else []
        elif isinstance(effect.op, ir.Read):
            extra += effect.args
    pinned = set(ir.topological(extra))
    order = ir.topological([*extra, *body.effects])
    limit = period_ns - MARGIN_NS
    stages = Placement(body, order, {}, {}, set(), reserve=reserve)
    begin: dict[ir.Node, float] = {}
    end: dict[ir.Node, float] = {}
    for node in order:
        sources = [a for a in node.args if not isinstance(a.op, ir.Const)]
        s, t = max(((stages.ready[a], end[a]) for a in sources), default=(0, 0.0))
        if isinstance(node.op, ir.Read):
            s, t = 0, 0.0
        d = delay_ns(node)
        latency = clocked_latency(node)
        late = (t > REGISTER_NS and t + d > limit) or (is_multiplier(node) and t > REGISTER_NS)
        if late and node not in pinned:
            s, t = s + 1, REGISTER_NS
        stages.start[node], begin[node] = s, t
        stages.ready[node], end[node] = (s + latency, REGISTER_NS) if latency else (s, min(t + d, limit))
    delay_widening(stages, begin, end, pinned, limit)
    choose_solid(stages)
    stages.depth = max([0, *stages.start.values(), *stages.ready.values()])
    return stages


def place_all(program: ir.Program, period_ns: float = PERIOD_NS) -> dict[str, Placement]:
    """Schedule every process, by name."""
    return {process.name: place(process, period_ns) for process in program.processes}


def entries(channel: ir.Channel, placements: dict[str, Placement]) -> int:
    """Return the FIFO entries of a channel: depth + slack; with slack None, depth plus the tokens in flight in its writer."""
    if channel.slack is not None:
        return channel.depth + channel.slack
    writer = placements.get(channel.writer or "")
    stage = 0 if writer is None else max(at for node, at in writer.start.items() if writes(node, channel))
    return channel.depth + stage + ROUND_TRIP


def writes(node: ir.Node, channel: ir.Channel) -> bool:
    """Return whether a node writes a channel."""
    return isinstance(node.op, ir.Write) and node.op.channel is channel


def delay_widening(
    stages: Placement, begin: dict[ir.Node, float], end: dict[ir.Node, float], pinned: set[ir.Node], limit: float
) -> None:
    """Move combinational nodes that are wider than their operands to the latest stage their users allow."""
    latest: dict[ir.Node, tuple[int, float]] = {}
    for node in reversed(stages.order):
        movable = (
            node not in pinned
            and not isinstance(node.op, (*ir.EFFECTS, *ir.STATE, ir.Load, ir.Lookup, ir.Const, ir.Command))
            and not is_multiplier(node)
            and node in latest
            and any(not isinstance(a.op, ir.Const) for a in node.args)
            and bits_of(node) >= sum(bits_of(a) for a in set(node.args) if not isinstance(a.op, (ir.Const, ir.Command)))
            and not any(isinstance(a.type, Struct) for a in node.args)
        )
        if movable:
            s, t = latest[node]
            d = delay_ns(node)
            if t - d < REGISTER_NS:
                s, t = s - 1, limit
            if s > stages.ready[node] and t - d >= REGISTER_NS:
                stages.start[node] = stages.ready[node] = s
                begin[node], end[node] = t - d, t
        s = stages.start[node]
        if is_multiplier(node):
            bound = (s - 1, limit)
        elif clocked_latency(node) or isinstance(node.op, ir.EFFECTS):
            bound = (s, limit - delay_ns(node))
        else:
            bound = (s, begin[node])
        for a in node.args:
            latest[a] = min(latest.get(a, bound), bound)


def choose_solid(stages: Placement) -> None:
    """Choose the nodes that get a variable (all but scalar constants, structs and Strideds read in place) and the last stage
    that
    uses each."""
    uses: dict[ir.Node, int] = {}

    def use(node: ir.Node, stage: int) -> None:
        uses[node] = max(uses.get(node, 0), stage)

    readers: dict[ir.Node, list[ir.Node]] = {}
    inner = {n.args[0] for n in stages.order if isinstance(n.op, (ir.Strided, ir.Index))}  # read with indices of their last_use
    for node in stages.order:
        if isinstance(node.op, ir.Strided):
            readers.setdefault(node.args[0], []).append(node)
        else:
            for a in node.args:
                use(a, stages.start[node])
    for node in reversed(stages.order):
        if isinstance(node.op, (ir.Command, ir.Part)) and isinstance(node.type, Struct):
            continue
        strided = [v for v in readers.get(node, []) if v in uses or v in stages.solid]
        last_use = uses.get(node, stages.ready[node])
        late = [v for v in strided if v not in stages.solid and uses[v] > max(last_use, stages.ready[v])]
        through = isinstance(node.op, ir.Const) or sum(bits_of(v) for v in late) >= bits_of(node)
        for v in strided:
            if v in stages.solid:
                use(node, stages.start[v])
            elif v in late and not through:
                stages.solid.add(v)
                use(node, stages.start[v])
            else:
                use(node, uses[v])
        if not isinstance(node.op, ir.Strided) or (node in inner and not isinstance(node.args[0].op, ir.Const)):
            stages.solid.add(node)
    for node in stages.order:
        if node in stages.solid:
            stages.until[node] = max(uses.get(node, stages.ready[node]), stages.ready[node])


def register_bits(stages: Placement) -> int:
    """Return the number of bits of all pipeline registers of the data path."""
    total = 0
    for node, last in stages.until.items():
        if not isinstance(node.op, (ir.Const, ir.Write, ir.Store)):
            total += bits_of(node) * (last - stages.ready[node] + clocked_latency(node))
    return total


def summarise(stages: Placement) -> ProcessSchedule:
    reads: dict[str, int] = {}
    writes: dict[str, int] = {}
    loads: dict[str, tuple[int, ...]] = {}
    stores: dict[str, int] = {}
    for node in stages.body.effects:
        op = node.op
        if isinstance(op, ir.Read):
            reads[op.channel.name] = 0
        elif isinstance(op, ir.Write):
            writes[op.channel.name] = stages.start[node]
        elif isinstance(op, ir.Load):
            loads[op.buffer.name] = (*loads.get(op.buffer.name, ()), stages.start[node])
        elif isinstance(op, ir.Store):
            stores[op.buffer.name] = stages.start[node]
    return ProcessSchedule(stages.depth, reads, writes, loads, stores, register_bits(stages))


def schedule(process: ir.Process, period_ns: float = PERIOD_NS) -> ProcessSchedule:
    """Return the stages of a process's reads, writes, loads and stores, its depth and its registers."""
    return summarise(place(process, period_ns))


def latency(process: ir.Process, period_ns: float = PERIOD_NS) -> int:
    """Return the cycles from issue to the last write (0: written in the cycle of issue)."""
    return max(schedule(process, period_ns).writes.values(), default=0)
