"""Print the statements of one iteration: reads first, then one variable per value that needs one, writes and stores."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import flat
from edgewright.hw.kernel.cpp_compute import Compute
from edgewright.hw.kernel.cpp_groups import Groups
from edgewright.hw.kernel.cpp_lanes import Lines
from edgewright.hw.kernel.cpp_memory import Memories
from edgewright.hw.kernel.cpp_types import Names, int_name
from edgewright.hw.kernel.cpp_values import Base, is_elementwise
from edgewright.hw.kernel.cpp_variables import bind, plain_init
from edgewright.hw.kernel.cpp_words import Carriers
from edgewright.hw.kernel.types import Struct, elem_of, shape_of


class BodyPrinter(Memories, Compute):
    """Prints the nodes of one process, arguments first."""

    def __init__(self, process: ir.Process, nodes: list[ir.Node], carriers: Carriers, names: Names, out: Lines) -> None:
        super().__init__(process, nodes, carriers, names, out)
        self.done: set[ir.Node] = set()
        self.same: dict[tuple[object, ...], ir.Node] = {}  # first scalar of each operation and operands
        self.first: dict[ir.Node, ir.Node] = {}
        self.groups = Groups(nodes)

    def emit(self, nodes: list[ir.Node]) -> None:
        for node in nodes:
            if node not in self.done:
                self.done.add(node)
                if not self.repeated(node) and not self.grouped(node):
                    self.node(node)
        self.flush()

    def repeated(self, node: ir.Node) -> bool:
        """Return whether a scalar of the same operation and operands has a variable already, which is then used for this
        one."""
        if isinstance(node.op, (*ir.STATE, *ir.EFFECTS, ir.Load)):
            return False
        key = (node.op, node.type, *(self.first.get(a, a) for a in node.args))
        known = self.same.setdefault(key, node)
        self.first[node] = known
        if known is node or isinstance(node.type, Struct) or shape_of(node.type):
            return False
        values = self.values
        if known in values.base:
            values.base[node] = values.base[known]
        elif known in values.inline:
            values.inline[node] = values.inline[known]
        else:
            return False
        return True

    def grouped(self, node: ir.Node) -> bool:
        """Add a node to the group and return True if it may share the loop; print the group first if the node needs its
        values."""
        values, groups = self.values, self.groups
        joins = is_elementwise(node) and bool(shape_of(node.type)) and not self.widened(node) and values.wants_variable(node)
        if joins:
            if groups.members and not groups.in_step(node, values):
                self.flush()
        elif (
            groups.members
            and groups.reaches(node, values)
            and (isinstance(node.op, (*ir.STATE, *ir.EFFECTS)) or values.wants_variable(node))
        ):
            self.flush()
        if joins:
            groups.members.append(node)
            values.inside[node] = 0
        return joins

    def flush(self) -> None:
        """Print the group's loop."""
        groups, values = self.groups, self.values
        if not groups.members:
            return
        members, inside = groups.members, set[ir.Node]()
        printed = {n for n in values.uses if n not in values.base and n in self.done and not is_elementwise(n)}
        for member in members:
            if groups.local(member, printed) and member not in values.whole:
                inside.add(member)
            else:
                self.array(member)
        shape = shape_of(members[0].type)
        groups.members = []
        with self.out.lanes(shape) as index:
            for member in members:
                e = elem_of(member.type)
                value = plain_init(self.computed(member, index), e)
                if member in inside:
                    name = self.named(member)
                    self.out.add(f"const {int_name(e)} {name} = {value};")
                    bind(member, name, self.out)
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
        elif isinstance(op, ir.Delay):
            self.delay(node, op)
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
        """Return whether a node is a cast that changes no value of an array variable, which is then used for it."""
        if not isinstance(node.op, ir.Cast) or node in self.values.whole or node.args[0] not in self.values.base:
            return False
        base = self.values.base[node.args[0]]
        return base.array and elem_of(node.type).holds(base.type)
