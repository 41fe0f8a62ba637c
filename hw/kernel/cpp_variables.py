"""C++ variables of one iteration, and those that persist across iterations."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import flat
from edgewright.hw.kernel.cpp_expr import Expr, cast, literal
from edgewright.hw.kernel.cpp_lanes import Index, Lines
from edgewright.hw.kernel.cpp_types import Names, int_name, shape_note
from edgewright.hw.kernel.cpp_values import Base, Values, constant
from edgewright.hw.kernel.cpp_words import Carriers
from edgewright.hw.kernel.types import Array, Int, elem_of, shape_of, size_of


def partition(name: str) -> str:
    return f"#pragma HLS ARRAY_PARTITION variable={name} type=complete"


WORDS: dict[type[ir.Op], str] = {
    ir.Add: "sum",
    ir.Sub: "difference",
    ir.Mul: "scaled",
    ir.And: "flags",
    ir.Or: "flags",
    ir.Not: "flags",
    ir.Compare: "flag",
    ir.Select: "chosen",
    ir.Shl: "shifted",
    ir.Shr: "shifted",
    ir.ShlBy: "shifted",
    ir.ShrBy: "shifted",
    ir.Cast: "narrow",
    ir.BitLength: "length",
    ir.Bits: "field",
    ir.CatBits: "bits",
    ir.Concat: "joined",
    ir.Index: "picked",
    ir.Strided: "part",
    ir.Reinterpret: "packed",
    ir.Reduce: "total",
    ir.Dot: "products",
    ir.Accumulate: "running",
    ir.ShiftIn: "line",
    ir.Hold: "held",
    ir.Delay: "delayed",
    ir.Min: "least",
    ir.Max: "most",
    ir.Abs: "size",
}


class Variables:
    """What the statements of one process share: values, names, the text so far. `ports` holds the texts of the streams, locked
    banks or table that something consists of; `statics` the variables that persist across iterations."""

    def __init__(self, process: ir.Process, nodes: list[ir.Node], carriers: Carriers, names: Names, out: Lines) -> None:
        self.process, self.carriers, self.local, self.out = process, carriers, names, out
        self.values = Values(nodes, process.names)
        self.statics = Lines(1)
        self.ports: dict[ir.Channel | ir.Buffer | ir.Rom, list[str]] = {}

    def named(self, node: ir.Node, fallback: str = "") -> str:
        """Return the Python name of a value, else a word for its op."""
        op = node.op
        if not fallback and isinstance(op, (ir.Load, ir.Lookup)):
            fallback = f"{(op.buffer if isinstance(op, ir.Load) else op.rom).name}_entry"
        return self.local.claim(self.process.names.get(node) or fallback or WORDS.get(type(op), "value"))

    def array(self, node: ir.Node, static: bool = False) -> Base:
        """Declare the array variable of a node."""
        t = node.type
        assert isinstance(t, Array)
        name = self.named(node)
        target = self.statics if static else self.out
        target.add(f"{'static ' if static else ''}{int_name(t.elem)} {name}[{size_of(t.shape)}];{shape_note(t)}")
        target.add(partition(name))
        bind(node, name, target)
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
        """Print a scalar constant of the iteration; with `alias`, one that only repeats a variable or number is replaced by
        it."""
        e = elem_of(node.type)
        if alias and (value.literal or (value.declared and value.atom and not value.text.endswith(")"))):
            self.values.inline[node] = value
            return
        name = self.named(node)
        self.out.add(f"const {int_name(e)} {name} = {plain_init(value, e)};")
        bind(node, name, self.out)
        self.values.base[node] = Base(name, e, array=False)

    def computed(self, node: ir.Node, index: Index) -> Expr:
        """Return the expression of a node that has or will have a variable of its own."""
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

    def rom(self, rom: ir.Rom) -> None:
        """Declare a table where it is looked up, since a pragma binds what its own function defines: with a port for each of
        the lookups of an iteration."""
        name, flat = self.local.claim(rom.name), tuple(v for row in rom.values for v in row)
        element = f"static const {int_name(elem_of(rom.type))} {name}[{len(flat)}]"
        self.statics.add(f"{element} = {initialiser(flat)};{shape_note(rom.type)}")
        self.statics.add(f"#pragma HLS BIND_STORAGE variable={name} type=rom_np impl=lutram")
        self.ports[rom] = [name]

    def table(self, node: ir.Node) -> None:
        values, e = constant(node), elem_of(node.type)
        assert values is not None
        name = self.named(node, "table")
        self.statics.add(f"static const {int_name(e)} {name}[{len(values)}] = {initialiser(values)};{shape_note(node.type)}")
        self.statics.add(partition(name))
        self.values.base[node] = Base(name, e, array=True)


def bind(node: ir.Node, name: str, out: Lines) -> None:
    """Print of what the tool is to make the operation whose result is this variable, where that is not left to it."""
    if isinstance(node.op, ir.Mul) and node.op.luts:
        out.add(f"#pragma HLS BIND_OP variable={name} op=mul impl=fabric")


def plain_init(value: Expr, t: Int) -> str:
    """Return the text that initialises a t or is assigned to it: conversions are implicit unless limbs are narrowed."""
    if (value.type.bits > 128) != (t.bits > 128) and not value.literal:
        return cast(value, t).text
    if value.type.bits > 128 and value.type != t:
        return cast(value, t).text
    return value.text


def initialiser(values: tuple[int, ...]) -> str:
    return "{" + ", ".join(literal(v).text for v in values) + "}"
