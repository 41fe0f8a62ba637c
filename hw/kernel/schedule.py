"""Assign each node to a pipeline stage: operators are chained by their delay in nanoseconds within a target period.

Stage 0 is issue. A node's value is available from stage `ready` on; a clocked node (product, load, running value) reads its
operands in stage `start`. The delays are a rule of thumb for UltraScale+ with average routing; no tool here verifies them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.expand import ExpandedBody, expand_body
from edgewright.hw.kernel.types import Int, Struct, elem_of, shape_of, width

PERIOD_NS = 3.33
MARGIN_NS = 0.4  # setup and clock uncertainty
REGISTER_NS = 0.25  # clock to output
EFFECT_NS = 0.4  # into a FIFO or memory
READ_LATENCY = 2  # address register, data register
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
    slowest_ns: float  # longest chain found, margin not included


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
    slowest_ns: float = 0.0
    depth: int = 0

    def access(self, op: ir.Write | ir.Store | ir.Load) -> int:
        """Return the stage in which the printed hardware does what ``op`` does: the last one, if there are several such
        loads."""
        return max(at for node, at in self.start.items() if node.op == op)


def bits_of(node: ir.Node) -> int:
    return width(node.type)


def adder(bits: int) -> float:
    return 0.3 + 0.02 * bits


def is_multiplier(node: ir.Node) -> bool:
    """Return whether a Mul uses a DSP (registered on both sides) rather than a few LUTs."""
    if not isinstance(node.op, ir.Mul):
        return False
    a, b = (elem_of(x.type).bits for x in node.args)
    for x in node.args:
        if isinstance(x.op, ir.Const) and max(abs(v).bit_count() for v in x.op.values) <= 2:
            return False
    return a > 1 and b > 1 and a + b > 6


def multiplier_latency(node: ir.Node) -> int:
    """Return the registers after a product: one for 27 x 18 bits, more where several DSPs are joined."""
    a, b = sorted((elem_of(x.type).bits + (not elem_of(x.type).signed) for x in node.args), reverse=True)
    if a <= 27 and b <= 18:
        return 1
    tiles = -(-a // 26) * -(-b // 17)
    return 2 if tiles <= 2 else 3 if tiles <= 4 else 4


def delay_ns(node: ir.Node) -> float:
    """Return the combinational delay of a node; for clocked nodes that of the logic before the register."""
    op = node.op
    if isinstance(
        op, (ir.Const, ir.Strided, ir.Part, ir.Shl, ir.Shr, ir.Bits, ir.CatBits, ir.Concat, ir.Reinterpret, ir.Counter)
    ):
        return 0.0
    bits = max((elem_of(n.type).bits for n in (*node.args, node) if not isinstance(n.type, Struct)), default=1)
    if isinstance(op, (ir.Add, ir.Sub, ir.Neg)):
        return adder(bits)
    if isinstance(op, (ir.Min, ir.Max, ir.Abs)):
        return adder(bits) + 0.25
    if isinstance(op, ir.Compare):
        return adder(bits) if op.kind not in ("eq", "ne") else 0.3 + 0.01 * bits
    if isinstance(op, (ir.And, ir.Or, ir.Xor, ir.Select)):
        return 0.25
    if isinstance(op, ir.Not):
        return 0.1
    if isinstance(op, ir.Mul):
        return 0.3 if min(elem_of(a.type).bits for a in node.args) == 1 else adder(bits) + 0.3
    if isinstance(op, (ir.ShlBy, ir.ShrBy)):
        return 0.2 + 0.2 * min(elem_of(node.args[1].type).bits, bits.bit_length())
    if isinstance(op, ir.BitLength):
        return 0.3 + 0.25 * bits.bit_length()
    if isinstance(op, ir.Cast):
        return 0.5 + 0.01 * bits if op.mode == "sat" else 0.0
    if isinstance(op, ir.Index):
        return 0.2 + 0.2 * (shape_of(node.args[0].type)[0] - 1).bit_length()
    if isinstance(op, ir.Accumulate):
        return adder(bits) + 0.25
    if isinstance(op, (ir.ShiftIn, ir.Hold)):
        return 0.2
    if isinstance(op, (ir.Lookup, ir.Load, ir.Write, ir.Store)):
        return EFFECT_NS
    if isinstance(op, (ir.First, ir.Last, ir.Command, ir.Read)):
        return 0.4
    raise AssertionError(op)


def clocked_latency(node: ir.Node) -> int:
    """Return the number of registers inside a node, 0 for combinational ones."""
    if isinstance(node.op, ir.STATE):
        return 1
    if isinstance(node.op, (ir.Load, ir.Lookup)):
        return READ_LATENCY
    if isinstance(node.op, ir.Read):
        return 1 if node.op.guarded else 0
    return multiplier_latency(node) if is_multiplier(node) else 0


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
        elif isinstance(effect.op, ir.Load):
            extra += effect.args[1:]
        elif isinstance(effect.op, ir.Store) and effect.op.buffer.ring:
            extra += [when for when in (ir.store_parts(effect).when,) if when is not None]
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
        stages.slowest_ns = max(stages.slowest_ns, t + (0 if is_multiplier(node) else d))
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
    return ProcessSchedule(stages.depth, reads, writes, loads, stores, register_bits(stages), round(stages.slowest_ns, 3))


def schedule(process: ir.Process, period_ns: float = PERIOD_NS) -> ProcessSchedule:
    """Return the stages of a process's reads, writes, loads and stores, its depth and its registers."""
    return summarise(place(process, period_ns))


def latency(process: ir.Process, period_ns: float = PERIOD_NS) -> int:
    """Return the cycles from issue to the last write (0: written in the cycle of issue)."""
    return max(schedule(process, period_ns).writes.values(), default=0)
