"""Operations that are more than one expression: state, and those with loops of their own."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import Affine, aligned, flat
from edgewright.hw.kernel.cpp_expr import Expr, binary, call, cast, comparable, exact, variable
from edgewright.hw.kernel.cpp_lanes import Index
from edgewright.hw.kernel.cpp_types import int_name, suffix
from edgewright.hw.kernel.cpp_values import Base
from edgewright.hw.kernel.cpp_variables import Variables, plain_init
from edgewright.hw.kernel.types import elem_of, shape_of, size_of, u


class Compute(Variables):
    """Statements of state and of structure."""

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
        outer_axes = [d for d in range(len(shape_of(x.type))) if d not in op.axes]
        shape = tuple(shape_of(x.type)[d] for d in outer_axes)
        inner = tuple(shape_of(x.type)[d] for d in op.axes)
        base = self.array(node) if shape else None
        if base is None:
            name = self.named(node)
            base = Base(name, e, array=False)
            self.values.base[node] = base
        with self.out.lanes(shape) as outer:
            target = base.at(flat(outer, shape)).text

            def pick(within: Index) -> Expr:
                at = dict(zip(outer_axes, outer, strict=True)) | dict(zip(op.axes, within, strict=True))
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
        """Return the text of a whole array in memory."""
        return self.values.base[node].text

    def dot(self, node: ir.Node) -> None:
        a, w = node.args
        base = self.array(node)
        t, k = shape_of(a.type)
        self.out.add(f"dot<{t}, {shape_of(w.type)[0]}, {k}>({base.text}, {self.whole(a)}, {self.whole(w)});")

    def index(self, node: ir.Node) -> None:
        """Print an element of an array or a table at a position known at run time."""
        op, e = node.op, elem_of(node.type)
        at = node.args[-1]
        if isinstance(op, ir.Lookup):
            source, inner = Base(self.ports[op.rom][0], e, array=True), shape_of(op.rom.type)
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
            name = self.local.claim("packed")
            self.out.add(f"{int_name(total)} {name};")
            self.out.add(f"pack<{old.bits}>({name}, {self.whole(x)});")
            word = variable(name, total)
        if not shape_of(node.type):
            self.define(node, call(f"wrap_{suffix(new)}", new, word))
            return
        base = self.array(node)
        self.out.add(f"unpack_{suffix(new)}({base.text}, {word.text});")
