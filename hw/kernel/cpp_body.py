"""The statements of one iteration: reads first, then one variable per value that needs one, writes and stores."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.cpp_expr import BOOL, Expr, binary, call, cast, comparable, exact, literal, variable
from edgewright.hw.kernel.cpp_groups import Groups
from edgewright.hw.kernel.cpp_lanes import Affine, Index, Lines, aligned, flat
from edgewright.hw.kernel.cpp_types import Names, TypeNames, bank_axes, field_name, int_name, shape_note, suffix
from edgewright.hw.kernel.cpp_values import Base, Values, constant, is_elementwise
from edgewright.hw.kernel.types import Array, Int, Struct, Type, elem_of, leaves, shape_of, size_of, u


def partition(name: str) -> str:
    return f"#pragma HLS ARRAY_PARTITION variable={name} type=complete"


WORDS: dict[type[ir.Op], str] = {
    ir.Add: "sum", ir.Sub: "difference", ir.Mul: "scaled", ir.And: "flags", ir.Or: "flags", ir.Not: "flags", ir.Compare: "flag",
    ir.Select: "chosen", ir.Shl: "shifted", ir.Shr: "shifted", ir.ShlBy: "shifted", ir.ShrBy: "shifted", ir.Cast: "narrow",
    ir.BitLength: "length", ir.Bits: "field", ir.CatBits: "bits", ir.Concat: "joined", ir.Index: "picked", ir.View: "part",
    ir.Reinterpret: "packed", ir.Reduce: "total", ir.Dot: "products", ir.Accumulate: "running", ir.ShiftIn: "line",
    ir.Hold: "held", ir.Min: "least", ir.Max: "most", ir.Abs: "size",
}  # fmt: skip


class Body:
    """Emits nodes of one process into `out`; variables that live across iterations into `statics`."""

    def __init__(self, process: ir.Process, nodes: list[ir.Node], types: TypeNames, names: Names, out: Lines) -> None:
        self.process, self.types, self.local, self.out = process, types, names, out
        self.values = Values(nodes, process.names)
        self.statics = Lines(1)
        self.ports: dict[ir.Channel | ir.Buffer | ir.Rom, str] = {}  # text of streams, locks and tables
        self.done: set[ir.Node] = set()
        self.same: dict[tuple[object, ...], ir.Node] = {}  # first scalar of each operation and operands
        self.first: dict[ir.Node, ir.Node] = {}
        self.groups = Groups(nodes)

    # --- variables --------------------------------------------------------------------------------------------------

    def named(self, node: ir.Node, fallback: str = "") -> str:
        """The Python name of a value, else a word for what it is."""
        op = node.op
        if not fallback and isinstance(op, (ir.Load, ir.Lookup)):
            fallback = f"{(op.buffer if isinstance(op, ir.Load) else op.rom).name}_entry"
        return self.local.new(self.process.names.get(node) or fallback or WORDS.get(type(op), "value"))

    def array(self, node: ir.Node, static: bool = False) -> Base:
        """Declare the array variable of a node."""
        t = node.type
        assert isinstance(t, Array)
        name = self.named(node)
        target = self.statics if static else self.out
        target.add(f"{'static ' if static else ''}{int_name(t.elem)} {name}[{size_of(t.shape)}];{shape_note(t)}")
        target.add(partition(name))
        base = Base(name, t.elem, array=True)
        self.values.base[node] = base
        return base

    def state(self, node: ir.Node) -> Base:
        if isinstance(node.type, Array):
            return self.array(node, static=True)
        e = elem_of(node.type)
        name = self.named(node)
        self.statics.add(f"static {int_name(e)} {name};")
        base = Base(name, e, array=False)
        self.values.base[node] = base
        return base

    def define(self, node: ir.Node, value: Expr, alias: bool = True) -> None:
        """A scalar constant of the iteration; where it only repeats a variable or number (and `alias`), that itself."""
        e = elem_of(node.type)
        if alias and (value.literal or (value.declared and value.atom and not value.text.endswith(")"))):
            self.values.inline[node] = value
            return
        name = self.named(node)
        self.out.add(f"const {int_name(e)} {name} = {plain_init(value, e)};")
        self.values.base[node] = Base(name, e, array=False)

    # --- dispatch ---------------------------------------------------------------------------------------------------

    def emit(self, nodes: list[ir.Node]) -> None:
        for node in nodes:
            if node not in self.done:
                self.done.add(node)
                if not self.repeated(node) and not self.grouped(node):
                    self.node(node)
        self.flush()

    def repeated(self, node: ir.Node) -> bool:
        """Whether a scalar of the same operation and operands has a variable already, which then stands for this one."""
        if isinstance(node.op, (*ir.STATE, *ir.EFFECTS, ir.Load)):
            return False
        key = (node.op, node.type, *(self.first.get(a, a) for a in node.args))
        known = self.same.setdefault(key, node)
        self.first[node] = known
        if known is node or isinstance(node.type, Struct) or shape_of(node.type):
            return False
        for kept in (self.values.base, self.values.inline):
            if known in kept:
                kept[node] = kept[known]  # type: ignore[index]
                return True
        return False

    def grouped(self, node: ir.Node) -> bool:
        """Whether a node waits in the group; a node that needs the group's values has it printed first."""
        values, groups = self.values, self.groups
        joins = (
            is_elementwise(node) and bool(shape_of(node.type)) and not self.widened(node) and values.wants_variable(node)
        )
        if groups.members and (groups.reaches(node, values) if not joins else not groups.in_step(node, values)):
            if joins or isinstance(node.op, (*ir.STATE, *ir.EFFECTS)) or values.wants_variable(node):
                self.flush()
        if joins:
            groups.members.append(node)
        return joins

    def flush(self) -> None:
        """Print the group's loop."""
        groups, values = self.groups, self.values
        if not groups.members:
            return
        members, groups_local = groups.members, set()
        wanted = {n for n in values.uses if n not in values.base and n in self.done and not is_elementwise(n)}
        for member in members:
            if groups.local(member, wanted) and member not in values.whole:
                groups_local.add(member)
            else:
                self.array(member)
        shape = shape_of(members[0].type)
        groups.members = []
        with self.out.lanes(shape) as index:
            for member in members:
                e = elem_of(member.type)
                value = plain_init(self.computed(member, index), e)
                if member in groups_local:
                    name = self.named(member)
                    self.out.add(f"const {int_name(e)} {name} = {value};")
                    values.base[member] = Base(name, e, array=False)
                else:
                    self.out.add(f"{values.base[member].at(flat(index, shape)).text} = {value};")

    def node(self, node: ir.Node) -> None:
        op, values = node.op, self.values
        if values.needs_table(node):
            self.table(node)
        elif isinstance(op, ir.Read):
            self.read(node, op)
        elif isinstance(op, ir.Load):
            self.load(node, op)
        elif isinstance(op, ir.Part):
            self.part(node, op)
        elif isinstance(op, ir.Write):
            self.write(node, op)
        elif isinstance(op, ir.Store):
            self.store(node, op)
        elif isinstance(op, ir.Accumulate):
            self.accumulate(node, op)
        elif isinstance(op, ir.ShiftIn):
            self.shift_in(node, op)
        elif isinstance(op, ir.Hold):
            self.hold(node)
        elif isinstance(op, ir.Command):
            pass
        elif values.wants_variable(node):
            self.variable(node)

    def variable(self, node: ir.Node) -> None:
        op = node.op
        if isinstance(op, ir.Concat):
            self.concat(node, op)
        elif isinstance(op, ir.Reduce):
            self.reduce(node, op)
        elif isinstance(op, ir.Dot):
            self.dot(node)
        elif isinstance(op, (ir.Index, ir.Lookup)):
            self.index(node)
        elif isinstance(op, ir.CatBits):
            self.cat_bits(node)
        elif isinstance(op, ir.Reinterpret) and not is_elementwise(node):
            self.reinterpret(node)
        elif shape_of(node.type):
            if self.widened(node):
                self.values.base[node] = self.values.base[node.args[0]]
                return
            base = self.array(node)
            self.fill(base, node)
        else:
            self.define(node, self.computed(node, ()))

    def widened(self, node: ir.Node) -> bool:
        """Whether a node is a cast that changes no value of an array variable, which then stands for it."""
        if not isinstance(node.op, ir.Cast) or node in self.values.whole or node.args[0] not in self.values.base:
            return False
        base = self.values.base[node.args[0]]
        return base.array and elem_of(node.type).holds(base.type)

    def computed(self, node: ir.Node, index: Index) -> Expr:
        """The expression of a node that has or will have a variable of its own."""
        held = self.values.base.pop(node, None)
        value = self.values.element(node, index)
        if held is not None:
            self.values.base[node] = held
        return value

    def fill(self, base: Base, node: ir.Node) -> None:
        shape = shape_of(node.type)
        with self.out.lanes(shape) as index:
            value = self.computed(node, index)
            self.out.add(f"{base.at(flat(index, shape)).text} = {plain_init(value, base.type)};")

    def table(self, node: ir.Node) -> None:
        values, e = constant(node), elem_of(node.type)
        assert values is not None
        name = self.named(node, "table")
        self.statics.add(f"static const {int_name(e)} {name}[{len(values)}] = {initialiser(values)};{shape_note(node.type)}")
        self.statics.add(partition(name))
        self.values.base[node] = Base(name, e, array=True)

    # --- streams and memories ---------------------------------------------------------------------------------------

    def token_name(self, node: ir.Node, fallback: str) -> str:
        """The Python name of a struct token, from the names of its parts; else `fallback`."""
        if node in self.process.names:
            return self.process.names[node]
        for part, name in self.process.names.items():
            if isinstance(part.op, ir.Part) and part.args[0] is node:
                tail = "_" + "_".join(part.op.path)
                if name.endswith(tail) and len(name) > len(tail):
                    return name[: -len(tail)]
        return fallback

    def token_base(self, node: ir.Node, name: str) -> None:
        """Where the numbers of a token variable lie."""
        t = node.type
        if isinstance(t, Array):
            self.values.base[node] = Base(f"{name}.v", t.elem, array=True)
        elif isinstance(t, Int):
            self.values.base[node] = Base(name, t, array=False)
        else:
            self.values.base[node] = Base(name, BOOL, array=False)

    def read(self, node: ir.Node, op: ir.Read) -> None:
        stream, token = self.ports[op.channel], self.types.token(op.channel.type)
        if not self.values.uses[node]:
            when = f"if ({self.values.scalar(node.args[0]).text}) " if op.guarded else ""
            self.out.add(f"{when}{stream}.read();")
            return
        name = self.local.new(self.token_name(node, f"{op.channel.name}_token"))
        if op.guarded:
            self.statics.add(f"static {token} {name};")
            self.out.add(f"if ({self.values.scalar(node.args[0]).text}) {name} = {stream}.read();")
        else:
            self.out.add(f"const {token} {name} = {stream}.read();")
        self.token_base(node, name)

    def part(self, node: ir.Node, op: ir.Part) -> None:
        source = node.args[0]
        path = ".".join(field_name(p) for p in op.path)
        base, e = self.values.base[source], elem_of(node.type)
        leaf_shape = shape_of(node.type)
        if isinstance(source.op, ir.Load) and shape_of(source.args[0].type):
            # one struct per address: element n of the flat leaf is field[n % size] of struct n / size
            inner = size_of(leaf_shape[1:])
            tail = f"[({{0}}) % {inner}]" if leaf_shape[1:] else ""
            self.values.base[node] = Base("", e, True, f"{base.text}[({{0}}) / {inner}].{path}{tail}")
            if node in self.values.whole:
                where = self.values.base[node]
                copied = self.array(node)
                with self.out.lanes((size_of(leaf_shape),)) as index:
                    self.out.add(f"{copied.at(index[0]).text} = {where.at(index[0]).text};")
            return
        self.values.base[node] = Base(f"{base.text}.{path}", e, array=bool(leaf_shape))

    def load(self, node: ir.Node, op: ir.Load) -> None:
        bank, address, t = self.ports[op.buffer], node.args[0], op.buffer.type
        lanes = shape_of(address.type)
        at = f"{bank}[int({self.values.scalar(address).text})]" if not lanes else ""
        if isinstance(t, Struct):
            name = self.local.new(self.token_name(node, f"{op.buffer.name}_entry"))
            self.values.base[node] = Base(name, BOOL, array=bool(lanes))
            if not lanes:
                self.out.add(f"const {self.types.token(t)} {name} = {at};")
                return
            self.out.add(f"{self.types.token(t)} {name}[{lanes[0]}];")
            self.out.add(partition(name))
            with self.out.lanes(lanes) as index:
                self.out.add(f"{name}[{index[0]}] = {bank}[int({self.values.element(address, index).text})];")
            return
        axes = bank_axes(t)
        if not lanes and not axes:
            self.define(node, variable(at, elem_of(t)), alias=False)
            return
        base = self.array(node)
        with self.out.lanes((*lanes, *axes)) as index:
            where = self.values.element(address, index[: len(lanes)]).text
            tail = "".join(f"[{i}]" for i in index[len(lanes) :])
            self.out.add(f"{base.at(flat(index, (*lanes, *axes))).text} = {bank}[int({where})]{tail};")

    def token(self, name: str, t: Type, parts: tuple[ir.Node, ...]) -> None:
        """Declare and fill a token or element variable."""
        self.out.add(f"{self.types.token(t)} {name};")
        for (path, leaf_type, _), node in zip(leaves(t), parts, strict=True):
            target = ".".join([name, *(field_name(p) for p in path)]) if isinstance(t, Struct) else f"{name}.v"
            shape, e = shape_of(leaf_type), elem_of(leaf_type)
            with self.out.lanes(shape) as index:
                place = f"{target}[{flat(index, shape)}]" if shape else target
                self.out.add(f"{place} = {plain_init(self.values.element(node, index), e)};")

    def write(self, node: ir.Node, op: ir.Write) -> None:
        parts = ir.write_parts(node)
        if parts.when is None:
            self.send(op.channel, parts)
            return
        with self.out.block(f"if ({self.values.scalar(parts.when).text})"):
            self.send(op.channel, parts)

    def send(self, channel: ir.Channel, parts: ir.WriteParts) -> None:
        stream, t = self.ports[channel], channel.type
        if isinstance(t, Int):
            value = self.values.scalar(parts.values[0])
            self.out.add(f"{stream}.write({cast(value, t).text if value.literal or not value.declared else value.text});")
            return
        whole = self.values.base.get(parts.values[0]) if isinstance(t, Array) else None
        if whole is not None and whole.text.endswith(".v") and whole.type == elem_of(t) and isinstance(parts.values[0].op, ir.Read):
            self.out.add(f"{stream}.write({whole.text[:-2]});")
            return
        name = self.local.new(f"{channel.name}_token")
        self.token(name, t, parts.values)
        self.out.add(f"{stream}.write({name});")

    def store(self, node: ir.Node, op: ir.Store) -> None:
        parts = ir.store_parts(node)
        if parts.when is None:
            self.put(op.buffer, parts)
            return
        with self.out.block(f"if ({self.values.scalar(parts.when).text})"):
            self.put(op.buffer, parts)

    def put(self, buffer: ir.Buffer, parts: ir.StoreParts) -> None:
        bank, t = self.ports[buffer], buffer.type
        at = f"{bank}[int({self.values.scalar(parts.address).text})]"
        if isinstance(t, Struct):
            name = self.local.new(f"{buffer.name}_entry")
            self.token(name, t, parts.values)
            self.out.add(f"{at} = {name};")
            return
        shape, axes = shape_of(t), bank_axes(t)
        with self.out.lanes(shape) as index:
            tail = "".join(f"[{i}]" for i in ((index[0], flat(index[1:], shape[1:])) if len(axes) == 2 else index))
            guard = f"if ({self.values.element(parts.mask, index[:1]).text}) " if parts.mask is not None else ""
            self.out.add(f"{guard}{at}{tail} = {plain_init(self.values.element(parts.values[0], index), elem_of(t))};")

    # --- state ------------------------------------------------------------------------------------------------------

    def accumulate(self, node: ir.Node, op: ir.Accumulate) -> None:
        x, clear = node.args
        base, shape, e = self.state(node), shape_of(node.type), elem_of(node.type)
        condition = self.values.scalar(clear)
        with self.out.lanes(shape) as index:
            value, old = self.values.element(x, index), base.at(flat(index, shape))
            if op.kind in ("add", "or"):
                start = Expr(f"{condition.operand} ? {int_name(e)}(0) : {old.text}", e, old.c, atom=False, declared=True)
                updated = plain_init(binary("+" if op.kind == "add" else "|", start, value, e), e)
            else:
                a, b = comparable(old, value, strict=True)
                best = call(f"{op.kind}_of<{int_name(e)}>", e, a, b)
                updated = f"{condition.operand} ? {cast(value, e).operand} : {best.text}"
            self.out.add(f"{old.text} = {updated};")

    def shift_in(self, node: ir.Node, op: ir.ShiftIn) -> None:
        base, shape = self.state(node), shape_of(node.args[0].type)
        size = size_of(shape)
        if op.guarded:
            with self.out.block(f"if ({self.values.scalar(node.args[1]).text})"):
                self.shift(node, base, op.count, size, shape)
        else:
            self.shift(node, base, op.count, size, shape)

    def shift(self, node: ir.Node, base: Base, count: int, size: int, shape: tuple[int, ...]) -> None:
        if count > 1:
            with self.out.lanes(((count - 1) * size,)) as index:
                self.out.add(f"{base.at(index[0]).text} = {base.at(index[0] + size).text};")
        with self.out.lanes(shape) as index:
            value = self.values.element(node.args[0], index)
            self.out.add(f"{base.at(flat(index, shape) + (count - 1) * size).text} = {plain_init(value, base.type)};")

    def hold(self, node: ir.Node) -> None:
        x, when = node.args
        base, shape = self.state(node), shape_of(node.type)
        with self.out.block(f"if ({self.values.scalar(when).text})"), self.out.lanes(shape) as index:
            self.out.add(f"{base.at(flat(index, shape)).text} = {plain_init(self.values.element(x, index), base.type)};")

    # --- operations with loops of their own -------------------------------------------------------------------------

    def concat(self, node: ir.Node, op: ir.Concat) -> None:
        base, shape = self.array(node), shape_of(node.type)
        at = 0
        for arg in node.args:
            with self.out.lanes(shape_of(arg.type)) as index:
                moved = tuple(i + at if d == op.axis else i for d, i in enumerate(index))
                value = self.values.element(arg, index)
                self.out.add(f"{base.at(flat(moved, shape)).text} = {plain_init(value, base.type)};")
            at += shape_of(arg.type)[op.axis]

    def reduce(self, node: ir.Node, op: ir.Reduce) -> None:
        x, e = node.args[0], elem_of(node.type)
        kept = [d for d in range(len(shape_of(x.type))) if d not in op.axes]
        shape = tuple(shape_of(x.type)[d] for d in kept)
        inner = tuple(shape_of(x.type)[d] for d in op.axes)
        base = self.array(node) if shape else None
        if base is None:
            name = self.named(node)
            base = Base(name, e, array=False)
            self.values.base[node] = base
        with self.out.lanes(shape) as outer:
            target = base.at(flat(outer, shape)).text

            def pick(within: Index) -> Expr:
                at = dict(zip(kept, outer, strict=True)) | dict(zip(op.axes, within, strict=True))
                return self.values.element(x, tuple(at[d] for d in range(len(at))))

            start = "0" if op.kind in ("add", "or") else plain_init(pick(tuple(Affine() for _ in inner)), e)
            self.out.add(f"{target if shape else f'{int_name(e)} {target}'} = {start};")
            with self.out.lanes(inner, sum(n > 1 for n in shape)) as within:
                old, value = variable(target, e), pick(within)
                if op.kind in ("add", "or", "and"):
                    updated = binary({"add": "+", "or": "|", "and": "&"}[op.kind], old, value, e)
                    self.out.add(f"{target} = {plain_init(updated, e)};")
                else:
                    a, b = comparable(old, value, strict=True)
                    self.out.add(f"{target} = {op.kind}_of<{int_name(e)}>({a.text}, {b.text});")

    def whole(self, node: ir.Node) -> str:
        """Text of a whole array in memory."""
        return self.values.base[node].text

    def dot(self, node: ir.Node) -> None:
        a, w = node.args
        base = self.array(node)
        t, k = shape_of(a.type)
        self.out.add(f"dot<{t}, {shape_of(w.type)[0]}, {k}>({base.text}, {self.whole(a)}, {self.whole(w)});")

    def index(self, node: ir.Node) -> None:
        """A value picked by a position known when running, from an array or a table."""
        op, e = node.op, elem_of(node.type)
        at = node.args[-1]
        if isinstance(op, ir.Lookup):
            source, inner = Base(self.ports[op.rom], e, array=True), shape_of(op.rom.type)
        else:
            source, inner = self.values.base[node.args[0]], shape_of(node.args[0].type)[1:]
        size = size_of(inner)

        def picked(index: Index) -> str:
            lane = self.values.element(at, index[: len(shape_of(at.type))])
            tail = flat(index[len(shape_of(at.type)) :], inner)
            return source.at(Affine(tail.offset, (*tail.terms, (f"int({lane.text})", size)))).text

        if not shape_of(node.type):
            self.define(node, variable(picked(()), e), node not in self.process.names and self.values.uses[node] < 2)
            return
        base, shape = self.array(node), shape_of(node.type)
        with self.out.lanes(shape) as index:
            self.out.add(f"{base.at(flat(index, shape)).text} = {picked(index)};")

    def cat_bits(self, node: ir.Node) -> None:
        shape, e = shape_of(node.type), elem_of(node.type)
        base = self.array(node) if shape else Base(self.named(node), e, array=False)
        self.values.base[node] = base
        with self.out.lanes(shape) as index:
            target = base.at(flat(index, shape)).text
            self.out.add(f"{target if shape else f'{int_name(e)} {target}'} = 0;")
            at = 0
            for arg in node.args:
                value = self.values.element(arg, aligned(index, shape_of(arg.type)))
                self.out.add(f"place<{elem_of(arg.type).bits}>({target}, {at}, {exact(value).text});")
                at += elem_of(arg.type).bits

    def reinterpret(self, node: ir.Node) -> None:
        x = node.args[0]
        old, new = elem_of(x.type), elem_of(node.type)
        if old.bits == new.bits:
            base = self.array(node) if shape_of(node.type) else Base(self.named(node), new, array=False)
            size = (size_of(shape_of(node.type)),)
            with self.out.lanes(size) as index:
                source = self.values.base[x].at(index[0]) if shape_of(x.type) else self.values.scalar(x)
                declaration = base.at(index[0]).text if base.array else f"const {int_name(new)} {base.text}"
                self.out.add(f"{declaration} = wrap_{suffix(new)}({source.text});")
            self.values.base[node] = base
            return
        if not shape_of(node.type) and not new.signed:
            name = self.named(node)
            self.out.add(f"{int_name(new)} {name};")
            self.out.add(f"pack<{old.bits}>({name}, {self.whole(x)});")
            self.values.base[node] = Base(name, new, array=False)
            return
        word = cast(self.values.scalar(x), old) if not shape_of(x.type) else None
        if word is None:
            total = u(old.bits * size_of(shape_of(x.type)))
            name = self.local.new("packed")
            self.out.add(f"{int_name(total)} {name};")
            self.out.add(f"pack<{old.bits}>({name}, {self.whole(x)});")
            word = variable(name, total)
        if not shape_of(node.type):
            self.define(node, call(f"wrap_{suffix(new)}", new, word))
            return
        base = self.array(node)
        self.out.add(f"unpack_{suffix(new)}({base.text}, {word.text});")


def plain_init(value: Expr, t: Int) -> str:
    """The text that initialises or is assigned to a t: conversions are implicit unless limbs are narrowed."""
    if (value.type.bits > 128) != (t.bits > 128) and not value.literal:
        return cast(value, t).text
    if value.type.bits > 128 and value.type != t:
        return cast(value, t).text
    return value.text


def initialiser(values: tuple[int, ...]) -> str:
    return "{" + ", ".join(literal(v).text for v in values) + "}"
