"""Assign each node to a pipeline stage: operators are chained by their delay in nanoseconds within a target period.

What decides issue (loop flags, predicates of reads and writes) is computed ahead of it, in stages that wait together, as many
as the period asks for; `placement` says what the stages are, `delays` what things take, `chains` adds up what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.chains import Arrival, chains, driven_ns, flag_of, issued
from edgewright.hw.kernel.delays import (
    MARGIN_NS,
    PERIOD_NS,
    REGISTER_NS,
    bits_of,
    clocked_latency,
    delay_ns,
    output_ns,
    registers_operands,
)
from edgewright.hw.kernel.expand import ExpandedBody, expand_body
from edgewright.hw.kernel.placement import SOURCES, Placement, control_part, steady_nodes
from edgewright.hw.kernel.types import Int, Struct, width

ROUND_TRIP = 2  # cycles that a credit takes beyond the writer's stages
WIDE = 64
"""Bits of a token from which on its FIFO has no bypass, which costs a look-up table a bit and saves a cycle."""
LEAST_STORED = 3  # entries of a FIFO without a bypass
MOST_EXTRA = 2
"""Stages that are tried between what decides issue and issue."""


@dataclass(frozen=True, slots=True)
class ProcessSchedule:
    """Stages of a process, counted from issue: a token written in stage s is at the FIFO's output s + 1 cycles after
    it, if that has a bypass, else s + 2. ``lead``: cycles from a command's arrival to the first issue."""

    lead: int
    depth: int  # last stage that holds anything
    reads: dict[str, int]
    writes: dict[str, int]
    loads: dict[str, tuple[int, ...]]  # stage of the address, one per load
    stores: dict[str, int]
    register_bits: int


def place(process: ir.Process, period_ns: float = PERIOD_NS) -> Placement:
    """Schedule a process with the fewest stages before issue that let every chain meet the period; if none do, the fastest."""
    body = expand_body(process)
    best: tuple[float, Placement] | None = None
    ahead = following_bounds(body)
    most = 0 if process.command is None else 2 if ahead else 1
    tried = [(extra, settles) for settles in range(most + 1) for extra in range(MOST_EXTRA + 1)]
    for extra, settles in sorted(tried, key=sum):
        found = placed(process, body, period_ns - MARGIN_NS, extra, settles)
        slowest = chains(process, found)[0].ns
        if slowest <= period_ns:
            return found
        if best is None or slowest < best[0]:
            best = slowest, found
    assert best is not None
    return best[1]


def placed(process: ir.Process, body: ExpandedBody, limit: float, extra: int, settles: int) -> Placement:
    """Place each node as soon as possible, then widening nodes as late as possible. Issue is `extra` stages behind the first
    in which all is known that decides it; `settles`: cycles that the nest waits for its command. `limit`: ns of a chain
    without the margin."""
    reserve: dict[ir.Node, ir.Node | None] = {}
    deciding: list[ir.Node] = []
    following = following_bounds(body) if settles > 1 else {}
    bounds = [following.get(level, b) for level, b in enumerate(body.bounds) if isinstance(b, ir.Node)]
    for effect in body.effects:
        if isinstance(effect.op, ir.Write):
            part = control_part(ir.write_parts(effect).when, lambda a, b: ir.Node(ir.And(), (a, b), Int(1, False), a.where))
            reserve[effect] = part
            deciding += [part] if part is not None else []
        elif isinstance(effect.op, ir.Read):
            deciding += effect.args
        elif isinstance(effect.op, ir.Load):
            deciding += effect.args[1:]
        elif isinstance(effect.op, ir.Store) and effect.op.buffer.ring:
            deciding += [when for when in (ir.store_parts(effect).when,) if when is not None]
    order = ir.topological([*bounds, *deciding, *body.effects])
    stages = Placement(body, order, {}, {}, set(), reserve=reserve, steady=steady_nodes(order))
    stages.settles, stages.following = settles, following
    work = Placing(process, stages, limit)
    for node in ir.topological(bounds):
        work.put(node, late=False)
    for node in ir.topological(deciding):
        work.put(node)
    stages.issue = max([0, *(stages.ready[n] for n in deciding)]) + extra
    work.issued_ns = issued(process, stages).ns
    for node in order:
        work.put(node)
    stages.wires = {n for n in stages.steady if not stages.ready[n] and work.end[n] <= REGISTER_NS}
    delay_widening(stages, work.begin, work.end, set(ir.topological([*bounds, *deciding])), limit)
    choose_solid(stages)
    stages.depth = max([stages.issue, *stages.start.values(), *stages.ready.values()])
    return stages


