"""Products of two computed matrices: the right one is packed first, in a step of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgewright.targets.cpu.elementwise import contiguous_rows
from edgewright.targets.cpu.geometry import each_panel, geometry
from edgewright.targets.cpu.step import PARALLEL_MACS, Context
from edgewright.targets.cpu.tir import address, loop, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.tir import Expr, T, i32, i64, row_offset
from edgewright.targets.lowering.view import StridedView, collapse


def matmul(context: Context, group: Group) -> None:
    """Add the steps of (..., M, K) x (..., K, N) with leading axes broadcast."""
    anchor = group.head
    lead = anchor.shape[:-2]
    m_all, n = anchor.shape[-2:]
    k = anchor.inputs[0].shape[-1]
    a = context.values[anchor.inputs[0]].broadcast_to((*lead, m_all, k))
    b = context.values[anchor.inputs[1]].broadcast_to((*lead, k, n))
    integer = not anchor.type.is_float
    shape = geometry(context.variant, "int8" if integer else "float32")
    a = contiguous_rows(context, a, anchor.name)
    batch = math.prod(lead)
    tail = context.tail(group)
    panels = shape.panels(n)
    size = panels * shape.panel(k)
    packed = context.temporary(batch * size, shape.dtype)
    sums = context.temporary(batch * panels * shape.nr, "int32")
    a_sizes, (a_steps,) = collapse(lead, [a.strides[:-2]])
    b_sizes, (b_steps,) = collapse(lead, [b.strides[:-2]])
    macs = batch * m_all * n * k
    wide = macs >= PARALLEL_MACS

    def packing(buffers: Mapping[StridedView, Any]) -> None:
        with loop(batch * panels, parallel=wide) as task:
            which, p = (task // panels, task % panels) if panels > 1 else (task, 0)
            first = p * shape.nr
            many = shape.nr if n % shape.nr == 0 else T.min(shape.nr, n - first)
            begin = row_offset(b_sizes, b_steps, which) + first * b.strides[-1]
            panel = address(buffers[packed], which * size + p * shape.panel(k))
            total = address(buffers[sums], task * shape.nr) if integer else None
            shape.pack_right(address(buffers[b], begin), (b.strides[-1], b.strides[-2]), many, k, panel, total)

    context.add(group, [b, packed, *([sums] if integer else [])], packing, kind="PackMatrix")

    blocks = -(-m_all // shape.mr)
    block = -(-m_all // blocks)
    offset = context.variant.s8_offset if integer else 0

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(batch * blocks, parallel=wide) as task:
            which, i = (task // blocks, task % blocks) if blocks > 1 else (task, 0)
            row = i * block
            m = block if m_all % block == 0 else T.min(block, m_all - row)
            left, lda = address(buffers[a], row_offset(a_sizes, a_steps, which) + row * a.strides[-2]), i64(a.strides[-2])
            left = shape.packed_left(left, lda, m, k)
            acc = scratch(shape.mr * shape.nr, shape.accumulator)

            def tile(p: Expr, count: int) -> None:
                right = address(buffers[packed], which * size + p * shape.panel(k))
                shape.multiply(left, lda, right, k, address(acc, 0), shape.nr, m)
                with loop(m) as r:

                    def anchor_value(lane: Expr) -> Expr:
                        value = acc[r * shape.nr + lane]
                        if offset:
                            value = value - buffers[sums][(which * panels + p) * shape.nr + lane] * i32(offset)
                        return value

                    tail.emit(buffers, which * m_all + row + r, p * shape.nr, count, anchor_value)

            each_panel(n, shape.nr, tile)

    context.add(group, [a, packed, *([sums] if integer else []), *tail.views], body, macs=macs)
