"""Print a process as a C++ function: its loop nest, the scopes of its locks, and its body.

The nest is cut after each loop that holds a lock. Outside the last cut are plain loops; inside is one pipelined loop: a
perfect nest if only its outermost bound is known at run time, else a flat loop that carries the counters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_body import BodyPrinter
from edgewright.hw.kernel.cpp_expr import BOOL, Expr, binary, compare, literal, variable
from edgewright.hw.kernel.cpp_lanes import Lines
from edgewright.hw.kernel.cpp_types import Names, int_name
from edgewright.hw.kernel.cpp_words import Carriers
from edgewright.hw.kernel.types import Int, of_range, u


@dataclass(frozen=True, slots=True)
class Port:
    """The parameters of a process function for a channel or buffer: streams or streams of blocks."""

    what: ir.Channel | ir.Buffer
    parameters: tuple[str, ...]


def positive(bound: int | ir.Node) -> bool:
    """Return whether a bound is known to be at least 1."""
    if isinstance(bound, int):
        return bound >= 1
    op = bound.op
    if isinstance(op, ir.Const):
        return min(op.values) >= 1
    if isinstance(op, ir.Select):
        return positive(bound.args[1]) and positive(bound.args[2])
    if isinstance(op, (ir.Add, ir.Or, ir.Max)) and not any(isinstance(a.type, Int) and a.type.signed for a in bound.args):
        return any(positive(a) for a in bound.args)
    if isinstance(op, ir.Cast) and isinstance(bound.type, Int) and isinstance(bound.args[0].type, Int):
        return bound.type.holds(bound.args[0].type) and positive(bound.args[0])
    return False


def counters_in(bound: int | ir.Node) -> set[int]:
    """Return the loops whose counter or flags a bound depends on."""
    if isinstance(bound, int):
        return set()
    nodes = ir.topological([bound])
    return {n.op.loop for n in nodes if isinstance(n.op, (ir.Counter, ir.First, ir.Last))}


def pruned(lines: list[str]) -> list[str]:
    """Remove scalar constants that nothing mentions, which remain of values that share another's variable."""
    while True:
        mentions = Counter(word for line in lines for word in re.findall(r"[A-Za-z_]\w*", line.split("//")[0]))
        remaining = [line for line in lines if not (m := DEFINITION.match(line)) or mentions[m[1]] > 1]
        if len(remaining) == len(lines):
            return lines
        lines = remaining


DEFINITION = re.compile(r"\s*const (?:U?Int<\d+>|bool) (\w+) = (?!.*\.read\(\))")


