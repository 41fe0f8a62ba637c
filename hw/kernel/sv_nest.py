"""Print the loop nest of a process: counters, their flags, and the slots that wait for issue.

A slot is an iteration or a step of an empty loop. Stage 0 makes one per cycle from the counters; in the stages up to issue the
slots, and all that was computed for them, move on together by `step`."""

from __future__ import annotations

from collections.abc import Sequence

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.nest import depends_on
from edgewright.hw.kernel.placement import SOURCES, Placement
from edgewright.hw.kernel.sv_expr import Operand, dimension, extend, literal
from edgewright.hw.kernel.sv_nodes import DataPath
from edgewright.hw.kernel.sv_stage import fanned
from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.types import elem_of, width

BEGUN, SETTLED = "begun_q", "settled_q"
RESERVED = (BEGUN, SETTLED, "follows", "issue", "step", "walks", "started", "skip", "slot", "nest_end")


class NestPrinter:
    """`lines`: declarations, `tail`: assignments, `flow`: registers."""

    def __init__(self, process: ir.Process, stages: Placement, symbols: Symbols) -> None:
        self.process, self.stages, self.symbols = process, stages, symbols
        self.lines: list[str] = []
        self.tail: list[str] = []
        self.flow: list[str] = []
        names = [loop.name for loop in process.loops]
        self.counter = [symbols.claim(f"{name}_q") for name in names]
        self.last = [symbols.claim(f"last_{name}") for name in names]
        self.first = [symbols.claim(f"first_{name}") for name in names]
        self.done = [symbols.claim(f"done_{name}") for name in names]
        self.carry = [symbols.claim(f"carry_{name}") for name in names]
        self.waiting: dict[str, str] = {}
        self.following: dict[type[ir.Op], str] = {}
        self.read = {
            node.op for node in stages.order if isinstance(node.op, SOURCES)
        }  # flags and counters that values depend on
        nests = any(lock.level < 0 and not lock.buffer.ring for lock in process.locks)
        self.ends_matter = process.command is not None or nests
        if stages.following:
            kinds = {ir.Counter: f"{names[0]}_next_q", ir.First: f"first_{names[0]}_next", ir.Last: f"last_{names[0]}_next"}
            self.following = {kind: symbols.claim(name) for kind, name in kinds.items()}

    def fixed(self) -> dict[ir.Node, str]:
        """Return the names of counters and flags."""
        found: dict[ir.Node, str] = {}
        for node in self.stages.order:
            op = node.op
            if isinstance(op, ir.Following):
                found[node] = self.following[type(op.of)]
            elif isinstance(op, (ir.Counter, ir.First, ir.Last)):
                found[node] = {ir.Counter: self.counter, ir.Last: self.last, ir.First: self.first}[type(op)][op.loop]
        return found

    def print(self, path: DataPath) -> None:
        """Print all of it; a bound of 0 skips the loops inside."""
        levels = range(len(self.process.loops))
        self.follow(path)
        zeros = self.flags(path)
        for level in levels:
            # an empty inner loop whose bound does not change in this one empties this one too
            bounds = self.stages.body.bounds
            empties = [zero for k, zero in zeros.items() if k <= level or depends_on(bounds[k]) < level]
            self.tail.append(f"assign {self.done[level]} = {' || '.join([self.last[level], *empties])};")
        for level in levels:
            self.tail.append(f"assign {self.carry[level]} = {' && '.join(self.done[level + 1 :]) or one(1)};")
        end = ", nest_end" * self.ends_matter
        reads = [width(node.type) for node in self.stages.body.effects if isinstance(node.op, ir.Read)]
        many = fanned(max([self.stages.waiting_bits, *reads]))
        self.lines += [
            f"logic {', '.join(self.done)};  // the iteration is the last one of its loop, or the nest is empty",
            f"logic {', '.join(self.carry)}{end};  // all loops inside are done",
            "logic walks, started, skip, slot;  // counters move, there is a nest, it is empty, an iteration is made",
            f"{many}logic issue, step;  // an iteration issues, what waits for that moves",
        ]
        if self.ends_matter:
            self.tail.append(f"assign nest_end = {self.carry[0]} && {self.done[0]};")
        self.tail.append(f"assign started = {self.started()};")
        self.tail.append(f"assign skip = {' || '.join(zeros.values()) or one(0)};")
        self.tail.append("assign slot = started && !skip;")
        self.tail.append(f"assign step = issue || !{self.waits('slot', reset=True)};")
        self.tail.append("assign walks = step && started;")
        if self.process.command is not None:
            self.tail.append(f"assign {self.process.command.name}_ready_o = step && {self.ends()};")

    def flags(self, path: DataPath) -> dict[int, str]:
        """Print the counters with their flags; return by loop whether it is empty, of those that may be."""
        zeros: dict[int, str] = {}
        resets: list[str] = []
        steps: list[str] = []
        starts: list[str] = []
        for level, loop in enumerate(self.process.loops):
            e = elem_of(loop.counter.type)
            name, first, last, done = self.counter[level], self.first[level], self.last[level], self.done[level]
            bound = self.stages.body.bounds[level]
            self.lines.append(f"logic {dimension(e.bits)}{name};  // counter of loop {loop.name}")
            begins = ir.First(level) in self.read
            self.lines.append(f"logic {first}, {last};" if begins else f"logic {last};")
            moves = [f"{name} <= {done} ? '0 : {name} + {literal(1, e)};", *([f"{first} <= {done};"] if begins else [])]
            resets += [f"{name} <= '0;", *([f"{first} <= 1'b1;"] if begins else [])]
            if isinstance(bound, ir.Node):
                b = self.bound(level, path)
                zeros[level] = f"({b.text} == {literal(0, b.e)})"
                # one more than the counter, since the bound may come late
                ahead = self.symbols.claim(f"{loop.name}_ahead_q")
                self.lines.append(f"logic {dimension(b.e.bits)}{ahead};  // one more than it")
                resets.append(f"{ahead} <= {literal(1, b.e)};")
                moves.append(f"{ahead} <= {done} ? {literal(1, b.e)} : {ahead} + {literal(1, b.e)};")
                if self.stages.settled(level):
                    single = f"{b.text} == {literal(1, b.e)}"
                    starts.append(f"{last} <= {single};")
                    moves.append(f"{last} <= {done} ? {single} : {ahead} + {literal(1, b.e)} == {b.text};")
                    zeros[level] = self.delayed(f"empty_{loop.name}_q", zeros[level])
                else:
                    self.tail.append(f"assign {last} = {ahead} == {b.text};")
            else:
                resets.append(f"{last} <= {one(bound == 1)};")
                before = f"{name} == {literal(bound - 2, e)}" if bound >= 2 else one(0)
                moves.append(f"{last} <= {done} ? {one(bound == 1)} : {before};")
                if bound == 0:
                    zeros[level] = one(1)
            steps += [f"if ({self.carry[level]}) begin", *(f"  {move}" for move in moves), "end"]
        self.clocked(resets, "walks", steps, starts)
        return zeros

    def bound(self, level: int, path: DataPath) -> Operand:
        """Return the bound of a loop: the value of its node, or a register that gets it as the outermost loop moves on."""
        node = self.stages.following.get(level)
        if node is None:
            bound = self.stages.bound(level)
            assert bound is not None
            return path.operand(bound, 0, ())
        e, following = elem_of(node.type), path.operand(node, 0, ())
        name = self.symbols.claim(f"{self.process.loops[level].name}_bound_q")
        self.lines.append(f"logic {dimension(e.bits)}{name};")
        self.flow.append(f"always_ff @(posedge clk_i) if (follows) {name} <= {following.text};")
        return Operand(name, e)

    def follow(self, path: DataPath) -> None:
        """Print counter and flags of the outermost loop an iteration ahead: bounds of inner loops follow from them."""
        if not self.stages.following:
            return
        counter, first, last = (self.following[kind] for kind in (ir.Counter, ir.First, ir.Last))
        e, bound = elem_of(self.process.loops[0].counter.type), self.stages.body.bounds[0]
        begins, ends = (ir.Following(kind) in self.read for kind in (ir.First(0), ir.Last(0)))
        counts = ends or ir.Following(ir.Counter(0)) in self.read
        self.lines += [f"logic {dimension(e.bits)}{counter};"] if counts else []
        self.lines.append(f"logic {', '.join([first] * begins + [last] * ends + ['follows'])};")
        self.tail.append(f"assign follows = ({BEGUN} && !{SETTLED}) || (walks && {self.carry[0]});")
        resets = [f"{counter} <= '0;"] * counts + [f"{first} <= 1'b1;"] * begins
        moves = [f"{counter} <= {counter} + {literal(1, e)};"] * counts + [f"{first} <= 1'b0;"] * begins
        starts: list[str] = []
        if isinstance(bound, ir.Node):
            b = path.operand(bound, 0, ())
            after = f"{extend(counter, e, b.e)} + {literal(2, b.e)} == {b.text}" if b.e.high > 1 else one(0)
            starts += [f"{last} <= {b.text} == {literal(1, b.e)};"] * ends
        else:
            after = f"{counter} == {literal(bound - 2, e)}" if bound >= 2 else one(0)
            resets += [f"{last} <= {one(bound == 1)};"] * ends
        moves += [f"{last} <= {after};"] * ends
        lines = ["  if (!rst_ni || (walks && nest_end)) begin", *(f"    {line}" for line in resets)]
        lines += ["  end else if (follows) begin", *(f"    {line}" for line in moves)]
        lines += [f"  end else if (!{BEGUN}) begin", *(f"    {line}" for line in starts)] if starts else []
        self.flow.append("\n".join(["always_ff @(posedge clk_i) begin", *lines, "  end", "end"]))

    def delayed(self, name: str, value: str) -> str:
        """Print a register of a signal that stays while the command does; return its name."""
        register = self.symbols.claim(name)
        self.lines.append(f"logic {register};")
        self.flow.append(f"always_ff @(posedge clk_i) {register} <= {value};")
        return register

    def clocked(self, resets: list[str], enable: str, steps: list[str], starts: Sequence[str] = ()) -> None:
        """Print registers; `starts`: what they become until the command has settled."""
        lines = ["  if (!rst_ni) begin", *(f"    {line}" for line in resets)]
        for condition, inner in ((enable, steps), (f"!{SETTLED}", starts)):
            lines += [f"  end else if ({condition}) begin", *(f"    {line}" for line in inner)] if inner else []
        self.flow.append("\n".join(["always_ff @(posedge clk_i) begin", *lines, "  end", "end"]))

    def started(self) -> str:
        """Return whether there is a nest to walk: a command whose last slot has not been made yet."""
        if self.process.command is None:
            return one(1)
        there = f"{self.process.command.name}_valid_i"
        if self.stages.settles:
            before = there
            for name in (SETTLED,) if self.stages.settles == 1 else (BEGUN, SETTLED):
                self.lines.append(f"logic {name};  // the command has been there for a cycle or two")
                self.flow.append(
                    f"always_ff @(posedge clk_i) begin\n  if (!rst_ni) {name} <= 1'b0;\n"
                    f"  else {name} <= {before} && !{self.process.command.name}_ready_o;\nend"
                )
                before = name
            there = SETTLED
        if not self.stages.issue:
            return there
        walked = self.symbols.claim("walked_q")
        self.lines.append(f"logic {walked};  // all slots of the command wait")
        self.flow.append(
            f"always_ff @(posedge clk_i) begin\n  if (!rst_ni) {walked} <= 1'b0;\n"
            f"  else if (step) {walked} <= ({walked} || (started && nest_end)) && !{self.ends()};\nend"
        )
        return f"{there} && !{walked}"

    def ends(self) -> str:
        """Return whether the slot at issue is the last one of its nest."""
        if self.stages.issue:
            return self.waits("nest_end", reset=True, made="started && nest_end")
        return "started && nest_end"

    def waits(self, name: str, reset: bool = False, made: str | None = None) -> str:
        """Return a signal of stage 0 at issue; between, it moves on by `step`."""
        deep = self.stages.issue
        if not deep:
            return name
        if name not in self.waiting:
            shift = self.waiting[name] = self.symbols.claim(f"{name}_q")
            self.lines.append(f"logic [{deep}:1] {shift};  // by stage")
            value = made or name
            value = value if deep == 1 else f"{{{shift}[{deep - 1}:1], {value}}}"
            if reset:
                self.clocked([f"{shift} <= '0;"], "step", [f"{shift} <= {value};"])
            else:
                self.flow.append(f"always_ff @(posedge clk_i) if (step) {shift} <= {value};")
        return f"{self.waiting[name]}[{deep}]"

    def inner_done(self, level: int) -> str:
        """Return whether the slot at issue is the last one of an iteration of loop `level`, -1: of the nest."""
        return self.waits("nest_end", reset=True, made="started && nest_end") if level < 0 else self.waits(self.carry[level])

    def alive(self, stage: int) -> str:
        """Return whether a stage up to issue holds an iteration."""
        if stage == 0:
            return "slot"
        self.waits("slot", reset=True)
        return f"{self.waiting['slot']}[{stage}]"


def one(value: bool | int) -> str:
    return f"1'b{int(value)}"
