"""Matrix products against packed weights: register tiles by micro-kernels, everything behind them in TIR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.groups import Group
from edgewright.targets.cpu.step import PARALLEL_MACS, Context
from edgewright.targets.cpu.tail import Tail
from edgewright.targets.cpu.tir import Expr, T, address, copy, i64, loop, row_offset, run, scratch
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.cpu.view import View, collapse

FEW_ROWS = 4  # with fewer blocks of rows than this, threads share the columns instead
CHUNK_PANELS = 2

Fill = Callable[[Mapping[View, Any], Any, Expr, Expr], None]  # (buffers, rows, first row, count): gathers rows


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
    n, k = weight.shape
    shape = geometry(context.variant, "float32" if weight.dtype.kind == "f" else "int8")
    integer = shape.dtype == "int8"
    packed = context.keep(pack(weight.astype(shape.dtype), shape))
    constant = np.zeros(n, np.int64 if integer else np.float32) if bias is None else np.asarray(bias)
    if integer:
        constant = constant - context.variant.s8_offset * weight.astype(np.int64).sum(axis=1)
    bias_view = context.keep(constant.astype(shape.accumulator)) if integer or bias is not None else None
    views = [*rows.views, packed, *([bias_view] if bias_view is not None else []), *tail.views]
    blocks = -(-count // shape.mr)
    block = -(-count // blocks)  # equal blocks: a short last one would waste most of its registers
    panels = shape.panels(n)
    wide = count * n * k >= PARALLEL_MACS
    by_rows = blocks >= FEW_ROWS

    def body(buffers: Mapping[View, Any]) -> None:
        if by_rows:
            with loop(blocks, parallel=wide) as i:
                _block(buffers, i, 0, panels)
        else:
            chunks = -(-panels // CHUNK_PANELS)
            with loop(chunks, parallel=wide and chunks > 1) as chunk:
                for i in range(blocks):
                    first = chunk * CHUNK_PANELS
                    _block(
                        buffers, i, first, CHUNK_PANELS if panels % CHUNK_PANELS == 0 else T.min(CHUNK_PANELS, panels - first)
                    )

    def _block(buffers: Mapping[View, Any], i: Expr, first: Expr, many: Expr) -> None:
        row = i * block
        m = block if count % block == 0 else T.min(block, count - row)
        a, lda = _left(buffers, row, m)
        acc = scratch(shape.mr * shape.nr, shape.accumulator)
        rest = n % shape.nr
        if not rest:
            with loop(many) as p:
                _tile(buffers, row, m, a, lda, acc, first + p, shape.nr)
            return
        last = panels - 1
        if isinstance(first, int):
            if last:
                with loop(last) as p:
                    _tile(buffers, row, m, a, lda, acc, p, shape.nr)
            _tile(buffers, row, m, a, lda, acc, last, rest)
            return
        with loop(many) as p, T.If(first + p < last):
            with T.Then():
                _tile(buffers, row, m, a, lda, acc, first + p, shape.nr)
            with T.Else():
                _tile(buffers, row, m, a, lda, acc, last, rest)

    def _left(buffers: Mapping[View, Any], row: Expr, m: Expr) -> tuple[Expr, Expr]:
        """(address of the rows as the micro-kernel takes them, their distance in elements)."""
        if rows.fill is None and len(rows.sizes) == 1:
            pointer = address(buffers[rows.views[0]], row_offset(rows.sizes, rows.strides, row))
            stride = rows.strides[0]
        else:
            gathered = scratch(block * k, shape.dtype)
            if rows.fill is not None:
                rows.fill(buffers, gathered, row, m)
            else:
                source = buffers[rows.views[0]]
                with loop(m) as i:
                    copy(
                        address(gathered, i * k),
                        address(source, row_offset(rows.sizes, rows.strides, row + i)),
                        k * (1 if integer else 4),
                    )
            pointer, stride = address(gathered, 0), k
        if not integer:
            return pointer, i64(stride)
        panel = scratch(shape.a_panel(k), "int8")
        run("ew_pack_a_s8", pointer, i64(stride), m, i64(k), address(panel, 0))
        return address(panel, 0), i64(stride)

    def _tile(buffers: Mapping[View, Any], row: Expr, m: Expr, a: Expr, lda: Expr, acc: Any, p: Expr, width: int) -> None:
        b = address(buffers[packed], p * shape.panel(k))
        if integer:
            run("ew_gemm_s8", a, b, i64(k), address(acc, 0), i64(shape.nr), m)
        else:
            run("ew_gemm_f32", a, lda, b, i64(k), address(acc, 0), i64(shape.nr), m)
        column = p * shape.nr
        with loop(m) as i:

            def anchor(lane: Expr) -> Expr:
                value = acc[i * shape.nr + lane]
                return value if bias_view is None else value + buffers[bias_view][column + lane]

            tail.emit(buffers, row + i, column, width, anchor)

    context.add(group, views, body, macs=count * n * k)