class Nest:
    def __init__(self, process: ir.Process, carriers: Carriers, outer: Names, name: str) -> None:
        self.process, self.carriers, self.name = process, carriers, name
        self.local = Names(outer.taken)
        self.out = Lines(1)
        reads = process.of(ir.Read)
        effects = [*reads, *(e for e in process.effects if e not in reads)]
        self.order = ir.topological(effects)
        bounds = [loop.bound for loop in process.loops if isinstance(loop.bound, ir.Node)]
        self.body = BodyPrinter(process, ir.topological([*bounds, *effects]), carriers, self.local, self.out)
        for loop in process.loops:
            if isinstance(loop.bound, ir.Node):
                self.body.values.uses[loop.bound] += 1
        for rom in dict.fromkeys(n.op.rom for n in self.order if isinstance(n.op, ir.Lookup)):
            self.body.rom(rom)
        self.parameters: list[Port] = []
        channels = [e.op.channel for e in process.effects if isinstance(e.op, (ir.Read, ir.Write))]
        for what in ([process.command] if process.command else []) + channels + [lock.buffer for lock in process.locks]:
            texts = [self.local.claim(name) for name in carriers.suffixed(what)]
            self.parameters.append(Port(what, tuple(texts)))
            self.body.ports[what] = texts
        self.counters = [self.local.claim(loop.name) for loop in process.loops]
        self.locks = [lock for lock in process.locks if not lock.buffer.ring]
        self.levels = sorted({lock.level for lock in self.locks})
        self.cut = 1 + max(self.levels, default=-1)  # first loop of the pipelined part
        self.sure: set[int] = set()  # loops inside a scope that is entered only if their bounds are not 0
        self.frp = not self.locks
        self.pipelines: list[str] = []  # labels of the pipelined loops, or the name of a pipelined function

    # --- pieces -----------------------------------------------------------------------------------------------------

    def pragma(self, label: str) -> str:
        self.pipelines.append(label)
        # Vitis has no free-running pipeline around stream_of_blocks (message HLS 200-1966); it then picks a style itself.
        return f"#pragma HLS PIPELINE II=1{' style=frp' if self.frp else ''}"

    def counter_type(self, loop: ir.Loop) -> Int:
        """Return a type that holds the bound itself, so that counting up to it does not wrap."""
        top = loop.bound if isinstance(loop.bound, int) else loop.bound.type.high  # type: ignore[union-attr]
        return u(max(2, of_range(0, top).bits))

    def bound(self, level: int) -> Expr:
        """Return the bound of a loop, printed where this is called."""
        bound = self.process.loops[level].bound
        if isinstance(bound, int):
            return literal(bound)
        self.body.emit(ir.topological([bound]))
        value = self.body.values.scalar(bound)
        if value.declared and value.atom and not value.text.endswith(")"):
            return value
        name = self.local.claim(f"{self.process.loops[level].name}_end")
        assert isinstance(bound.type, Int)
        self.out.add(f"const {int_name(bound.type)} {name} = {value.text};")
        self.body.values.inline[bound] = variable(name, bound.type)
        return self.body.values.inline[bound]

    def flags(self, level: int, last: Expr, counter: Expr) -> None:
        flags = self.body.values.flags
        flags[ir.Counter(level)] = counter
        flags[ir.First(level)] = literal(1) if counter.literal else compare("eq", counter, literal(0))
        flags[ir.Last(level)] = last

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Open a C++ scope whose variables are not visible afterwards."""
        body, values = self.body, self.body.values
        saved = dict(values.base), dict(values.inline), set(body.done), dict(values.flags), dict(body.same), dict(body.first)
        yield
        values.base, values.inline, body.done, values.flags, body.same, body.first = saved

    # --- the nest ---------------------------------------------------------------------------------------------------

    def function(self) -> list[str]:
        """Return the text of the function."""
        process, out = self.process, self.out
        if process.command is not None:
            self.command(process.command)
        self.scope(0)
        head = Lines()
        if process.doc:
            head.add(f"// {process.doc.splitlines()[0]}")
        head.add(f"void {self.name}({', '.join(text for p in self.parameters for text in self.declared(p))}) {{")
        if self.single():
            head.add(self.pragma(self.name))
        return pruned([*head.text, *self.body.statics.text, *out.text, "}"])

    def declared(self, port: Port) -> list[str]:
        """Return the declarations of parameters."""
        return [f"{t}& {name}" for t, name in zip(self.carriers.streams(port.what), port.parameters, strict=True)]

    def command(self, channel: ir.Channel) -> None:
        body, streams, words = self.body, self.body.ports[channel], self.carriers.words(channel)
        nodes = [n for n in body.values.uses if isinstance(n.op, ir.Command)]
        if not nodes:
            for stream in streams:
                self.out.add(f"{stream}.read();")
            return
        wanted = body.token_name(nodes[0], "command")
        if words:
            received = body.received(wanted, streams, words)
            for node in nodes:
                body.token_parts(node, wanted, received)
        else:
            name = self.local.claim(wanted)
            self.out.add(f"const {self.carriers.names.token(channel.type)} {name} = {streams[0]}.read();")
            for node in nodes:
                body.token_base(node, name)
        for node in nodes:
            body.emit([n for n in body.values.uses if isinstance(n.op, ir.Part) and n.args[0] is node])

    def scope(self, level: int) -> None:
        """Print what is inside the loops before `level`: the locks held there, then the loops from `level` on."""
        locks = [lock for lock in self.locks if lock.level == level - 1]
        if not locks:
            self.loops(level)
            return
        condition = self.some(level)
        if condition:
            with self.out.block(f"if ({condition})"):
                self.locked(locks, level)
        else:
            self.locked(locks, level)

    def locked(self, locks: list[ir.Lock], level: int) -> None:
        for lock in locks:
            kind = "write_lock" if lock.role == "store" else "read_lock"
            memory = self.carriers.memories[lock.buffer]
            words = [word for _ in range(memory.copies) for word in memory.words]
            parameters = next(p.parameters for p in self.parameters if p.what is lock.buffer)
            banks = [self.local.claim(f"{name}_bank") for name in self.carriers.suffixed(lock.buffer)]
            for word, bank, parameter in zip(words, banks, parameters, strict=True):
                self.out.add(f"hls::{kind}<{self.carriers.block(lock.buffer, word)}> {bank}({parameter});")
            self.body.ports[lock.buffer] = banks
        self.loops(level)

    def loops(self, level: int) -> None:
        if level < self.cut:
            self.plain_loop(level, pipelined=False)
        elif self.single():
            for inner in range(level, len(self.process.loops)):
                self.flags(inner, literal(1), literal(0))
            self.body.emit(self.order)
        elif all(isinstance(loop.bound, int) and loop.bound >= 1 for loop in self.process.loops[level + 1 :]):
            if level == len(self.process.loops):
                self.body.emit(self.order)
            else:
                self.plain_loop(level, pipelined=True)
        else:
            self.flat_loop(level)

    def single(self) -> bool:
        """Return whether the nest is one iteration, so that the function itself is the pipeline."""
        return not self.locks and all(loop.bound == 1 for loop in self.process.loops)

    def plain_loop(self, level: int, pipelined: bool) -> None:
        loop, name = self.process.loops[level], self.counters[level]
        end = self.bound(level)
        counter = variable(name, self.counter_type(loop))
        at_end = compare("lt", counter, end)
        self.out.add(f"{self.name}_{loop.name}:")
        with self.out.block(f"for ({int_name(counter.type)} {name} = 0; {at_end.text}; ++{name})"):
            innermost = level == len(self.process.loops) - 1
            if pipelined and innermost:
                self.out.add(self.pragma(f"{self.name}_{loop.name}"))
            self.flags(level, self.is_last(counter, end), counter)
            if innermost and pipelined:
                self.body.emit(self.order)
            elif pipelined:
                self.plain_loop(level + 1, pipelined)
            else:
                self.scope(level + 1)

    def is_last(self, counter: Expr, end: Expr) -> Expr:
        if end.literal:
            return compare("eq", counter, literal(int(end.text) - 1))
        return compare("eq", self.next(counter), end)

    def next(self, counter: Expr) -> Expr:
        return binary("+", counter, literal(1), u(counter.type.bits + 1))

    def flat_loop(self, level: int) -> None:
        """Print one loop, a step per clock, over the loops from `level` on; steps with an inner bound of 0 do nothing."""
        loops, out = self.process.loops, self.out
        levels = range(level, len(loops))
        outer_end = self.bound(level)
        counters = {g: variable(self.counters[g], self.counter_type(loops[g])) for g in levels}
        for g in levels:
            out.add(f"{int_name(counters[g].type)} {self.counters[g]} = 0;")
        more = self.local.claim("more")
        sure = level in self.sure or positive(loops[level].bound)
        out.add(f"bool {more} = {'true' if sure else f'{outer_end.operand} != 0'};")
        out.add(f"{self.name}_{loops[level].name}:")
        with out.block(f"while ({more})"):
            out.add(self.pragma(f"{self.name}_{loops[level].name}"))
            ends = {level: outer_end}
            for g in levels:
                if g > level:
                    ends[g] = self.bound(g)
                last = self.local.claim(f"last_{loops[g].name}")
                out.add(f"const bool {last} = {self.beyond(counters[g], ends[g]).text};")
                self.flags(g, variable(last, BOOL), counters[g])
            empty = [g for g in levels if g > level and g not in self.sure and not positive(loops[g].bound)]
            live = " && ".join(f"{ends[g].operand} != 0" for g in empty)
            if live:
                with out.block(f"if ({live})"):
                    self.body.emit(self.order)
            else:
                self.body.emit(self.order)
            self.advance(level, counters, ends, empty, more)

    def beyond(self, counter: Expr, end: Expr) -> Expr:
        """Return whether the counter is at its last value, or there is none."""
        if end.literal:
            return compare("ge", counter, literal(int(end.text) - 1)) if int(end.text) > 0 else variable("true", BOOL)
        return compare("ge", self.next(counter), end)

    def advance(self, level: int, counters: dict[int, Expr], ends: dict[int, Expr], empty: list[int], more: str) -> None:
        """Print the increments; the counter of a loop that ends restarts at 0."""
        flags, out, loops = self.body.values.flags, self.out, self.process.loops
        leaves = {}
        for g in range(level + 1, len(loops)):
            leaves[g] = flags[ir.Last(g)].text
            if around := [z for z in empty if z < g]:
                skipped = " || ".join(f"{ends[z].operand} == 0" for z in around)
                last, leaves[g] = leaves[g], self.local.claim(f"leave_{loops[g].name}")
                out.add(f"const bool {leaves[g]} = {last} || {skipped};")
        for g in range(len(loops) - 1, level, -1):
            out.add(f"if (!{leaves[g]}) {{")
            out.add(f"  ++{counters[g].text};")
            out.add("} else {")
            out.depth += 1
            out.add(f"{counters[g].text} = 0;")
        out.add(f"if ({flags[ir.Last(level)].text}) {more} = false;")
        out.add(f"++{counters[level].text};")
        for _ in range(level + 1, len(loops)):
            out.depth -= 1
            out.add("}")

    # --- whether a scope has any iteration --------------------------------------------------------------------------

    def some(self, level: int) -> str:
        """Return a condition for at least one iteration inside the loops before `level`; empty where that is certain."""
        loops = self.process.loops
        open_levels = [g for g in range(level, len(loops)) if not positive(loops[g].bound)]
        if not open_levels:
            return ""
        counted: set[int] = set()
        grown = {c for g in open_levels for c in counters_in(loops[g].bound) if c >= level}
        while grown != counted:
            counted = grown
            grown = counted | {c for g in counted for c in counters_in(loops[g].bound) if c >= level}
        if not counted:
            self.sure.update(open_levels)
            return " && ".join(f"{self.bound(g).operand} != 0" for g in open_levels)
        some = self.local.claim("some")
        self.out.add(f"bool {some} = false;")
        with self.apart():
            self.scan(level, counted, open_levels, some)
        return some

    def scan(self, level: int, counted: set[int], open_levels: list[int], some: str) -> None:
        """Print loops over all values of the counters that inner bounds depend on."""
        loops = self.process.loops
        if level > max(open_levels):
            self.out.add(f"{some} = true;")
            return
        if level in counted:
            end = self.bound(level)
            name = self.local.claim(f"{loops[level].name}_seen")
            counter = variable(name, self.counter_type(loops[level]))
            self.out.add(f"{self.name}_scan_{loops[level].name}:")
            inside = f"!{some} && {compare('lt', counter, end).text}"
            with self.out.block(f"for ({int_name(counter.type)} {name} = 0; {inside}; ++{name})"):
                self.flags(level, self.is_last(counter, end), counter)
                self.scan(level + 1, counted, open_levels, some)
        elif level in open_levels:
            with self.out.block(f"if ({self.bound(level).operand} != 0)"):
                self.scan(level + 1, counted, open_levels, some)
        else:
            self.scan(level + 1, counted, open_levels, some)
