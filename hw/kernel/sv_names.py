"""Names of the data path: a value has that of its Python variable; what an expression computes on the way is named after the
variable that it becomes, or the stream or memory that it goes to, and after what it is: `total_product`, `sums_when`."""

from __future__ import annotations

from dataclasses import dataclass

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.placement import Placement
from edgewright.hw.kernel.types import elem_of, leaves

WORDS: dict[type[ir.Op], str] = {
    ir.Const: "constant",
    ir.Add: "sum",
    ir.Sub: "difference",
    ir.Mul: "product",
    ir.And: "and",
    ir.Or: "or",
    ir.Xor: "xor",
    ir.Neg: "negated",
    ir.Not: "inverted",
    ir.Min: "min",
    ir.Max: "max",
    ir.Abs: "magnitude",
    ir.Select: "selected",
    ir.ShlBy: "shl",
    ir.ShrBy: "shr",
    ir.BitLength: "length",
    ir.Bits: "field",
    ir.CatBits: "joined",
    ir.Strided: "view",
    ir.Concat: "joined",
    ir.Index: "element",
    ir.Reinterpret: "recast",
    ir.Accumulate: "running",
    ir.ShiftIn: "window",
    ir.Hold: "held",
    ir.Delay: "delayed",
    ir.Lookup: "entry",
    ir.Command: "command",
    ir.Read: "token",
    ir.Load: "element",
}
COMPARED = {"eq": "equal", "ne": "unequal", "lt": "less", "le": "at_most", "gt": "greater", "ge": "at_least"}
CAST = {"wrap": "wrapped", "sat": "saturated", "fit": "fitted"}
WITH_CONSTANT: dict[type[ir.Op], str] = {ir.Add: "plus", ir.Sub: "minus", ir.Mul: "times"}


def word(node: ir.Node) -> str:
    """Return what a value is, without what it is of."""
    op = node.op
    if isinstance(op, ir.Compare):
        return COMPARED[op.kind]
    if isinstance(op, ir.Cast):
        widens = elem_of(node.type).holds(elem_of(node.args[0].type))
        return "widened" if widens else CAST[op.mode]
    if isinstance(op, ir.Part):
        return "_".join(op.path)
    if isinstance(op, ir.Shl):
        return f"shl_{op.amount}"
    if isinstance(op, ir.Shr):
        halved = isinstance(node.args[0].op, ir.Add) and single(node.args[0].args[1]) == 1 and op.amount == 1
        return "rounded" if halved else f"shr_{op.amount}"
    if (constant := WITH_CONSTANT.get(type(op))) is not None and (value := single(node.args[1])) is not None and value >= 0:
        return f"{constant}_{value}"
    return WORDS.get(type(op), type(op).__name__.lower())


def single(node: ir.Node) -> int | None:
    """Return the value of a constant whose elements are all alike."""
    return node.op.values[0] if isinstance(node.op, ir.Const) and len(set(node.op.values)) == 1 else None


@dataclass(frozen=True, slots=True)
class Use:
    """The first use of a value: by a node, or as the part `role` of what goes to or comes from `owner`."""

    consumer: ir.Node | None
    owner: str = ""
    role: str = ""

    @property
    def name(self) -> str:
        """What a value is called that nothing but this use tells from others."""
        return f"{self.owner}_{self.role}" if self.role else self.owner


def roles(node: ir.Node) -> tuple[str, list[str]] | None:
    """Return whom the arguments of an effect or Load belong to, and as what."""
    op = node.op
    if isinstance(op, ir.Read):
        return op.channel.name, ["when"]
    if isinstance(op, ir.Load):
        return op.buffer.name, ["address", "fresh", "free", "last"]
    if isinstance(op, (ir.Write, ir.Store)):
        owner = op.channel if isinstance(op, ir.Write) else op.buffer
        fields = ["_".join(path) or "value" for path, _, _ in leaves(owner.type)]
        before = ["address"] if isinstance(op, ir.Store) else []
        after = ["mask"] if isinstance(op, ir.Store) and op.masked else []
        return owner.name, [*before, *fields, *after, "when"]
    return None


class Naming:
    """Finds the names of a process's nodes; equal ones are told apart where they are claimed. `known`: names that the loop nest
    has given."""

    def __init__(self, process: ir.Process, stages: Placement, known: dict[ir.Node, str]) -> None:
        self.labels, self.inner = stages.body.names, process.inner
        self.uses: dict[ir.Node, Use] = {}
        self.found = dict(known)
        for level, loop in enumerate(process.loops):
            for bound, role in ((stages.following.get(level), "next"), (stages.body.bounds[level], "")):
                if isinstance(bound, ir.Node):
                    self.uses.setdefault(bound, Use(None, f"bound_{loop.name}", role))
        for write, part in stages.reserve.items():
            assert isinstance(write.op, ir.Write)
            if part is not None and part is not ir.write_parts(write).when:
                self.uses.setdefault(part, Use(None, write.op.channel.name, "reserve"))
        for node in stages.order:
            self.note(node)

    def note(self, consumer: ir.Node) -> None:
        """Enter the uses of a node's arguments."""
        found = roles(consumer)
        for position, arg in enumerate(consumer.args):
            if found is not None:
                self.uses.setdefault(arg, Use(None, found[0], found[1][position]))
            else:
                self.uses.setdefault(arg, Use(consumer))

    def own(self, node: ir.Node) -> str | None:
        """Return the variable of the process itself that holds a value."""
        label = self.labels.get(node)
        return None if label is None or label in self.inner else label

    def name(self, node: ir.Node) -> str:
        """Return the name of a value, not yet unique."""
        if node not in self.found:
            self.found[node] = self.own(node) or self.made(node)
        return self.found[node]

    def made(self, node: ir.Node) -> str:
        """Return the name of a value that has no variable of the process."""
        op, use = node.op, self.uses.get(node)
        local = self.inner.get(self.labels.get(node, ""), "")
        if isinstance(op, ir.Read):
            return f"{op.channel.name}_token"
        if isinstance(op, ir.Load):
            return f"{op.buffer.name}_element"
        if isinstance(op, ir.Part) and isinstance(node.args[0].op, (ir.Read, ir.Load)):
            source = node.args[0].op
            return f"{source.channel.name if isinstance(source, ir.Read) else source.buffer.name}_{word(node)}"
        if isinstance(op, ir.Not) and not local:
            return f"not_{self.name(node.args[0])}"
        if use is not None and use.consumer is None and not local:
            return use.name
        owner = self.owner(node)
        return f"{owner}_{local or word(node)}" if owner else local or word(node)

    def owner(self, node: ir.Node) -> str:
        """Return what a value is a part of: the variable of the process, the stream or the memory that it becomes first."""
        use = self.uses.get(node)
        while use is not None and use.consumer is not None:
            if (label := self.own(use.consumer)) is not None:
                return label
            node, use = use.consumer, self.uses.get(use.consumer)
        if use is None:
            return ""
        return use.owner if use.role == "value" else use.name
