"""Print a process as a SystemVerilog module: counters, issue, free-running pipeline."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import Affine
from edgewright.hw.kernel.delays import enabled_bits
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.sv_comments import heading, stage_comment
from edgewright.hw.kernel.sv_expr import ALL, COLUMNS, dimension, literal
from edgewright.hw.kernel.sv_nest import RESERVED, NestPrinter
from edgewright.hw.kernel.sv_nodes import DataPath
from edgewright.hw.kernel.sv_ports import Ports, clocking, load_port, store_port, stream_in, stream_out
from edgewright.hw.kernel.sv_stage import PrintedStage, fanned
from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.types import Int, Type, leaves, of_range, shape_of, size_of, width

RELEASE_DELAY = 1  # cycles from a bank's last address to its release


@dataclass(frozen=True, slots=True)
class ReadPorts:
    """The read ports that a process needs on a buffer."""

    loads: tuple[ir.Node, ...]
    first: dict[ir.Node, int]
    count: int


def ports_of(process_effects: tuple[ir.Node, ...], buffer: ir.Buffer) -> ReadPorts:
    loads = tuple(n for n in process_effects if isinstance(n.op, ir.Load) and n.op.buffer is buffer)
    first, count = {}, 0
    for node in loads:
        first[node] = count
        count += size_of(shape_of(node.args[0].type))
    return ReadPorts(loads, first, count)


def address_bits(buffer: ir.Buffer) -> int:
    return max(1, (buffer.addresses - 1).bit_length())


def lanes_of(buffer: ir.Buffer, masked: bool) -> int:
    return shape_of(buffer.type)[0] if masked else 1


class ProcessPrinter:
    def __init__(self, process: ir.Process, stages: Placement, module: str, credits: dict[ir.Channel, int]) -> None:
        self.process, self.stages, self.module, self.credits = process, stages, module, credits
        self.symbols = Symbols()
        for name in ("clk_i", "rst_ni", "valid_q", *RESERVED):
            self.symbols.claim(name)
        self.effects = stages.body.effects
        self.reads = [n for n in self.effects if isinstance(n.op, ir.Read)]
        self.writes = [n for n in self.effects if isinstance(n.op, ir.Write)]
        self.stores = [n for n in self.effects if isinstance(n.op, ir.Store)]
        self.ports = Ports()
        self.lines: list[str] = []
        self.tail: list[str] = []  # after the data path
        self.flow: list[str] = []  # control registers
        self.levels = [loop.name for loop in process.loops]

    def text(self) -> str:
        self.claim_ports()
        taken = {*self.levels, *self.process.names.values(), *self.symbols.taken}
        loop_names = [n for n in "ijklmnoqrst" if n not in taken][:8]
        loop_names += [f"axis{n}" for n in range(8 - len(loop_names))]
        for name in loop_names:
            self.symbols.claim(name)
        self.path = DataPath(self.process, self.stages, self.symbols, loop_names)
        self.nest = NestPrinter(self.process, self.stages, self.symbols)
        self.path.name_all(self.nest.fixed())
        self.sources()
        for node in self.stages.order:
            self.path.print_node(node)
        self.nest.print(self.path)
        self.issue()
        for node in self.writes:
            self.write(node)
        self.locks()
        return self.render()

    # ports -----------------------------------------------------------------------------------------------------------

    def claim_ports(self) -> None:
        """List the ports: the clock, then those of streams and memories."""
        clocking(self.ports)
        if self.process.command is not None:
            kind = f"command of process {self.process.name},"
            stream_in(self.ports, self.process.command, fanned(width(self.process.command.type)), kind)
        for node in self.reads:
            assert isinstance(node.op, ir.Read)
            stream_in(self.ports, node.op.channel, fanned(width(node.op.channel.type)))
        for node in self.writes:
            assert isinstance(node.op, ir.Write)
            stream_out(self.ports, node.op.channel)
        for lock in self.process.locks:
            bits = address_bits(lock.buffer)
            if lock.role == "store":
                node = self.store_to(lock.buffer)
                assert isinstance(node.op, ir.Store)
                store_port(self.ports, lock.buffer, bits, lanes_of(lock.buffer, node.op.masked))
            else:
                load_port(self.ports, lock.buffer, bits, ports_of(self.effects, lock.buffer).count)
        for name in self.ports.names:
            self.symbols.claim(name)

    # control ---------------------------------------------------------------------------------------------------------

    def sources(self) -> None:
        """Name the packed data of each token and element: a port, or a register that holds it where the read is guarded."""
        command = self.process.command
        given = self.packed(f"{command.name}_data_i", command.type) if command is not None else ""
        for node in self.stages.order:
            if isinstance(node.op, ir.Command):
                self.path.data_of[node] = given
            elif isinstance(node.op, ir.Read):
                self.path.data_of[node] = self.token(node)
            elif isinstance(node.op, ir.Load):
                buffer, ports = node.op.buffer, ports_of(self.effects, node.op.buffer)
                elements = size_of(shape_of(node.args[0].type))
                numbers = range(ports.first[node], ports.first[node] + elements)
                self.path.load_data[node] = [
                    self.packed(numbered(f"{buffer.name}_data_i", ports.count, number), buffer.type) for number in numbers
                ]

    def packed(self, name: str, type_: Type) -> str:
        """Enter a packed token or element of the data path."""
        self.path.packed[name] = width(type_)
        return name

    def token(self, node: ir.Node) -> str:
        """Print the register of a guarded read, which holds its token; return where the token is."""
        assert isinstance(node.op, ir.Read)
        name = node.op.channel.name
        data = self.packed(f"{name}_data_i", node.type)
        if not node.op.guarded or not self.path.reads(node):
            return data
        held = self.packed(self.symbols.claim(f"{name}_q"), node.type)
        self.path.read[data] = ALL
        self.lines.append(f"logic {dimension(width(node.type))}{held};  // the last token of {name}")
        take = f"if ({name}_ready_o) {held} <= {data};"
        if node.op.absent:
            self.path.resets.append(f"if (!rst_ni) {held} <= '0;\nelse {take}")
        else:
            self.path.printed[self.stages.issue + 1].registers.append(take)
        return held

    def issue(self) -> None:
        """Print the condition for an iteration to issue: everything that it may need is available."""
        at = self.stages.issue
        terms = [self.nest.waits("slot", reset=True)]
        for node in self.reads:
            assert isinstance(node.op, ir.Read)
            name = node.op.channel.name
            if node.op.guarded:
                known = self.path.scalar(node.args[0], at)
                terms.append(f"({name}_valid_i || !{known})")
                self.tail.append(f"assign {name}_ready_o = issue && {known};")
            else:
                terms.append(f"{name}_valid_i")
                self.tail.append(f"assign {name}_ready_o = issue;")
        for node in self.writes:
            assert isinstance(node.op, ir.Write)
            c = node.op.channel
            bits = of_range(0, self.credits[c]).bits
            credit, room, after = (self.symbols.claim(f"{c.name}_{what}") for what in ("credit_q", "room_q", "credit_n"))
            self.lines.append(f"logic {dimension(bits)}{credit}, {after};  // free places in the FIFO of {c.name}, and then")
            self.lines.append(f"logic {room};  // there is one")
            part = self.stages.reserve[node]
            reserve = f"issue && {self.path.scalar(part, at)}" if part is not None else "issue"
            terms.append(f"({room} || !{self.path.scalar(part, at)})" if part is not None else room)
            gain, cancel = f"{bits}'({c.name}_credit_i)", ""
            when, stage = ir.write_parts(node).when, self.stages.start[node]
            if when is not None and when is not part:
                reserved = f" && {self.delayed(part, stage)}" if part is not None else ""
                cancelled = self.symbols.claim(f"{c.name}_cancel")
                self.lines.append(f"logic {cancelled};")
                self.tail.append(
                    f"assign {cancelled} = {self.path.valid(stage)}{reserved} && !{self.path.scalar(when, stage)};"
                )
                cancel = f" + {bits}'({cancelled})"
            self.tail.append(f"assign {after} = {credit} + {gain}{cancel} - {bits}'({reserve});")
            full = literal(self.credits[c], Int(bits, False))
            self.flow.append(
                f"always_ff @(posedge clk_i) begin\n"
                f"  if (!rst_ni) begin\n    {credit} <= {full};\n    {room} <= 1'b1;\n"
                f"  end else begin\n    {credit} <= {after};\n    {room} <= {after} != '0;\n  end\nend"
            )
        self.opened: dict[ir.Buffer, str] = {}
        for lock in self.process.locks:
            b = lock.buffer.name
            if lock.buffer.ring:
                flag = self.ring_flag(lock)
                terms.append(f"({b}_ready_i || !{flag})")
                self.tail.append(f"assign {b}_acquire_o = issue && {flag};")
                continue
            held = self.symbols.claim(f"{b}_held_q")
            self.opened[lock.buffer] = held
            self.lines.append(f"logic {held};")
            terms.append(f"({held} || {b}_ready_i)")
            self.tail.append(f"assign {b}_acquire_o = issue && !{held};")
        self.tail.append("assign issue = " + "\n  && ".join(terms) + ";")

    def ring_flag(self, lock: ir.Lock) -> str:
        """Return whether an iteration appends an element to a ring, or takes one from it."""
        node = ports_of(self.effects, lock.buffer).loads[0] if lock.role == "load" else self.store_to(lock.buffer)
        when = ir.element_flag(node)
        return "1'b1" if when is None else self.path.scalar(when, self.stages.issue)

    def store_to(self, buffer: ir.Buffer) -> ir.Node:
        """Return the process's store to a buffer."""
        return next(n for n in self.stores if isinstance(n.op, ir.Store) and n.op.buffer is buffer)

    def delayed(self, node: ir.Node, stage: int) -> str:
        """Return a control node in a later stage than the data path uses."""
        return self.path.name(node, stage) if node in self.stages.solid else self.path.scalar(node, stage)

    def valids(self) -> None:
        """Print the register that says which stages hold an iteration, as far as it is read."""
        deep = self.path.deepest
        if deep == 0:
            return
        driven = [enabled_bits(node) for node in self.effects if isinstance(node.op, ir.STATE)]
        self.lines.append(f"{fanned(max(driven, default=0))}logic [{deep}:1] valid_q;  // by stage after issue")
        shifted = "issue" if deep == 1 else f"{{valid_q[{deep - 1}:1], issue}}"
        self.flow.append(f"always_ff @(posedge clk_i) begin\n  if (!rst_ni) valid_q <= '0;\n  else valid_q <= {shifted};\nend")

    # effects ---------------------------------------------------------------------------------------------------------

    def write(self, node: ir.Node) -> None:
        assert isinstance(node.op, ir.Write)
        c, stage, parts = node.op.channel, self.stages.start[node], ir.write_parts(node)
        when = "" if parts.when is None else f" && {self.path.scalar(parts.when, stage)}"
        self.tail.append(f"assign {c.name}_valid_o = {self.path.valid(stage)}{when};")
        offsets = [at for _, _, at in leaves(c.type)]
        self.path.pack(f"{c.name}_data_o", list(zip(offsets, parts.values, strict=True)), stage)

    def locks(self) -> None:
        """Print when banks pass from one process to the next, and what is stored and loaded."""
        for lock in self.process.locks:
            b = lock.buffer.name
            if lock.buffer.ring:
                self.pass_on(lock)
                continue
            inner = self.nest.inner_done(lock.level)
            end = self.symbols.claim(f"{b}_ending")
            held = self.opened[lock.buffer]
            self.lines.append(f"logic {end};")
            self.tail.append(f"assign {end} = step && (issue || {held}) && {inner};")
            self.flow.append(
                "always_ff @(posedge clk_i) begin\n"
                f"  if (!rst_ni) {held} <= 1'b0;\n  else if (step) {held} <= ({held} || issue) && !{end};\nend"
            )
            if lock.role == "store":
                self.store(self.store_to(lock.buffer), end)
            else:
                self.load(lock.buffer, end)

    def travel(self, name: str, deepest: int) -> str:
        """Print a reset shift register that carries a flag through the stages after issue."""
        if deepest == 0:
            return name
        shift = self.symbols.claim(f"{name}_q")
        self.lines.append(f"logic [{deepest}:1] {shift};  // by stage")
        value = name if deepest == 1 else f"{{{shift}[{deepest - 1}:1], {name}}}"
        self.flow.append(f"always_ff @(posedge clk_i) begin\n  if (!rst_ni) {shift} <= '0;\n  else {shift} <= {value};\nend")
        return shift

    def pass_on(self, lock: ir.Lock) -> None:
        """Print what appends to a ring, or reads its window."""
        if lock.role == "store":
            self.append(self.store_to(lock.buffer))
            return
        (node,) = ports_of(self.effects, lock.buffer).loads
        name, stage, (_, fresh, free, last) = lock.buffer.name, self.stages.start[node], node.args
        address = self.path.address(node.args[0], stage, (), address_bits(lock.buffer))
        self.tail.append(f"assign {name}_address_o = {address};")
        for port, flag, what, at in (
            ("fresh_o", fresh, "taking", stage),
            ("last_o", last, "ending", stage),
            ("release_o", free, "freeing", stage + RELEASE_DELAY),
        ):
            after = at - self.stages.issue
            shift = self.travel(self.flag(f"{name}_{what}", flag), after)
            self.tail.append(f"assign {name}_{port} = {shift if after == 0 else f'{shift}[{after}]'};")

    def append(self, node: ir.Node) -> None:
        assert isinstance(node.op, ir.Store)
        b, stage, parts = node.op.buffer, self.stages.start[node], ir.store_parts(node)
        when = "" if parts.when is None else f" && {self.path.scalar(parts.when, stage)}"
        self.tail.append(f"assign {b.name}_store_o = {self.path.valid(stage)}{when};")
        offsets = [at for _, _, at in leaves(b.type)]
        self.path.pack(f"{b.name}_data_o", list(zip(offsets, parts.values, strict=True)), stage)

    def store(self, node: ir.Node, end: str) -> None:
        assert isinstance(node.op, ir.Store)
        b, stage, parts = node.op.buffer, self.stages.start[node], ir.store_parts(node)
        after = stage - self.stages.issue
        shift = self.travel(end, after)
        when = "" if parts.when is None else f" && {self.path.scalar(parts.when, stage)}"
        self.tail.append(f"assign {b.name}_commit_o = {shift if after == 0 else f'{shift}[{after}]'};")
        self.tail.append(f"assign {b.name}_store_o = {self.path.valid(stage)}{when};")
        address = self.path.address(parts.address, stage, (), address_bits(b))
        self.tail.append(f"assign {b.name}_address_o = {address};")
        if parts.mask is None:
            self.tail.append(f"assign {b.name}_mask_o = 1'b1;")
        else:
            self.path.pack(f"{b.name}_mask_o", [(0, parts.mask)], stage)
        offsets = [at for _, _, at in leaves(b.type)]
        self.path.pack(f"{b.name}_data_o", list(zip(offsets, parts.values, strict=True)), stage)

    def load(self, buffer: ir.Buffer, end: str) -> None:
        ports, bits = ports_of(self.effects, buffer), address_bits(buffer)
        deepest = max(self.stages.start[n] for n in ports.loads) - self.stages.issue + RELEASE_DELAY
        shift = self.travel(end, deepest)
        for node in ports.loads:
            stage = self.stages.start[node]
            after = stage - self.stages.issue
            flag = end if after == 0 else f"{shift}[{after}]"
            shape = shape_of(node.args[0].type)
            for p in range(size_of(shape)):
                where = (Affine(p),) if shape else ()
                port = ports.first[node] + p
                address = self.path.address(node.args[0], stage, where, bits)
                self.tail.append(f"assign {numbered(f'{buffer.name}_address_o', ports.count, port)} = {address};")
                self.tail.append(f"assign {numbered(f'{buffer.name}_last_o', ports.count, port)} = {flag};")
        self.tail.append(f"assign {buffer.name}_release_o = {shift}[{deepest}];")

    def flag(self, name: str, when: ir.Node) -> str:
        """Print whether an iteration issues for which ``when`` holds."""
        name = self.symbols.claim(name)
        self.lines.append(f"logic {name};")
        self.tail.append(f"assign {name} = issue && {self.path.scalar(when, self.stages.issue)};")
        return name

    # text ------------------------------------------------------------------------------------------------------------

    def render(self) -> str:
        """Return the module."""
        path, nest, checks = self.path, self.nest, self.checks()
        self.valids()
        out = [*heading(self.process), f"module {self.module} (", *self.ports.text(), ");"]
        body: list[str] = []
        for rom in path.roms.values():
            body += [*rom, ""]
        for function in path.functions.values():
            body += [function, ""]
        body += [
            "// control",
            *nest.lines,
            *self.lines,
            "",
            "// data, _sN: in stage N",
            *path.declared(),
            *path.declarations,
            *self.unread(),
            "",
        ]
        body += [f"// nest, issue (in stage {self.stages.issue}) and what leaves", *nest.tail, *self.tail, ""]
        for number, stage in enumerate(path.printed):
            if stage.groups or stage.registers or stage.waiting:
                head = stage_comment(self.process, self.stages, path.base, number)
                body += [*head, *self.registers(stage), *self.groups(stage), ""]
        for line in path.resets:
            body += ["always_ff @(posedge clk_i) begin", *indent(line), "end", ""]
        body += [*nest.flow, *self.flow, *checks]
        out += [line for entry in body for line in indent(entry)]
        out.append("endmodule")
        return "\n".join(line.rstrip() for line in out) + "\n"

    def unread(self) -> list[str]:
        """Print a signal that reads what nothing else does, so that lint needs no switch: fields of tokens, bits that rounding
        and narrowing drop."""
        found = list(self.path.unread())
        if not found:
            return []
        name, listed = self.symbols.claim("unused"), ", ".join(found)
        if len(listed) > COLUMNS - 24:
            listed = "\n" + textwrap.fill(listed, COLUMNS - 4, initial_indent="  ", subsequent_indent="  ") + "\n"
        return ["// bits that nothing reads", f"logic {name};", f"assign {name} = ^{{{listed}}};"]

    def registers(self, stage: PrintedStage) -> list[str]:
        out: list[str] = []
        for head, lines in (("begin", stage.registers), ("if (step) begin", stage.waiting)):
            out += [f"always_ff @(posedge clk_i) {head}", *(f"  {line}" for line in lines), "end"] if lines else []
        return out

    def groups(self, stage: PrintedStage) -> list[str]:
        out: list[str] = []
        for segments in stage.groups:
            if len(segments) == 1 and not segments[0][0]:
                out += [f"assign {line}" for line in segments[0][1]]
            else:
                text = "\n".join(self.loop(shape, lines) for shape, lines in segments)
                out += ["always_comb begin", *indent(text), "end"]
        return out

    def loop(self, shape: tuple[int, ...], lines: list[str]) -> str:
        text, pad = [], ""
        for axis, n in enumerate(shape):
            if n > 1:
                v = self.path.vars[axis]
                text.append(f"{pad}for (int {v} = 0; {v} < {n}; {v}++) begin")
                pad += "  "
        text += [pad + line for line in lines]
        while pad:
            pad = pad[2:]
            text.append(f"{pad}end")
        return "\n".join(text)

    def alive(self, stage: int) -> str:
        return self.nest.alive(stage) if stage < self.stages.issue else self.path.valid(stage)

    def checks(self) -> list[str]:
        """Print what only simulation and lint see."""
        out = self.unread()
        for number, stage in enumerate(self.path.printed):
            for shape, lines in stage.checks:
                inner = self.loop(shape, lines) if shape else "\n".join(lines)
                out += ["always_ff @(posedge clk_i) begin", f"  if (rst_ni && {self.alive(number)}) begin"]
                out += [f"    {line}" for line in inner.splitlines()] + ["  end", "end"]
        return ["", "`ifndef SYNTHESIS", *out, "`endif"] if out else []


def numbered(name: str, count: int, number: int) -> str:
    """Return one of `count` signals that a port joins; a single one is the port itself."""
    return f"{name}[{number}]" if count > 1 else name


def indent(text: str) -> list[str]:
    return [f"  {line}" if line and not line.startswith("`") else line for line in text.splitlines()] or [""]