def following_bounds(body: ExpandedBody) -> dict[int, ir.Node]:
    """Return by loop the bounds that follow from counter and flags of the outermost loop, as they are in its next iteration."""
    found: dict[int, ir.Node] = {}
    made: dict[ir.Op, ir.Node] = {}
    new: dict[ir.Node, ir.Node] = {}
    for level, bound in enumerate(body.bounds):
        if not isinstance(bound, ir.Node):
            continue
        nodes = ir.topological([bound])
        loops = {n.op.loop for n in nodes if isinstance(n.op, (ir.Counter, ir.First, ir.Last))}
        if loops != {0}:
            continue
        for node in nodes:
            args = tuple(new[a] for a in node.args)
            if isinstance(node.op, (ir.Counter, ir.First, ir.Last)):
                new[node] = made.setdefault(node.op, ir.Node(ir.Following(node.op), (), node.type, node.where))
            else:
                new[node] = new.get(node) or (node if args == node.args else replace(node, args=args))
        found[level] = new[bound]
    return found


@dataclass(slots=True)
class Placing:
    """Nodes put into stages one after the other; `begin` and `end`: when in its stage a node works."""

    process: ir.Process
    stages: Placement
    limit: float
    issued_ns: float = 0.0
    begin: dict[ir.Node, float] = field(default_factory=dict)
    end: dict[ir.Node, float] = field(default_factory=dict)

    def put(self, node: ir.Node, late: bool = True) -> None:
        """Put a node into the first stage in which it fits; without `late` into that of its operands. Nothing happens where it
        has one."""
        stages, op = self.stages, node.op
        if node in self.end:
            return
        s, t = max(((stages.ready[a], self.end[a]) for a in node.args if not isinstance(a.op, ir.Const)), default=(0, 0.0))
        d, latency, multiplies = delay_ns(node), clocked_latency(node), registers_operands(node)
        if isinstance(op, SOURCES):
            known = Arrival(0.0, ())
            if isinstance(op, ir.Last) and (bound := stages.bound(op.loop)) is not None:
                known = Arrival(REGISTER_NS if op.loop in stages.following else self.end[bound], ())
            s, t, d = 0, flag_of(self.process, stages, op, known).ns, 0.0
        elif isinstance(op, ir.Read):
            s, t, d = stages.issue, REGISTER_NS, 0.0
        elif isinstance(op, (*ir.STATE, ir.Write, ir.Store, ir.Load)):
            if s < stages.issue:
                s, t = stages.issue, REGISTER_NS
            if s == stages.issue and self.issued_ns + driven_ns(node) > self.limit:
                s, t = s + 1, REGISTER_NS
        if late and not isinstance(op, (*SOURCES, ir.Read)) and t > REGISTER_NS and (multiplies or t + d > self.limit):
            s, t = s + 1, REGISTER_NS
        stages.start[node], self.begin[node] = s, t
        stages.ready[node] = s + latency
        self.end[node] = output_ns(node) if latency else t + d


def place_all(program: ir.Program, period_ns: float = PERIOD_NS) -> dict[str, Placement]:
    """Schedule every process, by name."""
    return {process.name: place(process, period_ns) for process in program.processes}


def entries(channel: ir.Channel, placements: dict[str, Placement]) -> int:
    """Return the FIFO entries of a channel: depth + slack; with slack None, depth plus the tokens in flight: in its writer, on
    the way through the store of a FIFO without a bypass, and those whose credits are on their way back."""
    if channel.slack is not None:
        return channel.depth + channel.slack
    writer = placements.get(channel.writer or "")
    stages = 0 if writer is None else max(at for node, at in writer.start.items() if writes(node, channel)) - writer.issue
    return channel.depth + stages + ROUND_TRIP + (not has_bypass(channel))


def has_bypass(channel: ir.Channel) -> bool:
    """Return whether a token may go past the store of a channel's FIFO to its output, a cycle after its write. Those of wide
    channels between processes may not."""
    small = channel.slack is not None and channel.depth + channel.slack < LEAST_STORED
    return small or not channel.between_processes or width(channel.type) < WIDE


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
            and not registers_operands(node)
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
        if registers_operands(node):
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
        op, at = node.op, stages.start[node] - stages.issue
        if isinstance(op, ir.Read):
            reads[op.channel.name] = at
        elif isinstance(op, ir.Write):
            writes[op.channel.name] = at
        elif isinstance(op, ir.Load):
            loads[op.buffer.name] = (*loads.get(op.buffer.name, ()), at)
        elif isinstance(op, ir.Store):
            stores[op.buffer.name] = at
    return ProcessSchedule(stages.lead, stages.depth - stages.issue, reads, writes, loads, stores, register_bits(stages))


def schedule(process: ir.Process, period_ns: float = PERIOD_NS) -> ProcessSchedule:
    """Return the stages of a process's reads, writes, loads and stores, its depth and its registers."""
    return summarise(place(process, period_ns))


def latency(process: ir.Process, period_ns: float = PERIOD_NS) -> int:
    """Return the cycles from issue to the last write (0: written in the cycle of issue)."""
    return max(schedule(process, period_ns).writes.values(), default=0)
