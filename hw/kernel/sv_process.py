"""Print a process as a SystemVerilog module: counters, issue, free-running pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import Affine
from edgewright.hw.kernel.delays import bits_of
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.sv_expr import literal
from edgewright.hw.kernel.sv_nest import RESERVED, NestPrinter
from edgewright.hw.kernel.sv_nodes import DataPath, PrintedStage, fanned
from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.types import Int, leaves, of_range, shape_of, size_of, width

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
        self.ports: list[str] = []
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
        self.valids()
        for node in self.writes:
            self.write(node)
        self.locks()
        return self.render()

    # ports -----------------------------------------------------------------------------------------------------------

    def claim_ports(self) -> None:
        streams = [self.process.command] if self.process.command is not None else []
        streams += [n.op.channel for n in self.reads if isinstance(n.op, ir.Read)]
        for c in streams:
            self.port("input", f"{c.name}_valid_i")
            self.port("output", f"{c.name}_ready_o", attribute=fanned(width(c.type)))
            self.port("input", f"{c.name}_data_i", width(c.type))
        for node in self.writes:
            assert isinstance(node.op, ir.Write)
            c = node.op.channel
            self.port("output", f"{c.name}_valid_o")
            self.port("output", f"{c.name}_data_o", width(c.type))
            self.port("input", f"{c.name}_credit_i")
        for lock in self.process.locks:
            b, bits = lock.buffer.name, address_bits(lock.buffer)
            self.port("input", f"{b}_ready_i")
            self.port("output", f"{b}_acquire_o")
            if lock.role == "store":
                node = self.store_to(lock.buffer)
                assert isinstance(node.op, ir.Store)
                self.port("output", f"{b}_store_o")
                self.port("output", f"{b}_data_o", width(lock.buffer.type))
                if not lock.buffer.ring:
                    self.port("output", f"{b}_address_o", bits)
                    self.port("output", f"{b}_mask_o", lanes_of(lock.buffer, node.op.masked))
                    self.port("output", f"{b}_commit_o")
            else:
                count = ports_of(self.effects, lock.buffer).count
                self.port("output", f"{b}_address_o", bits, count)
                self.port("output", f"{b}_last_o", count)
                if lock.buffer.ring:
                    self.port("output", f"{b}_fresh_o")
                self.port("input", f"{b}_data_i", width(lock.buffer.type), count)
                self.port("output", f"{b}_release_o")

    def port(self, direction: str, name: str, bits: int | None = None, count: int | None = None, attribute: str = "") -> None:
        lead = f"[{count - 1}:0]" if count is not None else ""
        span = f"{lead}[{bits - 1}:0] " if bits is not None else ""
        self.ports.append(f"{attribute}{direction:6} logic {span}{self.symbols.claim(name)}")

    # control ---------------------------------------------------------------------------------------------------------

    def sources(self) -> None:
        """Name the packed data of each token and element: a port, or a register that holds it where the read is guarded."""
        for node in self.stages.order:
            if isinstance(node.op, ir.Command):
                assert self.process.command is not None
                self.path.data_of[node] = f"{self.process.command.name}_data_i"
            elif isinstance(node.op, ir.Read):
                data = f"{node.op.channel.name}_data_i"
                if node.op.guarded:
                    held = self.symbols.claim(f"{node.op.channel.name}_q")
                    self.lines.append(f"logic [{width(node.type) - 1}:0] {held};")
                    take = f"if ({node.op.channel.name}_ready_o) {held} <= {data};"
                    if node.op.absent:
                        self.path.resets.append(f"if (!rst_ni) {held} <= '0;\nelse {take}")
                    else:
                        self.path.printed[self.stages.issue + 1].registers.append(take)
                    data = held
                self.path.data_of[node] = data
            elif isinstance(node.op, ir.Load):
                self.path.load_data[node] = (
                    f"{node.op.buffer.name}_data_i",
                    ports_of(self.effects, node.op.buffer).first[node],
                )

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
            self.lines.append(f"logic [{bits - 1}:0] {credit}, {after};")
            self.lines.append(f"logic {room};")
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
        deep = self.stages.depth - self.stages.issue
        if deep == 0:
            return
        driven = [bits_of(node) for node in self.effects if isinstance(node.op, ir.STATE)]
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
        address = self.path.operand(node.args[0], stage, ()).to(Int(address_bits(lock.buffer), False))
        self.tail.append(f"assign {name}_address_o[0] = {address};")
        for port, flag, what, at in (
            ("fresh_o", fresh, "taking", stage),
            ("last_o[0]", last, "ending", stage),
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
        address = self.path.operand(parts.address, stage, ()).to(Int(address_bits(b), False))
        self.tail.append(f"assign {b.name}_address_o = {address};")
        if parts.mask is None:
            self.tail.append(f"assign {b.name}_mask_o = 1'b1;")
        else:
            self.path.pack(f"{b.name}_mask_o", [(0, parts.mask)], stage)
        offsets = [at for _, _, at in leaves(b.type)]
        self.path.pack(f"{b.name}_data_o", list(zip(offsets, parts.values, strict=True)), stage)

    def load(self, buffer: ir.Buffer, end: str) -> None:
        ports, bits = ports_of(self.effects, buffer), Int(address_bits(buffer), False)
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
                address = self.path.operand(node.args[0], stage, where).to(bits)
                self.tail.append(f"assign {buffer.name}_address_o[{port}] = {address};")
                self.tail.append(f"assign {buffer.name}_last_o[{port}] = {flag};")
        self.tail.append(f"assign {buffer.name}_release_o = {shift}[{deepest}];")

    def flag(self, name: str, when: ir.Node) -> str:
        """Print whether an iteration issues for which ``when`` holds."""
        name = self.symbols.claim(name)
        self.lines.append(f"logic {name};")
        self.tail.append(f"assign {name} = issue && {self.path.scalar(when, self.stages.issue)};")
        return name

    # text ------------------------------------------------------------------------------------------------------------

    def render(self) -> str:
        path = self.path
        doc = [f"/// {line}".rstrip() for line in (self.process.doc or f"Process {self.process.name}.").splitlines()]
        out = [*doc, f"module {self.module} ("]
        out.append("  input  logic clk_i,\n  input  logic rst_ni,")
        out.append(",\n".join(f"  {p}" for p in self.ports))
        out.append(");")
        body: list[str] = []
        for rom in path.roms.values():
            body += [*rom, ""]
        for function in path.functions.values():
            body += [function, ""]
        nest = self.nest
        body += ["// control", *nest.lines, *self.lines, "", "// data, _sN: in stage N", *path.declarations, ""]
        body += [f"// nest, issue (in stage {self.stages.issue}) and what leaves", *nest.tail, *self.tail, ""]
        for number, stage in enumerate(path.printed):
            if stage.groups or stage.registers or stage.waiting:
                body += [f"// stage {number}", *self.registers(stage), *self.groups(stage), ""]
        for line in path.resets:
            body += ["always_ff @(posedge clk_i) begin", *indent(line), "end", ""]
        body += [*nest.flow, *self.flow]
        body += self.checks()
        out += [line for entry in body for line in indent(entry)]
        out.append("endmodule")
        return "\n".join(line.rstrip() for line in out) + "\n"

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
        out: list[str] = []
        for number, stage in enumerate(self.path.printed):
            for shape, lines in stage.checks:
                inner = self.loop(shape, lines) if shape else "\n".join(lines)
                out += ["always_ff @(posedge clk_i) begin", f"  if (rst_ni && {self.alive(number)}) begin"]
                out += [f"    {line}" for line in inner.splitlines()] + ["  end", "end"]
        return ["", "`ifndef SYNTHESIS", *out, "`endif"] if out else []


def indent(text: str) -> list[str]:
    return [f"  {line}" if line and not line.startswith("`") else line for line in text.splitlines()] or [""]
