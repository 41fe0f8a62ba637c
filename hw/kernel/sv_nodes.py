"""Print the data path of a process: one SystemVerilog variable per solid node and stage, arrays in short loops."""

from __future__ import annotations

from collections.abc import Iterator

from edgewright.hw.kernel import ir, sv_cells
from edgewright.hw.kernel.affine import Affine, affine, aligned, flat
from edgewright.hw.kernel.delays import READ_LATENCY, SMALL, bits_of, clocked_latency, is_multiplier
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.sv_expr import (
    ALL,
    COLUMNS,
    Operand,
    bit_range,
    bits_read,
    declared,
    digits,
    dimension,
    expression,
    extend,
    filled,
    literal,
    unread,
)
from edgewright.hw.kernel.sv_names import Naming
from edgewright.hw.kernel.sv_stage import PrintedStage, Segment, fanned
from edgewright.hw.kernel.symbols import Symbols
from edgewright.hw.kernel.types import Int, Leaf, Struct, elem_of, leaf, leaves, shape_of, size_of, union, width

Index = tuple[Affine, ...]
INDENT = "  "


class DataPath:
    def __init__(self, process: ir.Process, stages: Placement, symbols: Symbols, loop_names: list[str]) -> None:
        self.process, self.stages, self.symbols, self.vars = process, stages, symbols, loop_names
        self.printed = [PrintedStage() for _ in range(stages.depth + 1)]
        self.variables: dict[tuple[ir.Node, str], list[str]] = {}  # of a node, by type
        self.declarations: list[str] = []  # what else stands behind them
        self.functions: dict[int, str] = {}
        self.roms: dict[str, list[str]] = {}
        self.extents: dict[str, int] = {}
        self.base: dict[ir.Node, str] = {}
        self.at: dict[tuple[ir.Node, int], str] = {}
        self.resets: list[str] = []
        self.names_of_roms: dict[str, str] = {}
        self.load_data: dict[ir.Node, list[str]] = {}  # packed elements of a Load, one per address
        self.data_of: dict[ir.Node, str] = {}  # packed token of a Read or Command
        self.offsets: dict[ir.Node, dict[tuple[str, ...], int]] = {}  # of the fields of a token or element
        self.packed: dict[str, int] = {}  # packed tokens and elements -> bits
        self.read: dict[str, int] = {}  # which bits of a scalar or packed value are read, as a mask
        self.deepest = 0  # stage after issue whose valid bit is read
        self.used = {a for node in stages.order for a in node.args}
        self.loads: dict[tuple[ir.Node, int], int] = {}  # bits that a flag selects in a stage
        for node in stages.order:
            for a in node.args:
                if a.type == Int(1, False):
                    used = a, stages.start[node]
                    self.loads[used] = max(self.loads.get(used, 1), bits_of(node))

    # names -----------------------------------------------------------------------------------------------------------

    def name_all(self, fixed: dict[ir.Node, str]) -> None:
        """Claim names: fixed ones (counters, flags), then those of variables of the process, then others."""
        known = {node: name.removesuffix("_q") for node, name in fixed.items()}
        naming, others = Naming(self.process, self.stages, known), []
        for node in self.stages.order:
            if node not in self.stages.solid or isinstance(node.op, (ir.Write, ir.Store)):
                continue
            if isinstance(node.op, ir.Const) and not shape_of(node.type):
                continue
            if node in fixed:
                self.base[node] = known[node]
                self.at[node, 0] = fixed[node]
            elif (name := naming.own(node)) is not None:
                self.base[node] = self.symbols.claim(name)
            else:
                others.append(node)
        for node in others:
            self.base[node] = self.symbols.claim(naming.name(node))
        for node, name in self.base.items():
            self.at.setdefault((node, 0 if node in fixed else self.stages.ready[node]), name)

    def name(self, node: ir.Node, stage: int) -> str:
        """Return the variable that holds a solid node's value in `stage`; add the registers up to it."""
        if isinstance(node.op, ir.Const):
            return self.base[node]
        have = stage
        while (node, have) not in self.at:
            have -= 1
            assert have >= self.stages.ready[node], (node, stage)
        for s in range(have + 1, stage + 1):
            settled = node in self.stages.wires or s > self.stages.ready[node] + 1
            if s <= self.stages.issue and node in self.stages.steady and settled:
                self.at[node, s] = self.at[node, s - 1]  # the command stays until its last iteration has issued
                continue
            self.at[node, s] = self.symbols.claim(f"{self.base[node]}_s{s}")
            self.declare(node, self.at[node, s], attribute=fanned(self.loads.get((node, s), 1)))
            self.register(node, s, f"{self.at[node, s]} <= {self.at[node, s - 1]};")
            self.read[self.at[node, s - 1]] = ALL
        return self.at[node, stage]

    def register(self, node: ir.Node, stage: int, line: str) -> None:
        """Print a register of a node's value into a stage; up to issue all that changes with the iteration waits."""
        waits = stage <= self.stages.issue and node not in self.stages.steady
        (self.printed[stage].waiting if waits else self.printed[stage].registers).append(line)

    def declare(self, node: ir.Node, *names: str, type_: Leaf | None = None, attribute: str = "") -> None:
        """Declare variables of a node, of its type or of another."""
        whole = node.type if type_ is None else type_
        assert not isinstance(whole, Struct)
        element, shape = declared(whole)
        self.variables.setdefault((node, attribute + element), []).extend(f"{name}{shape}" for name in names)

    def declared(self) -> list[str]:
        """Return the declarations, those of a node and type together."""
        lines = (f"{element}{', '.join(names)};" for (_, element), names in self.variables.items())
        return [line if len(line) <= COLUMNS else filled(line, "    ") for line in lines]

    # operands --------------------------------------------------------------------------------------------------------

    def index_vars(self, shape: tuple[int, ...]) -> Index:
        self.extents.update(zip(self.vars, shape, strict=False))
        return tuple(Affine(0, ((name, 1),)) if n > 1 else Affine() for name, n in zip(self.vars, shape, strict=False))

    def operand(self, node: ir.Node, stage: int, index: Index, read: int = ALL) -> Operand:
        """Return one element of a node in a stage, of which the bits in the mask `read` will be read."""
        assert not isinstance(node.type, Struct)
        e, shape = elem_of(node.type), shape_of(node.type)
        if isinstance(node.op, ir.Strided) and node not in self.stages.solid:
            source = node.args[0]
            assert not isinstance(source.type, Struct)
            return self.element(source, stage, affine(node.op.offset, node.op.strides, index), read)
        if isinstance(node.op, ir.Const) and (not shape or not any(i.terms for i in index)):
            value = node.op.values[flat(index, shape).offset]
            return Operand(literal(value, e), e, value)
        return self.element(node, stage, flat(index, shape), read)

    def element(self, node: ir.Node, stage: int, position: Affine, read: int = ALL) -> Operand:
        """Return the element of a solid node at a flat position."""
        assert not isinstance(node.type, Struct)
        e, shape = elem_of(node.type), shape_of(node.type)
        if isinstance(node.op, ir.Const) and not position.terms:
            value = node.op.values[position.offset]
            return Operand(literal(value, e), e, value)
        text = self.name(node, stage)
        if read:
            self.read[text] = self.read.get(text, 0) | read
        for part in digits(position, shape, self.extents) if shape else []:
            text += f"[{part}]"
        return Operand(text, e)

    def reads(self, node: ir.Node) -> bool:
        """Return whether the value of a node is read, not only taken from its stream or memory."""
        return node in self.used or not isinstance(node.op, (ir.Read, ir.Load))

    def unread(self) -> Iterator[str]:
        """Yield what nothing reads: bits of packed values and of scalars, an element of whole arrays."""
        for name, bits in self.packed.items():
            yield from unread(name, bits, self.read.get(name, 0))
        for (node, stage), name in self.at.items():
            of_nest = isinstance(node.op, CONTROL) and not stage
            if isinstance(node.type, Struct) or of_nest or not self.reads(node):
                continue
            shape = shape_of(node.type)
            if not shape:
                yield from unread(name, bits_of(node), self.read.get(name, 0))
            elif name not in self.read:
                yield name + "[0]" * len(shape)

    def scalar(self, node: ir.Node, stage: int) -> str:
        return self.operand(node, stage, ()).text

    def address(self, node: ir.Node, stage: int, index: Index, bits: int) -> str:
        """Return an element of a node as an unsigned number of so many bits."""
        return self.operand(node, stage, index, (1 << bits) - 1).to(Int(bits, False))

    # nodes -----------------------------------------------------------------------------------------------------------

    def print_node(self, node: ir.Node) -> None:
        op = node.op
        if node not in self.stages.solid or node not in self.base or ((node, 0) in self.at and isinstance(op, CONTROL)):
            return
        start, ready = self.stages.start[node], self.stages.ready[node]
        stage = self.printed[start]
        if not self.reads(node):
            return
        if isinstance(op, ir.Read) or isinstance(node.type, Struct):
            if not isinstance(node.type, Struct):
                self.declare(node, self.base[node])
                self.unpack(node, ready)
            return
        shape, e = shape_of(node.type), elem_of(node.type)
        name = self.base[node]
        self.declare(node, name)
        subscript = "".join(f"[{self.vars[a]}]" if n > 1 else "[0]" for a, n in enumerate(shape))
        index = self.index_vars(shape)
        if isinstance(op, ir.Const):
            for position in range(size_of(shape)):
                where = "".join(f"[{p}]" for p in np_unravel(position, shape))
                self.declarations.append(f"assign {name}{where} = {literal(op.values[position], e)};")
            return
        if isinstance(op, (ir.Load, ir.Command, ir.Part)):
            self.unpack(node, ready)
        elif isinstance(op, ir.Concat):
            self.concat(node, stage, start)
        elif isinstance(op, ir.Reinterpret):
            self.reinterpret(node, stage, start)
        elif isinstance(op, ir.Index):
            self.index(node, stage, start, index, subscript)
        elif isinstance(op, ir.Lookup):
            self.lookup(node, stage, start)
        elif isinstance(op, ir.Cascade):
            sv_cells.cascade(self, node, start, ready)
        elif isinstance(op, ir.Delay):
            sv_cells.delay_line(self, node, start, ready)
        elif isinstance(op, ir.Mul) and op.luts:
            sv_cells.products(self, node, start, ready)
        elif isinstance(op, ir.STATE):
            self.state(node, stage, start, index, subscript)
        else:
            if isinstance(op, ir.BitLength) and elem_of(node.args[0].type).bits > 1:
                bits = elem_of(node.args[0].type).bits
                self.functions[bits] = bit_length_function(bits, e.bits)
            if isinstance(op, ir.Strided):
                args = [self.element(node.args[0], start, affine(op.offset, op.strides, index))]
            else:
                args = [
                    self.operand(a, start, aligned(index, shape_of(a.type)), bits_read(node, at))
                    for at, a in enumerate(node.args)
                ]
            text = args[0].text if isinstance(op, ir.Strided) else expression(node, args)
            if is_multiplier(node):
                self.pipeline(node, stage, start, subscript, text)
            else:
                stage.add(shape, [f"{name}{subscript} = {text};"])
            self.check(node, stage, args, name + subscript)

    def check(self, node: ir.Node, stage: PrintedStage, args: list[Operand], result: str) -> None:
        """Assert that a fit loses no bits."""
        op, e = node.op, elem_of(node.type)
        shape = shape_of(node.type)
        if isinstance(op, ir.Cast) and op.mode == "fit":
            common = union(args[0].e, e)
            same = f"{extend(result, e, common)} == {args[0].to(common)}"
            stage.checks.append((shape, [f'assert ({same}) else $error("{self.base[node]}: fit to {e} of another value");']))

    def pipeline(self, node: ir.Node, stage: PrintedStage, start: int, subscript: str, text: str) -> None:
        """Print a product: computed from registered operands, registered once or more."""
        name = self.base[node]
        before = self.symbols.claim(f"{name}_n")
        self.declare(node, before)
        stage.add(shape_of(node.type), [f"{before}{subscript} = {text};"])
        latency = clocked_latency(node)
        for s in range(1, latency):
            after = self.symbols.claim(f"{name}_m{s}")
            self.declare(node, after)
            self.register(node, start + s, f"{after} <= {before};")
            before = after
        self.register(node, start + latency, f"{name} <= {before};")

    def state(self, node: ir.Node, stage: PrintedStage, start: int, index: Index, subscript: str) -> None:
        name, op, shape, e = self.base[node], node.op, shape_of(node.type), elem_of(node.type)
        after = self.symbols.claim(f"{name}_n")
        self.declare(node, after)
        enable = self.valid(start)
        if isinstance(op, ir.Accumulate):
            x = self.operand(node.args[0], start, index)
            clear = self.scalar(node.args[1], start)
            new, old = x.to(e), name + subscript
            if op.kind in ("add", "or"):  # zero instead of the old value, which a sum's look-up tables choose beside adding
                sign, kept = "+" if op.kind == "add" else "|", f"({clear} ? {literal(0, e)} : {old})"
                stage.add(shape, [f"{after}{subscript} = {new} {sign} {kept};"])
            else:
                relation = ">" if op.kind == "max" else "<"
                stage.add(shape, [f"{after}{subscript} = {clear} ? {new} : (({old} {relation} {new}) ? {old} : {new});"])
        elif isinstance(op, ir.ShiftIn):
            x = self.operand(node.args[0], start, index[1:])
            rest = "".join(f"[{self.vars[a + 1]}]" if n > 1 else "[0]" for a, n in enumerate(shape[1:]))
            segments: list[Segment] = []
            if op.count > 1:
                moved = f"{name}[{self.vars[0]}+1]{rest}" if op.count > 2 else f"{name}[1]{rest}"
                target = f"{after}[{self.vars[0]}]{rest}" if op.count > 2 else f"{after}[0]{rest}"
                segments.append(((op.count - 1, *shape[1:]), [f"{target} = {moved};"]))
            segments.append(((1, *shape[1:]), [f"{after}[{op.count - 1}]{rest} = {x.to(e)};"]))
            stage.add_together(segments)
            if op.guarded:
                enable = f"{enable} && {self.scalar(node.args[1], start)}"
            zero = "'{default: '0}"
            self.resets.append(f"if (!rst_ni) {name} <= {zero};\nelse if ({enable}) {name} <= {after};")
            return
        else:
            x = self.operand(node.args[0], start, index)
            stage.add(shape, [f"{after}{subscript} = {x.to(e)};"])
            enable = f"{enable} && {self.scalar(node.args[1], start)}"
        self.printed[start + 1].registers.append(f"if ({enable}) {name} <= {after};")

    def valid(self, stage: int) -> str:
        """Return whether a stage holds an iteration that has issued."""
        after = stage - self.stages.issue
        self.deepest = max(self.deepest, after)
        return f"valid_q[{after}]" if after else "issue"

    def concat(self, node: ir.Node, stage: PrintedStage, start: int) -> None:
        assert isinstance(node.op, ir.Concat)
        axis, at = node.op.axis, 0
        segments: list[Segment] = []
        for a in node.args:
            shape = shape_of(a.type)
            index = self.index_vars(shape)
            where = "".join(f"[{i + at if d == axis else i}]" for d, i in enumerate(index))
            segments.append((shape, [f"{self.base[node]}{where} = {self.operand(a, start, index).text};"]))
            at += shape[axis]
        stage.add_together(segments)

    def reinterpret(self, node: ir.Node, stage: PrintedStage, start: int) -> None:
        source = node.args[0]
        assert not isinstance(source.type, Struct) and not isinstance(node.type, Struct)
        packed = self.symbols.claim(f"{self.base[node]}_bits")
        self.declare(node, packed, type_=Int(width(source.type), False))
        self.packed[packed] = width(source.type)
        self.pack(packed, [(0, source)], start)
        self.unpack_from(node.type, self.base[node], [packed], stage)

    def pack(self, target: str, parts: list[tuple[int, ir.Node]], stage: int) -> None:
        """Print target[offset +: width] = source for each (offset, source); together they fill target."""
        single = sum(bits_of(source) for _, source in parts) == 1
        segments: list[Segment] = []
        for offset, source in parts:
            shape, bits = shape_of(source.type), elem_of(source.type).bits
            index = self.index_vars(shape)
            where = flat(index, shape) * bits + offset
            value = self.operand(source, stage, index).text
            value = f"unsigned'({value})" if elem_of(source.type).signed else value
            segments.append((shape, [f"{target}{'' if single else part_select(where, bits)} = {value};"]))
        if len(segments) == 1:
            self.printed[stage].add(*segments[0])
        else:
            self.printed[stage].add_together(segments)

    def unpack_from(self, type_: Leaf, name: str, sources: list[str], stage: PrintedStage, offset: int = 0) -> None:
        """Print name = the value at `offset` of a packed vector; with several vectors, one per leading index of name."""
        shape, e = shape_of(type_), elem_of(type_)
        index = self.index_vars(shape)
        where = flat(index, shape) * e.bits + offset
        subscript = "".join(f"[{i}]" for i in index)
        segments: list[Segment] = []
        for at, source in enumerate(sources):
            lane = f"[{at}]" if len(sources) > 1 else ""
            part = "" if self.packed.get(source) == 1 else part_select(where, e.bits)
            self.read[source] = self.read.get(source, 0) | ((1 << width(type_)) - 1) << offset
            text = f"signed'({source}{part})" if e.signed else f"{source}{part}"
            segments.append((shape, [f"{name}{lane}{subscript} = {text};"]))
        if len(segments) == 1:
            stage.add(*segments[0])
        else:
            stage.add_together(segments)

    def unpack(self, node: ir.Node, ready: int) -> None:
        """Print a token or element, or a field of one, from its packed port."""
        source = node.args[0] if isinstance(node.op, ir.Part) else node
        stage, op = self.printed[ready], source.op
        assert not isinstance(node.type, Struct)
        offset = 0
        if isinstance(node.op, ir.Part):
            if source not in self.offsets:
                self.offsets[source] = {path: at for path, _, at in leaves(source.type)}
            offset = self.offsets[source][node.op.path]
        if not isinstance(op, ir.Load):
            self.unpack_from(node.type, self.base[node], [self.data_of[source]], stage, offset)
            return
        lanes = shape_of(source.args[0].type)
        self.unpack_lanes(node.type, lanes, self.base[node], self.load_data[source], stage, offset)

    def unpack_lanes(
        self, type_: Leaf, lanes: tuple[int, ...], name: str, sources: list[str], stage: PrintedStage, offset: int = 0
    ) -> None:
        """Print as unpack_from; `lanes` are the leading axes of the type, one vector each."""
        inner = leaf(elem_of(type_), shape_of(type_)[len(lanes) :])
        self.unpack_from(inner, name + ("[0]" if lanes == (1,) else ""), sources, stage, offset)

    def index(self, node: ir.Node, stage: PrintedStage, start: int, index: Index, subscript: str) -> None:
        x, at = node.args
        count = shape_of(x.type)[0]
        rank = len(shape_of(at.type))
        where = self.address(at, start, index[:rank], (count - 1).bit_length()) if count > 1 else "0"
        rest = "".join(f"[{i}]" for i in index[rank:])
        source = self.name(x, start)
        self.read[source] = ALL
        stage.add(shape_of(node.type), [f"{self.base[node]}{subscript} = {source}[{where}]{rest};"])

    def lookup(self, node: ir.Node, stage: PrintedStage, start: int) -> None:
        op = node.op
        assert isinstance(op, ir.Lookup)
        at = node.args[0]
        rom = self.rom(op.rom)
        name, lanes = self.base[node], shape_of(at.type)
        index = self.index_vars(lanes)
        bits = max(1, (len(op.rom.values) - 1).bit_length())
        address, data, out = (self.symbols.claim(f"{name}_{what}") for what in ("address", "data", "out_q"))
        source, word = Int(bits, False), Int(width(op.rom.type), False)
        self.declare(node, address, f"{address}_q", type_=leaf(source, lanes))
        self.declare(node, data, f"{data}_q", out, type_=leaf(word, lanes))
        subscript = "".join(f"[{i}]" for i in index)
        stage.add(lanes, [f"{address}{subscript} = {self.address(at, start, index, bits)};"])
        self.register(node, start + 1, f"{address}_q <= {address};")
        self.printed[start + 1].add(lanes, [f"{data}{subscript} = {rom}[{address}_q{subscript}];"])
        self.register(node, start + 2, f"{data}_q <= {data};")
        self.register(node, start + READ_LATENCY, f"{out} <= {data}_q;")
        sources = [f"{out}[{lane}]" for lane in range(lanes[0])] if lanes else [out]
        self.packed |= dict.fromkeys(sources, word.bits)
        assert not isinstance(node.type, Struct)
        self.unpack_lanes(node.type, lanes, name, sources, self.printed[start + READ_LATENCY])

    def rom(self, rom: ir.Rom) -> str:
        if rom.name not in self.roms:
            bits = width(rom.type)
            name = self.symbols.claim(rom.name)
            values = [pack_constant(rom.type, row) for row in rom.values]
            per_line = max(1, 96 // (bits // 4 + 6))
            # concatenation puts its last operand in the low bits, so the values are listed from the end
            listed = list(reversed(values))
            rows = [
                "    " + ", ".join(f"{bits}'h{v:x}" for v in listed[at : at + per_line])
                for at in range(0, len(listed), per_line)
            ]
            table = self.symbols.claim(f"{rom.name}_values")
            style = '(* rom_style = "block" *) ' if len(values) > SMALL else ""
            self.roms[rom.name] = [
                f"localparam logic [{len(values)}*{bits}-1:0] {table} = {{",
                *(line + "," for line in rows[:-1]),
                rows[-1],
                "};",
                f"{style}logic {dimension(bits)}{name} [{len(values)}];",
                f"initial for (int n = 0; n < {len(values)}; n++) {name}[n] = {table}[n*{bits}+:{bits}];",
            ]
            self.names_of_roms[rom.name] = name
        return self.names_of_roms[rom.name]


CONTROL = (ir.Counter, ir.First, ir.Last, ir.Following)


def part_select(where: Affine, bits: int) -> str:
    """Return the select of so many bits from a position on."""
    return f"[{where}+:{bits}]" if where.terms else bit_range(where.offset + bits - 1, where.offset)


def np_unravel(position: int, shape: tuple[int, ...]) -> list[int]:
    out: list[int] = []
    for n in reversed(shape):
        out.insert(0, position % n)
        position //= n
    return out


def pack_constant(type_: Leaf, values: tuple[int, ...]) -> int:
    bits, out = elem_of(type_).bits, 0
    for at, v in enumerate(values):
        out |= (v & ((1 << bits) - 1)) << (at * bits)
    return out


def bit_length_function(bits: int, result: int) -> str:
    return f"""function automatic logic [{result - 1}:0] bit_length_{bits}(input logic [{bits - 1}:0] x);
  bit_length_{bits} = '0;
  for (int n = 0; n < {bits}; n++) if (x[n]) bit_length_{bits} = {result}'(unsigned'(n + 1));
endfunction"""
