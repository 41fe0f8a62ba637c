"""Matrix products with packed weights: register tiles by micro-kernels, what follows them in TIR."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes.ir import Array
from edgewright.targets.cpu.elementwise import contiguous_rows
from edgewright.targets.cpu.geometry import each_panel, geometry
from edgewright.targets.cpu.step import PARALLEL_MACS, Context
from edgewright.targets.cpu.tail import Load, Tail
from edgewright.targets.cpu.tir import address, lanes, loop, prefetch, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.operands import weight_and_bias
from edgewright.targets.lowering.tir import Expr, T, i64, put, row_offset
from edgewright.targets.lowering.view import ITEM_BYTES, StridedView, collapse

FEW_BLOCKS = 4  # with fewer blocks of rows, threads share the columns instead
LARGE_WEIGHT_BYTES = 256 << 10  # more than fits the second cache with rows and results
Buffers = Mapping[StridedView, Any]

Fill = Callable[[Mapping[StridedView, Any], Any, Expr, Expr, Expr], None]
"""(buffers, target, base, first row, count): gathers rows to target[base:]."""


@dataclass(frozen=True, slots=True)
class Rows:
    """The left operand: rows of `views[0]` in lines of `width` rows, `step` elements apart.

    `sizes`, `strides`: the walk over lines. A row is made of `segments` (offset, length), each contiguous; without any,
    `fill` gathers rows.
    """

    views: tuple[StridedView, ...]
    width: int
    step: int = 0
    sizes: tuple[int, ...] = (1,)
    strides: tuple[int, ...] = (0,)
    segments: tuple[tuple[int, int], ...] = ()
    fill: Fill | None = None

    @property
    def count(self) -> int:
        """Rows in all."""
        return self.width * math.prod(self.sizes)


def strided_rows(view: StridedView) -> Rows | None:
    """Return the rows of a view with a contiguous last axis; None if it is not contiguous."""
    if view.shape[-1] > 1 and view.strides[-1] != 1:
        return None
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    outer = (sizes[:-1], strides[:-1]) if len(sizes) > 1 else ((1,), (0,))
    return Rows((view,), sizes[-1], strides[-1], *outer, segments=((0, view.shape[-1]),))


def linear(context: Context, group: Group) -> None:
    """Add the step of a Linear: rows of the operand against the packed weight."""
    anchor = group.head
    rows = strided_rows(contiguous_rows(context, context.values[anchor.inputs[0]], anchor.name))
    assert rows is not None
    product(context, group, rows, *weight_and_bias(anchor), context.tail(group, tiles=True))


def product(context: Context, group: Group, rows: Rows, weight: Array, bias: Array | None, tail: Tail) -> None:
    """Add the step acc[r, c] = sum_k rows[r, k] * weight[c, k] + bias[c] with its tail. weight (N, K), bias (N,)."""
    _Product(context, rows, weight, bias, tail).add(group)


class _Product:
    """One product. Two orders: by rows, where a block of rows is multiplied by all panels of weights while it is in the first
    cache; by panels, where a panel is used for all blocks, so that large weights are read once and few rows keep all threads
    busy."""

    def __init__(self, context: Context, rows: Rows, weight: Array, bias: Array | None, tail: Tail) -> None:
        self.context, self.rows, self.tail = context, rows, tail
        self.n, self.k = weight.shape
        self.shape = geometry(context.variant, "float32" if weight.dtype.kind == "f" else "int8")
        self.integer = self.shape.dtype == "int8"
        self.packed = context.keep(self.shape.pack(weight))
        self.bias = self._bias(weight, bias)
        self.lines = math.prod(rows.sizes)
        self.per_line = -(-rows.width // self.shape.mr)
        self.block = -(-rows.width // self.per_line)  # equal: a short last block would waste most of its registers
        self.blocks = self.lines * self.per_line
        self.macs = rows.count * self.n * self.k
        self.wide = self.macs >= PARALLEL_MACS
        large = weight.size * ITEM_BYTES[self.shape.dtype] > LARGE_WEIGHT_BYTES
        self.by_panels = self.blocks < FEW_BLOCKS or (large and rows.fill is None)
        self.direct = not self.integer and rows.fill is None
        self.left: StridedView | None = None
        if self.by_panels and not self.direct:
            self.left = context.temporary(self.blocks * self._left_elements, self.shape.dtype)

    @property
    def _left_elements(self) -> int:
        """Elements of one prepared block of rows."""
        return self.shape.a_panel(self.k) if self.integer else self.block * self.k

    def _bias(self, weight: Array, bias: Array | None) -> StridedView | None:
        if not self.integer:
            return None if bias is None else self.context.keep(np.asarray(bias, np.float32))
        sums = weight.astype(np.int64).sum(axis=1)
        whole = (0 if bias is None else np.asarray(bias, np.int64)) - self.context.variant.s8_offset * sums
        return self.context.keep(whole.astype(np.int32))

    def add(self, group: Group) -> None:
        """Append the step."""
        views = [view for view in (self.packed, self.bias, self.left) if view is not None]
        self.context.add(group, [*self.rows.views, *views, *self.tail.views], self._emit, macs=self.macs)

    def _emit(self, buffers: Buffers) -> None:
        if not self.by_panels:
            with loop(self.blocks, parallel=self.wide and self.blocks > 1) as i:
                self._ask_for_next(buffers, i)
                left = None if self.direct else self._prepared(buffers, i)
                self._all_panels(lambda p, width: self._tile(buffers, i, left, p, width))
            return
        if self.left is not None:
            with loop(self.blocks, parallel=self.wide and self.blocks > 1) as i:
                self._prepare(buffers, i, buffers[self.left], i * self._left_elements)

        def emit_panel(p: Expr, width: int) -> None:
            with loop(self.blocks) as i:
                left = None if self.left is None else address(buffers[self.left], i * self._left_elements)
                self._tile(buffers, i, left, p, width)

        self._all_panels(emit_panel, parallel=self.wide)

    def _all_panels(self, emit: Callable[[Expr, int], None], parallel: bool = False) -> None:
        whole, rest = divmod(self.n, self.shape.nr)
        if rest and parallel and whole:  # one parallel loop: the last panel would run alone otherwise
            with loop(whole + 1, parallel=True) as p, T.If(p < whole):
                with T.Then():
                    emit(p, self.shape.nr)
                with T.Else():
                    emit(whole, rest)
            return
        each_panel(self.n, self.shape.nr, emit, parallel)

    def _place(self, i: Expr) -> tuple[Expr, Expr, Expr]:
        """Return of block i (its first row's number, how many rows, where its first row starts)."""
        line, j = (i // self.per_line, i % self.per_line) if self.per_line > 1 and self.lines > 1 else (i, 0)
        if self.lines == 1:
            line, j = 0, i
        first = j * self.block
        many = self.block if self.rows.width % self.block == 0 else T.min(self.block, self.rows.width - first)
        begin = row_offset(self.rows.sizes, self.rows.strides, line) + first * self.rows.step
        return line * self.rows.width + first, many, begin

    def _ask_for_next(self, buffers: Buffers, i: Expr) -> None:
        """Prefetch the next block: hardware does not predict rows of several segments, which are scattered in memory."""
        if len(self.rows.segments) < 2:
            return
        _, _, begin = self._place(i + 1)
        source = self.rows.views[0]
        for at, length in self.rows.segments:
            elements = (self.block - 1) * self.rows.step + length
            prefetch(buffers[source], begin + at, elements, ITEM_BYTES[source.dtype])

    def _prepared(self, buffers: Buffers, i: Expr) -> Expr:
        panel = scratch(self._left_elements, self.shape.dtype)
        self._prepare(buffers, i, panel, 0)
        return address(panel, 0)

    def _prepare(self, buffers: Buffers, i: Expr, target: Any, base: Expr) -> None:
        """Gather block i to `target[base:]`, integers packed."""
        row, many, begin = self._place(i)
        if self.rows.fill is not None:
            gathered, start = (scratch(self.block * self.k, self.shape.dtype), 0) if self.integer else (target, base)
            self.rows.fill(buffers, gathered, start, row, many)
            pieces = [(address(gathered, start), self.k, self.k)]
        else:
            source = buffers[self.rows.views[0]]
            pieces = [(address(source, begin + at), self.rows.step, length) for at, length in self.rows.segments]
        if not self.integer:
            return
        done = 0
        for pointer, stride, length in pieces:
            assert done % self.shape.ka == 0, "only the last segment may be padded"
            place = base + done * self.shape.mr * self.shape.a_bytes
            run("ew_pack_a_s8", pointer, i64(stride), many, i64(length), address(target, place))
            done += length

    def _tile(self, buffers: Buffers, i: Expr, left: Expr | None, p: Expr, width: int) -> None:
        shape = self.shape
        row, many, begin = self._place(i)
        column = p * shape.nr
        acc = scratch(shape.mr * shape.nr, shape.accumulator)
        panel = p * shape.panel(self.k)
        b = address(buffers[self.packed], panel)
        if left is not None:
            shape.multiply(left, i64(self.k), b, self.k, address(acc, 0), shape.nr, many)
        else:
            self._segments(buffers, acc, begin, panel, many)

        def anchor(at: Expr) -> Load:
            def value(lane: Expr) -> Expr:
                total = acc[at * shape.nr + lane]
                return total if self.bias is None else total + buffers[self.bias][column + lane]

            return value

        bias = None if self.bias is None else address(buffers[self.bias], column)
        self.tail.emit_tile(buffers, acc, shape.nr, bias, (row, many), column, width, anchor)

    def _segments(self, buffers: Buffers, acc: Any, begin: Expr, panel: Expr, many: Expr) -> None:
        """Emit the sum of one product for each contiguous segment of rows of floats, read in place."""
        shape, step, done = self.shape, i64(self.rows.step), 0
        for at, length in self.rows.segments:
            target = acc if done == 0 else scratch(shape.mr * shape.nr, shape.accumulator)
            a = address(buffers[self.rows.views[0]], begin + at)
            b = address(buffers[self.packed], panel + done * shape.nr)
            shape.multiply(a, step, b, length, address(target, 0), shape.nr, many)
            if done:
                with loop(many) as r:
                    lanes(shape.nr, lambda lane: _accumulate(acc, target, r * shape.nr + lane))  # noqa: B023
            done += length


def _accumulate(total: Any, more: Any, at: Expr) -> None:
    put(total, at, total[at] + more[at])
