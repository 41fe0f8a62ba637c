"""Reads and writes of streams, loads and stores of locked banks."""

from __future__ import annotations

from edgewright.hw.kernel import ir
from edgewright.hw.kernel.affine import flat
from edgewright.hw.kernel.cpp_expr import BOOL, cast, variable
from edgewright.hw.kernel.cpp_types import bank_axes, field_name
from edgewright.hw.kernel.cpp_values import Base
from edgewright.hw.kernel.cpp_variables import Variables, partition, plain_init
from edgewright.hw.kernel.types import Array, Int, Struct, Type, elem_of, leaves, shape_of, size_of


class Memories(Variables):
    """Statements that touch streams and banks."""

    def token_name(self, node: ir.Node, fallback: str) -> str:
        """Return the Python name of a struct token, from the names of its parts; else `fallback`."""
        if node in self.process.names:
            return self.process.names[node]
        for part, name in self.process.names.items():
            if isinstance(part.op, ir.Part) and part.args[0] is node:
                tail = "_" + "_".join(part.op.path)
                if name.endswith(tail) and len(name) > len(tail):
                    return name[: -len(tail)]
        return fallback

    def token_base(self, node: ir.Node, name: str) -> None:
        """Note where the numbers of a token variable are."""
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
        name = self.local.claim(self.token_name(node, f"{op.channel.name}_token"))
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
        if op.buffer.ring:
            self.replay(node, op.buffer)
            return
        lanes = shape_of(address.type)
        at = f"{bank}[int({self.values.scalar(address).text})]" if not lanes else ""
        if isinstance(t, Struct):
            name = self.local.claim(self.token_name(node, f"{op.buffer.name}_entry"))
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

    def replay(self, node: ir.Node, ring: ir.Buffer) -> None:
        """Take the next element of a stream into the window, or read the window."""
        token, stream = self.types.token(ring.type), self.ports[ring]
        window, name = self.local.claim(f"{ring.name}_window"), self.local.claim(self.token_name(node, f"{ring.name}_entry"))
        self.statics.add(f"static {token} {window}[{ring.window}];")
        self.statics.add(f"#pragma HLS AGGREGATE variable={window} compact=bit")
        at = f"{window}[int({self.values.scalar(node.args[0]).text})]"
        self.out.add(f"{token} {name};")
        with self.out.block(f"if ({self.values.scalar(node.args[1]).text})"):
            self.out.add(f"{name} = {stream}.read();")
            self.out.add(f"{at} = {name};")
        with self.out.block("else"):
            self.out.add(f"{name} = {at};")
        self.token_base(node, name)

    def token(self, name: str, t: Type, parts: tuple[ir.Node, ...]) -> None:
        """Declare and fill a token or element variable."""
        self.out.add(f"{self.types.token(t)} {name};")
        for (path, leaf_type, _), node in zip(leaves(t), parts, strict=True):
            target = ".".join([name, *(field_name(p) for p in path)]) if isinstance(t, Struct) else f"{name}.v"
            shape, e = shape_of(leaf_type), elem_of(leaf_type)
            with self.out.lanes(shape) as index:
                place = f"{target}[{flat(index, shape).spaced()}]" if shape else target
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
        if whole is not None and whole.type == elem_of(t) and isinstance(parts.values[0].op, ir.Read):
            self.out.add(f"{stream}.write({whole.text[:-2]});")
            return
        name = self.local.claim(f"{channel.name}_token")
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
        if buffer.ring:
            name = self.local.claim(f"{buffer.name}_token")
            self.token(name, t, parts.values)
            self.out.add(f"{bank}.write({name});")
            return
        at = f"{bank}[int({self.values.scalar(parts.address).text})]"
        if isinstance(t, Struct):
            name = self.local.claim(f"{buffer.name}_entry")
            self.token(name, t, parts.values)
            self.out.add(f"{at} = {name};")
            return
        shape, axes = shape_of(t), bank_axes(t)
        with self.out.lanes(shape) as index:
            parts_of = (index[0], flat(index[1:], shape[1:])) if len(axes) == 2 else index
            tail = "".join(f"[{i.spaced()}]" for i in parts_of)
            guard = f"if ({self.values.element(parts.mask, index[:1]).text}) " if parts.mask is not None else ""
            self.out.add(f"{guard}{at}{tail} = {plain_init(self.values.element(parts.values[0], index), elem_of(t))};")
