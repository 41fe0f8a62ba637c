"""The elementwise end of a step: what happens to a row of results while it is still in registers or the first cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array, Shape
from edgewright.passes.ops import Requantise, Table, value_of
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.scalar import formula_of, row_kernel
from edgewright.targets.cpu.tir import Expr, address, constant, i32, i64, lanes, loop, null, put, row_offset, run, scratch
from edgewright.targets.cpu.view import Space, Storage, View, collapse, dtype_of

Load = Callable[[Expr], Expr]
Row = tuple[Load, Expr]  # the elements of one computed row, and the address of its first
TILE_ROWS = 32  # no variant's tile has more
Keep = Callable[[Array], View]  # a constant array -> where it lives among the weights


class Tail:
    """The tail of one group over rows of columns.

    `arrange(view)` brings a view of the group's shape to (row axes..., column axis). `tiles`: the step will call
    `emit_tile`.
    """

    def __init__(
        self,
        group: Group,
        values: Mapping[Node, View],
        keep: Keep,
        arrange: Callable[[View], View],
        tiles: bool = False,
    ) -> None:
        self.group = group
        self.leaders: dict[Node, tuple[View, View]] = {}
        self.stored = {node: arrange(values[node]) for node in group.stored}
        self.operands: dict[tuple[Node, int], View | float | int] = {}
        inside = set(group.members)
        for member in group.tail:
            shape = member.shape
            for i, operand in self._read(member):
                if operand in inside:
                    continue
                scalar = _scalar(operand)
                if scalar is not None:
                    self.operands[member, i] = scalar
                    continue
                self.operands[member, i] = arrange(values[operand].broadcast_to(shape))
            op = member.op
            if isinstance(op, Requantise) and tiles and self._leads(member, arrange):
                columns = _column_axis(member.shape, arrange)[0]
                multiplier, shift = (np.asarray(value_of(n), np.int32).reshape(-1) for n in member.inputs[1:])
                self.leaders[member] = (
                    keep(np.broadcast_to(multiplier, (columns,))),
                    keep(np.broadcast_to(shift, (columns,))),
                )
            elif isinstance(op, Requantise):
                factors = _factors(member)
                if factors.size == 1:
                    self.operands[member, 1] = float(factors.item())
                else:
                    self.operands[member, 1] = arrange(keep(factors).broadcast_to(shape))
            elif isinstance(op, Table):
                table = value_of(member.inputs[1])
                assert table is not None
                self.operands[member, 1] = keep(table.astype(np.int8))

    @staticmethod
    def _read(member: Node) -> list[tuple[int, Node]]:
        """Operands that are read element by element; factors and tables are prepared otherwise."""
        count = 1 if isinstance(member.op, (Requantise, Table)) else len(member.inputs)
        return list(enumerate(member.inputs[:count]))

    def _leads(self, member: Node, arrange: Callable[[View], View]) -> bool:
        """Whether a Requantise stands right behind the anchor, with factors for all or for each column."""
        anchor = self.group.anchor
        if member.inputs[0] is not anchor or anchor in self.group.stored:
            return False
        factors = member.inputs[1].shape
        varying = [axis for axis, n in enumerate((*(1 for _ in member.shape[len(factors) :]), *factors)) if n != 1]
        return not varying or varying == [_column_axis(member.shape, arrange)[1]]

    @property
    def views(self) -> list[View]:
        """Everything the tail touches, for the step's parameters."""
        factors = [view for pair in self.leaders.values() for view in pair]
        return [*(v for v in self.operands.values() if isinstance(v, View)), *factors, *self.stored.values()]

    def emit_tile(
        self,
        buffers: Mapping[View, Any],
        acc: Any,
        ldacc: int,
        bias: Expr | None,
        rows: tuple[Expr, Expr],
        column: Expr,
        count: int,
        anchor: Callable[[Expr], Load],
    ) -> None:
        """Statements for a tile of accumulators: `rows` = (first row, how many), `count` columns from `column` on.

        Requantisation that follows the anchor directly is done for the whole tile by a micro-kernel, which adds
        `bias`; `anchor(row of the tile)` is the anchor's result for everything else.
        """
        first, many = rows
        ready: dict[Node, Callable[[Expr], Row]] = {}
        for member, factors in self.leaders.items():
            assert isinstance(member.op, Requantise)
            dtype = dtype_of(member.op.elem)
            home = self.stored.get(member)
            pitch = None if home is None else _pitch_of(home)
            if home is not None and pitch is not None:
                target, ld = address(buffers[home], first * pitch + column), pitch
                ready[member] = _stored_rows(buffers[home], pitch, first, column)
            else:
                tile = scratch(TILE_ROWS * ldacc, dtype)
                target, ld = address(tile, 0), ldacc
                ready[member] = _stored_rows(tile, ldacc, 0, 0)
            run(
                f"ew_requantise_tile_{'s8' if dtype == 'int8' else 's16'}",
                address(acc, 0),
                i64(ldacc),
                many,
                null() if bias is None else bias,
                *(address(buffers[view], column) for view in factors),
                i64(count),
                i32(member.op.zero_point),
                target,
                i64(ld),
            )
        fresh = self._tile_function(acc, ldacc, many, count, anchor)
        ready.update(fresh)
        done = [m for m in self.leaders if m not in self.stored or _pitch_of(self.stored[m]) is not None]
        if len(done) == len(self.group.tail) and self.group.anchor not in self.stored:
            return
        with loop(many) as r:
            given = {member: at(r) for member, at in ready.items()}
            self.emit(buffers, first + r, column, count, anchor(r), given, frozenset(fresh))

    def _tile_function(
        self, acc: Any, ldacc: int, many: Expr, count: int, anchor: Callable[[Expr], Load]
    ) -> dict[Node, Callable[[Expr], Row]]:
        """A function of float32 right behind the anchor, computed on the tile itself: one call is quicker than one for
        each row. What it gives is still to be stored."""
        first = self.group.tail[0] if self.group.tail else None
        if first is None or first.inputs[0] is not self.group.anchor or self.group.anchor in self.stored:
            return {}
        kernel = row_kernel(first.op)
        if kernel is None or kernel[0] != "float32":
            return {}
        if any(self.group.anchor in member.inputs for member in self.group.tail[1:]):
            return {}  # the tile has to keep the anchor's own result
        with loop(many) as r:
            lanes(count, lambda lane: put(acc, r * ldacc + lane, anchor(r)(lane)))
            if count != ldacc:
                run(kernel[1], address(acc, r * ldacc), i64(count), address(acc, r * ldacc))
        if count == ldacc:
            run(kernel[1], address(acc, 0), i64(many * ldacc), address(acc, 0))
        return {first: _stored_rows(acc, ldacc, 0, 0)}

    def emit(
        self,
        buffers: Mapping[View, Any],
        row: Expr,
        column: Expr,
        count: int,
        anchor: Load | None,
        given: Mapping[Node, Row] | None = None,
        fresh: frozenset[Node] = frozenset(),
    ) -> None:
        """Statements for `count` columns of one row from `column` on; `anchor(lane)` is the anchor's result. `given`:
        members that are computed already, and but for the `fresh` ones stored where their home has unit stride and
        evenly spaced rows."""
        given = given or {}
        computed: dict[Node, Load] = {node: load for node, (load, _) in given.items()}
        if anchor is not None:
            assert self.group.anchor is not None
            computed[self.group.anchor] = anchor

        def place(view: View) -> Callable[[Expr], Expr]:
            sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
            base = row_offset(sizes, strides, row)
            step = view.strides[-1]
            return lambda lane: base + (column + lane) * step if step else base

        def load(view: View) -> Load:
            where = place(view)
            return lambda lane: buffers[view][where(lane)]

        def operand(member: Node, position: int) -> Load:
            value = self.operands.get((member, position))
            if isinstance(value, View):
                return load(value)
            if value is not None:
                dtype = "float64" if isinstance(member.op, Requantise) else dtype_of(member.inputs[position].elem)
                return lambda lane: constant(value, dtype)
            return computed[member.inputs[position]]

        waiting: list[Node] = [self.group.anchor] if self.group.anchor in self.stored else []
        for member in self.group.tail:
            if member in given:
                if member in self.stored and (member in fresh or _pitch_of(self.stored[member]) is None):
                    waiting.append(member)
                continue
            kernel = row_kernel(member.op)
            if kernel is None:
                formula = formula_of(member.op)
                assert formula is not None
                parts = [operand(member, i) for i in range(2 if isinstance(member.op, Requantise) else len(member.inputs))]
                computed[member] = _applied(formula, member, parts)
                if member in self.stored:
                    waiting.append(member)
                continue
            dtype, name = kernel
            source = operand(member, 0)
            home = self.stored.get(member)
            if home is not None and home.strides[-1] == 1:
                where = place(home)
                buffer = buffers[home]
            else:
                buffer = scratch(count, dtype)
                where = _identity
            pointer = read = address(buffer, where(0))
            if member.inputs[0] in given and dtype_of(member.inputs[0].elem) == dtype:
                read = given[member.inputs[0]][1]
            else:
                lanes(count, lambda lane: put(buffer, where(lane), source(lane)))  # noqa: B023  emitted at once
            table = self.operands.get((member, 1))
            extra = [address(buffers[table], 0)] if isinstance(table, View) else []
            run(name, read, *extra, i64(count), pointer)
            computed[member] = _loaded(buffer, where)
            if home is not None and home.strides[-1] != 1:
                waiting.append(member)

        def finish(lane: Expr) -> None:
            for member in waiting:
                assert member is not None
                view = self.stored[member]
                put(buffers[view], place(view)(lane), computed[member](lane))

        if waiting:
            lanes(count, finish)


