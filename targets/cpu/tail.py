"""The elementwise end of a step: what happens to a row of results while it is still in registers or the first cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from edgewright.passes.ir import Node, Shape
from edgewright.passes.ops import Requantise, value_of
from edgewright.targets.cpu.formulas import formula_of, row_kernel
from edgewright.targets.cpu.tir import address, lanes, loop, null, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.tail import Arrange, GroupTail, Keep
from edgewright.targets.lowering.tir import Expr, constant, element, i32, i64, put
from edgewright.targets.lowering.view import Space, StridedView, TensorStorage, collapse, dtype_of

Load = Callable[[Expr], Expr]
RowResult = tuple[Load, Expr]  # the elements of one computed row, and the address of its first
TILE_ROWS = 32  # no variant's tile has more


class Tail(GroupTail):
    """The tail of one group over rows of columns. `tiles`: the step will call `emit_tile`.

    `leaders`: the multipliers and shifts, a number for each column, of a Requantise that `emit_tile` computes.
    """

    def __init__(
        self, group: Group, values: Mapping[Node, StridedView], keep: Keep, arrange: Arrange, tiles: bool = False
    ) -> None:
        self.tiles = tiles
        self.leaders: dict[Node, tuple[StridedView, StridedView]] = {}
        super().__init__(group, values, keep, arrange)

    def add_factors(self, member: Node) -> None:
        multiplier, shift = (np.asarray(value_of(n)) for n in member.inputs[1:])
        if self.tiles and self._leads(member):
            columns = _column_axis(member.shape, self.arrange)[0]
            by_column = [np.broadcast_to(n.astype(np.int32).reshape(-1), (columns,)) for n in (multiplier, shift)]
            self.leaders[member] = (self.keep(by_column[0]), self.keep(by_column[1]))
            return
        factors = np.ldexp(multiplier.astype(np.float64), -shift.astype(np.int64))  # exact in float64
        self.operands[member, 1] = float(factors.item()) if factors.size == 1 else self.spread(self.keep(factors), member)

    def _leads(self, member: Node) -> bool:
        """Return whether a Requantise follows the anchor directly, with factors for all or for each column."""
        anchor = self.group.anchor
        if member.inputs[0] is not anchor or anchor in self.group.stored:
            return False
        factors = member.inputs[1].shape
        varying = [axis for axis, n in enumerate((*(1 for _ in member.shape[len(factors) :]), *factors)) if n != 1]
        return not varying or varying == [_column_axis(member.shape, self.arrange)[1]]

    @property
    def views(self) -> list[StridedView]:
        """All memory that the tail reads or writes."""
        factors = [view for pair in self.leaders.values() for view in pair]
        return [*(v for v in self.operands.values() if isinstance(v, StridedView)), *factors, *self.stored.values()]

    def emit_tile(
        self,
        buffers: Mapping[StridedView, Any],
        acc: Any,
        ldacc: int,
        bias: Expr | None,
        rows: tuple[Expr, Expr],
        column: Expr,
        count: int,
        anchor: Callable[[Expr], Load],
    ) -> None:
        """Emit the statements for a tile of accumulators: `rows` = (first row, how many), `count` columns from `column` on.

        Requantisation that follows the anchor directly is done for the whole tile by a micro-kernel, which adds
        `bias`; `anchor(row of the tile)` is the anchor's result for everything else.
        """
        first, many = rows
        computed: dict[Node, Callable[[Expr], RowResult]] = {}
        for member, factors in self.leaders.items():
            assert isinstance(member.op, Requantise)
            dtype = dtype_of(member.op.elem)
            view = self.stored.get(member)
            pitch = None if view is None else row_pitch(view)
            if view is not None and pitch is not None:
                target, ld = address(buffers[view], first * pitch + column), pitch
                computed[member] = _stored_rows(buffers[view], pitch, first, column)
            else:
                tile = scratch(TILE_ROWS * ldacc, dtype)
                target, ld = address(tile, 0), ldacc
                computed[member] = _stored_rows(tile, ldacc, 0, 0)
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
        unstored = self._tile_function(acc, ldacc, many, count, anchor)
        computed.update(unstored)
        done = [m for m in self.leaders if m not in self.stored or row_pitch(self.stored[m]) is not None]
        if len(done) == len(self.group.tail) and self.group.anchor not in self.stored:
            return
        with loop(many) as r:
            results = {member: at(r) for member, at in computed.items()}
            self.emit(buffers, first + r, column, count, anchor(r), results, frozenset(unstored))

    def _tile_function(
        self, acc: Any, ldacc: int, many: Expr, count: int, anchor: Callable[[Expr], Load]
    ) -> dict[Node, Callable[[Expr], RowResult]]:
        """Compute a function of float32 that follows the anchor on the tile itself: one call is faster than one for each
        row. Its result is not stored yet."""
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
        buffers: Mapping[StridedView, Any],
        row: Expr,
        column: Expr,
        count: int,
        anchor: Load | None,
        results: Mapping[Node, RowResult] | None = None,
        unstored: frozenset[Node] = frozenset(),
    ) -> None:
        """Emit the statements for `count` columns of one row from `column` on; `anchor(lane)` is the anchor's result.

        `results`: members that are computed already. But for the `unstored` ones they are stored too, where their view
        has unit stride and evenly spaced rows."""
        results = results or {}
        computed: dict[Node, Load] = {node: load for node, (load, _) in results.items()}
        if anchor is not None:
            assert self.group.anchor is not None
            computed[self.group.anchor] = anchor

        def at(view: StridedView) -> Load:
            return lambda lane: element(view, row, column + lane)

        def operand(member: Node, position: int) -> Load:
            value = self.operands.get((member, position))
            if isinstance(value, StridedView):
                return _loaded(buffers[value], at(value))
            if value is not None:
                dtype = "float64" if isinstance(member.op, Requantise) else dtype_of(member.inputs[position].elem)
                return lambda lane: constant(value, dtype)
            return computed[member.inputs[position]]

        waiting: list[Node] = [self.group.anchor] if self.group.anchor in self.stored else []
        for member in self.group.tail:
            view = self.stored.get(member)
            if member in results:
                if view is not None and (member in unstored or row_pitch(view) is None):
                    waiting.append(member)
                continue
            kernel = row_kernel(member.op)
            if kernel is None:
                parts = [operand(member, i) for i in range(2 if isinstance(member.op, Requantise) else len(member.inputs))]
                computed[member] = _applied(member, parts)
                if view is not None:
                    waiting.append(member)
                continue
            dtype, name = kernel
            source = operand(member, 0)
            in_place = view is not None and view.strides[-1] == 1
            buffer, where = (buffers[view], at(view)) if view is not None and in_place else (scratch(count, dtype), _identity)
            pointer = read = address(buffer, where(0))
            if member.inputs[0] in results and dtype_of(member.inputs[0].elem) == dtype:
                read = results[member.inputs[0]][1]
            else:
                lanes(count, lambda lane: put(buffer, where(lane), source(lane)))  # noqa: B023  emitted at once
            table = self.operands.get((member, 1))
            extra = [address(buffers[table], 0)] if isinstance(table, StridedView) else []
            run(name, read, *extra, i64(count), pointer)
            computed[member] = _loaded(buffer, where)
            if view is not None and not in_place:
                waiting.append(member)

        def finish(lane: Expr) -> None:
            for member in waiting:
                view = self.stored[member]
                put(buffers[view], at(view)(lane), computed[member](lane))

        if waiting:
            lanes(count, finish)


def _column_axis(shape: Shape, arrange: Arrange) -> tuple[int, int]:
    """Return (how many columns, which axis of `shape` they are) under an arrangement."""
    marked = StridedView(TensorStorage(Space.WORK, "int8", 1), shape, tuple(range(len(shape))))
    last = arrange(marked)
    return last.shape[-1], last.strides[-1]


def row_pitch(view: StridedView) -> int | None:
    """Return the distance of rows where they are evenly spaced and their columns contiguous, else None."""
    _, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    return strides[0] if view.strides[-1] == 1 and len(strides) == 1 else None


def _stored_rows(buffer: Any, pitch: int, first: Expr, column: Expr) -> Callable[[Expr], RowResult]:
    def at(row: Expr) -> RowResult:
        begin = (first + row) * pitch + column
        return lambda lane: buffer[begin + lane], address(buffer, begin)

    return at


def _identity(lane: Expr) -> Expr:
    return lane


def _loaded(buffer: Any, where: Load) -> Load:
    return lambda lane: buffer[where(lane)]


def _applied(member: Node, parts: list[Load]) -> Load:
    return lambda lane: formula_of(member.op)(member, [part(lane) for part in parts])
