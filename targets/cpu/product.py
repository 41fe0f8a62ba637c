"""Matrix products against packed weights: register tiles by micro-kernels, everything behind them in TIR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.step import PARALLEL_MACS, Context
from edgewright.targets.cpu.tail import Load, Tail
from edgewright.targets.cpu.tir import Expr, T, address, copy, i64, loop, row_offset, run, scratch
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.cpu.view import ITEM_BYTES, View, collapse

FEW_ROWS = 4  # with fewer blocks of rows than this, threads share the columns instead
LARGE_WEIGHT_BYTES = 256 << 10  # more than stays in the second cache beside rows and results
Buffers = Mapping[View, Any]

Fill = Callable[[Mapping[View, Any], Any, Expr, Expr, Expr], None]
"""(buffers, target, base, first row, count): gathers rows to target[base:]."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Register tile and panels of one element type."""

    dtype: str
    accumulator: str
    mr: int
    nr: int
    ka: int
    kb: int
    a_bytes: int

    def depth(self, k: int) -> int:
        """k with the padding that panels have."""
        whole = max(self.ka, self.kb)
        return -(-k // whole) * whole

    def panels(self, n: int) -> int:
        return -(-n // self.nr)

    def panel(self, k: int) -> int:
        """Elements of one panel of B."""
        return self.depth(k) * self.nr

    def a_panel(self, k: int) -> int:
        """Bytes of one packed block of int8 rows."""
        return self.depth(k) * self.mr * self.a_bytes


def geometry(variant: Variant, dtype: str) -> Geometry:
    """The tile of a variant for float32 or int8 operands."""
    if dtype == "float32":
        return Geometry(dtype, "float32", variant.f32_mr, variant.f32_nr, 1, 1, 4)
    return Geometry(dtype, "int32", variant.s8_mr, variant.s8_nr, variant.ka, variant.kb, variant.a_bytes)


def pack(weight: Array, shape: Geometry) -> Array:
    """(N, K) -> (panels, depth / kb, nr, kb), zero where there is no weight."""
    n, k = weight.shape
    full = np.zeros((shape.panels(n) * shape.nr, shape.depth(k)), weight.dtype)
    full[:n, :k] = weight
    split = full.reshape(shape.panels(n), shape.nr, shape.depth(k) // shape.kb, shape.kb)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3))


@dataclass(frozen=True, slots=True)
class Rows:
    """The left operand: (row axes..., k) windows whose k is contiguous, or rows that `fill` gathers from `views`."""

    views: tuple[View, ...]
    sizes: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    fill: Fill | None = None


def strided_rows(view: View) -> Rows | None:
    """Rows of a view with a contiguous last axis; None where it is not contiguous."""
    if view.shape[-1] > 1 and view.strides[-1] != 1:
        return None
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    return Rows((view,), sizes, strides)


def product(context: Context, group: Group, rows: Rows, count: int, weight: Array, bias: Array | None, tail: Tail) -> None:
    """Adds the step acc[r, c] = sum_k rows[r, k] * weight[c, k] + bias[c] with its tail. weight (N, K)."""
    _Product(context, rows, count, weight, bias, tail).add(group)


class _Product:
    """One product. Two orders: by rows, where a block of rows meets all panels of weights while it is in the first
    cache; by panels, where a panel meets all blocks, so that large weights are read once and few rows keep all threads
    busy."""

    def __init__(self, context: Context, rows: Rows, count: int, weight: Array, bias: Array | None, tail: Tail) -> None:
        self.context, self.rows, self.count, self.tail = context, rows, count, tail
        self.n, self.k = weight.shape
        self.shape = geometry(context.variant, "float32" if weight.dtype.kind == "f" else "int8")
        self.integer = self.shape.dtype == "int8"
        self.packed = context.keep(pack(weight.astype(self.shape.dtype), self.shape))
        self.bias = self._bias(weight, bias)
        self.blocks = -(-count // self.shape.mr)
        self.block = -(-count // self.blocks)  # equal blocks: a short last one would waste most of its registers
        self.panels = self.shape.panels(self.n)
        self.macs = count * self.n * self.k
        self.wide = self.macs >= PARALLEL_MACS
        self.by_panels = self.blocks < FEW_ROWS or weight.size * ITEM_BYTES[self.shape.dtype] > LARGE_WEIGHT_BYTES
        self.direct = not self.integer and rows.fill is None and len(rows.sizes) == 1
        self.left: View | None = None
        if self.by_panels and not self.direct:
            self.left = context.temporary(self.blocks * self._left_elements, self.shape.dtype)

    @property
    def _left_elements(self) -> int:
        """Elements of one prepared block of rows."""
        return self.shape.a_panel(self.k) if self.integer else self.block * self.k

    def _bias(self, weight: Array, bias: Array | None) -> View | None:
        if not self.integer:
            return None if bias is None else self.context.keep(np.asarray(bias, np.float32))
        sums = weight.astype(np.int64).sum(axis=1)
        whole = (0 if bias is None else np.asarray(bias, np.int64)) - self.context.variant.s8_offset * sums
        return self.context.keep(whole.astype(np.int32))

    def add(self, group: Group) -> None:
        own = [view for view in (self.packed, self.bias, self.left) if view is not None]
        self.context.add(group, [*self.rows.views, *own, *self.tail.views], self._emit, macs=self.macs)

    def _emit(self, buffers: Buffers) -> None:
        if not self.by_panels:
            with loop(self.blocks, parallel=self.wide) as i:
                left = self._left(buffers, i)
                self._all_panels(lambda p, width: self._tile(buffers, i, left, p, width))
            return
        if self.left is not None:
            with loop(self.blocks, parallel=self.wide and self.blocks > 1) as i:
                self._prepare(buffers, i, buffers[self.left], i * self._left_elements)

        def one(p: Expr, width: int) -> None:
            with loop(self.blocks) as i:
                self._tile(buffers, i, self._left(buffers, i), p, width)

        self._all_panels(one, parallel=self.wide)

    def _all_panels(self, emit: Callable[[Expr, int], None], parallel: bool = False) -> None:
        whole, rest = divmod(self.n, self.shape.nr)
        if rest and parallel and whole:  # one parallel loop: a last panel of its own would run alone
            with loop(whole + 1, parallel=True) as p, T.If(p < whole):
                with T.Then():
                    emit(p, self.shape.nr)
                with T.Else():
                    emit(whole, rest)
            return
        if whole:
            with loop(whole, parallel=parallel and whole > 1) as p:
                emit(p, self.shape.nr)
        if rest:
            emit(whole, rest)

    def _many(self, i: Expr) -> Expr:
        """Rows of block i."""
        return self.block if self.count % self.block == 0 else T.min(self.block, self.count - i * self.block)

    def _left(self, buffers: Buffers, i: Expr) -> tuple[Expr, Expr]:
        """(address of block i as the micro-kernel takes it, distance of its rows)."""
        if self.direct:
            at = row_offset(self.rows.sizes, self.rows.strides, i * self.block)
            return address(buffers[self.rows.views[0]], at), i64(self.rows.strides[0])
        if self.left is not None:
            return address(buffers[self.left], i * self._left_elements), i64(self.k)
        panel = scratch(self._left_elements, self.shape.dtype)
        self._prepare(buffers, i, panel, 0)
        return address(panel, 0), i64(self.k)

    def _prepare(self, buffers: Buffers, i: Expr, target: Any, base: Expr) -> None:
        """Gathers block i to `target[base:]`, integers packed."""
        m, k = self._many(i), self.k
        if self.rows.fill is None and len(self.rows.sizes) == 1:
            at = row_offset(self.rows.sizes, self.rows.strides, i * self.block)
            source, stride = address(buffers[self.rows.views[0]], at), self.rows.strides[0]
        else:
            gathered, begin = (scratch(self.block * k, self.shape.dtype), 0) if self.integer else (target, base)
            if self.rows.fill is not None:
                self.rows.fill(buffers, gathered, begin, i * self.block, m)
            else:
                with loop(m) as r:
                    at = row_offset(self.rows.sizes, self.rows.strides, i * self.block + r)
                    size_bytes = k * ITEM_BYTES[self.shape.dtype]
                    copy(address(gathered, begin + r * k), address(buffers[self.rows.views[0]], at), size_bytes)
            source, stride = address(gathered, begin), k
        if self.integer:
            run("ew_pack_a_s8", source, i64(stride), m, i64(k), address(target, base))

    def _tile(self, buffers: Buffers, i: Expr, left: tuple[Expr, Expr], p: Expr, width: int) -> None:
        shape, m = self.shape, self._many(i)
        acc = scratch(shape.mr * shape.nr, shape.accumulator)
        b = address(buffers[self.packed], p * shape.panel(self.k))
        if self.integer:
            run("ew_gemm_s8", left[0], b, i64(self.k), address(acc, 0), i64(shape.nr), m)
        else:
            run("ew_gemm_f32", left[0], left[1], b, i64(self.k), address(acc, 0), i64(shape.nr), m)
        column = p * shape.nr

        def anchor(row: Expr) -> Load:
            def value(lane: Expr) -> Expr:
                sum_ = acc[row * shape.nr + lane]
                return sum_ if self.bias is None else sum_ + buffers[self.bias][column + lane]

            return value

        bias = None if self.bias is None else address(buffers[self.bias], column)
        self.tail.emit_tile(buffers, acc, shape.nr, bias, (i * self.block, m), column, width, anchor)