def _column_axis(shape: Shape, arrange: Callable[[View], View]) -> tuple[int, int]:
    """(how many columns, which axis of `shape` they are) under an arrangement."""
    marked = View(Storage(Space.WORK, "int8", 1), shape, tuple(range(len(shape))))
    last = arrange(marked)
    return last.shape[-1], last.strides[-1]


def _pitch_of(view: View) -> int | None:
    """The distance of rows where they are evenly spaced and their columns contiguous, else None."""
    return None if view.strides[-1] != 1 else _pitch(view)


def _pitch(view: View) -> int | None:
    _, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    return strides[0] if len(strides) == 1 else None


def _stored_rows(buffer: Any, pitch: int, first: Expr, column: Expr) -> Callable[[Expr], Row]:
    def at(row: Expr) -> Row:
        begin = (first + row) * pitch + column
        return lambda lane: buffer[begin + lane], address(buffer, begin)

    return at


def _identity(lane: Expr) -> Expr:
    return lane


def _loaded(buffer: Any, where: Load) -> Load:
    return lambda lane: buffer[where(lane)]


def _applied(formula: Callable[[Node, Sequence[Expr]], Expr], member: Node, parts: Sequence[Load]) -> Load:
    return lambda lane: formula(member, [part(lane) for part in parts])


def _scalar(node: Node) -> float | int | None:
    value = value_of(node)
    if value is None or value.size != 1:
        return None
    item: float | int = value.item()
    return item


def _factors(member: Node) -> Array:
    """multiplier * 2^-shift, exact in float64."""
    multiplier, shift = (np.asarray(value_of(n)) for n in member.inputs[1:])
    return np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int64))
