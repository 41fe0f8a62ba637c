"""Linear, patch embedding, convolution and MatMul as tiled products on CUDA."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from edgewright.passes.ir import Array
from edgewright.passes.ops import Conv, PatchEmbed
from edgewright.targets.gpu.operand import TileOperand
from edgewright.targets.gpu.step import CudaContext
from edgewright.targets.gpu.tail import CudaTail
from edgewright.targets.gpu.tile import COLUMNS, STEPS, Multiplier, arithmetic, tile_for
from edgewright.targets.gpu.tir import Argument, Buffers, Launch, both, let, quotient, remainder, when
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.operands import weight_and_bias
from edgewright.targets.lowering.tir import Expr, row_offset, tirx
from edgewright.targets.lowering.view import StridedView, channels_last, collapse


def packed_weight(context: CudaContext, weight: Array) -> TileOperand:
    """Return a weight (N, K) as the right side: floats [K][N], or words of four k [K / 4][N][4], padded with zeros."""
    n, k = weight.shape
    integer = weight.dtype.kind != "f"
    deep = 64  # a multiple of what any kind of arithmetic stages at a time
    full = np.zeros((-(-n // COLUMNS) * COLUMNS, -(-k // deep) * deep), np.int8 if integer else np.float32)
    full[:n, :k] = weight
    layout = full.reshape(full.shape[0], -1, 4).transpose(1, 0, 2) if integer else full.T
    view = context.keep(np.ascontiguousarray(layout))
    columns = full.shape[0]
    return TileOperand(view, n, k, lambda m, step: step * columns + m, packed=True)


def quad_of(view: StridedView, along_k: int, others: tuple[int, ...], depth: int) -> str:
    """Return "k" if four neighbours along k are adjacent and aligned, else ""."""
    aligned = all(number % 4 == 0 for number in (view.offset, depth, *others))
    return "k" if along_k == 1 and aligned else ""


def rows_operand(view: StridedView) -> TileOperand:
    """Return the rows of (..., k)."""
    sizes, (strides,) = collapse(view.shape[:-1], [view.strides[:-1]])
    step = view.strides[-1]
    depth = view.shape[-1]
    quad = quad_of(view, step, tuple(strides), depth)
    return TileOperand(view, math.prod(view.shape[:-1]), depth, lambda m, k: row_offset(sizes, strides, m) + k * step, quad)


def linear(context: CudaContext, group: Group) -> None:
    """Add the launch of a Linear: rows of the operand times the weight."""
    rows = rows_operand(context.values[group.head.inputs[0]])
    product(context, group, rows, *weight_and_bias(group.head), context.tail(group))


def patch_embed(context: CudaContext, group: Group) -> None:
    """Add the launch of a patch embedding: each patch is a row of channels * patch * patch pixels."""
    anchor = group.head
    assert isinstance(anchor.op, PatchEmbed)
    image, patch = context.values[anchor.inputs[0]], anchor.op.patch
    batch, channels, height, width = image.shape
    down, across = height // patch, width // patch
    s_batch, s_channel, s_row, s_column = image.strides

    def at(m: Expr, k: Expr) -> Expr:
        row, column = remainder(quotient(m, across), down), remainder(m, across)
        channel, y, x = quotient(k, patch * patch), remainder(quotient(k, patch), patch), remainder(k, patch)
        image_at = quotient(m, across * down) * s_batch if batch > 1 else 0
        corner = image_at + row * (patch * s_row) + column * (patch * s_column)
        return corner + channel * s_channel + y * s_row + x * s_column

    quad = quad_of(image, s_column, (s_batch if batch > 1 else 0, s_channel, s_row, patch), patch)
    rows = TileOperand(image, batch * down * across, channels * patch * patch, at, quad)
    product(context, group, rows, *weight_and_bias(anchor), context.tail(group))


def product_convolution(context: CudaContext, group: Group) -> None:
    """Add the launch of a convolution of one group: each output pixel is a row of kh * kw * channels values."""
    anchor = group.head
    op = anchor.op
    assert isinstance(op, Conv)
    weight, bias = weight_and_bias(anchor)
    tail = context.tail(group, channels_last)
    image = channels_last(context.values[anchor.inputs[0]])
    batch, height, width, channels = image.shape
    outs, _, kh, kw = weight.shape
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1)).reshape(outs, -1)
    out_height, out_width = anchor.shape[2:]
    s_batch, s_row, s_column, s_channel = image.strides

    def place(m: Expr, k: Expr) -> tuple[Expr, Expr, Expr]:
        """Return (batch, row, column) of the pixel of a value."""
        y, x = remainder(quotient(m, out_width), out_height), remainder(m, out_width)
        ky, kx = quotient(k, kw * channels), remainder(quotient(k, channels), kw)
        return (
            quotient(m, out_width * out_height) if batch > 1 else 0,
            y * op.strides[0] + ky * op.dilations[0] - op.pads[0],
            x * op.strides[1] + kx * op.dilations[1] - op.pads[1],
        )

    def at(m: Expr, k: Expr) -> Expr:
        which, y, x = place(m, k)
        return which * s_batch + y * s_row + x * s_column + remainder(k, channels) * s_channel

    def guard(m: Expr, k: Expr) -> Expr:
        _, y, x = place(m, k)
        return tirx.all(y >= 0, y < height, x >= 0, x < width)

    quad = quad_of(image, s_channel, (s_batch if batch > 1 else 0, s_row, s_column), channels)
    rows = TileOperand(
        image, batch * out_height * out_width, kh * kw * channels, at, quad, guard if any(op.pads) else None, op.pad_value
    )
    product(context, group, rows, matrix, bias, tail)


def product(context: CudaContext, group: Group, rows: TileOperand, weight: Array, bias: Array | None, tail: CudaTail) -> None:
    """Add the step acc[r, c] = sum_k rows[r, k] * weight[c, k] + bias[c] with its tail. weight (N, K), bias (N,)."""
    right = packed_weight(context, weight)
    kind = arithmetic(rows.view.dtype, context.has_dp4a)
    count, n = rows.extent, weight.shape[0]
    tile = tile_for(count, n)
    across = -(-n // tile.bn)
    dtype = np.float32 if weight.dtype.kind == "f" else np.int32
    bias_view = None if bias is None else context.keep(bias.astype(dtype))

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        multiplier = Multiplier(tile, kind, thread)
        first_row, first_column = let(quotient(block, across)) * tile.bm, let(remainder(block, across)) * tile.bn
        multiplier.run(buffers, rows, first_row, right, first_column)

        def store(row: Expr, column: Expr, value: Expr, _: Expr) -> None:
            row, column = let(first_row + row), let(first_column + column)

            def emit() -> None:
                tail.emit(buffers, row, column, value if bias_view is None else value + buffers[bias_view][column])

            guarded(row, count, tile.bm, column, n, tile.bn, emit)

        multiplier.each(store)

    bias_argument = [] if bias_view is None else [Argument(bias_view)]
    arguments = [rows.argument, right.argument, *bias_argument, *tail.arguments]
    context.add(group, arguments, Launch(-(-count // tile.bm) * across, tile.threads), body, macs=count * n * rows.depth)


def guarded(row: Expr, rows: int, bm: int, column: Expr, columns: int, bn: int, body: Callable[[], Any]) -> None:
    """Run `body` where the result (row, column) of tiles of bm x bn exists."""
    with when(both(None if rows % bm == 0 else row < rows, None if columns % bn == 0 else column < columns)):
        body()


def matmul(context: CudaContext, group: Group) -> None:
    """Add the steps of (..., M, K) x (..., K, N) with leading axes broadcast."""
    anchor = group.head
    lead, (m_all, n) = anchor.shape[:-2], anchor.shape[-2:]
    k = anchor.inputs[0].shape[-1]
    a = context.values[anchor.inputs[0]].broadcast_to((*lead, m_all, k))
    b = context.values[anchor.inputs[1]].broadcast_to((*lead, k, n))
    kind = arithmetic(a.dtype, context.has_dp4a)
    batch = math.prod(lead)
    tile = tile_for(m_all, n, batch)
    down, across = -(-m_all // tile.bm), -(-n // tile.bn)
    tail = context.tail(group)
    left, right = (
        side(a),
        side(StridedView(b.storage, (*lead, n, k), (*b.strides[:-2], b.strides[-1], b.strides[-2]), b.offset)),
    )
    arguments = [left(0).argument, right(0).argument, *tail.arguments]

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        multiplier = Multiplier(tile, kind, thread)
        which = let(quotient(block, down * across))
        first_row = let(remainder(quotient(block, across), down)) * tile.bm
        first_column = let(remainder(block, across)) * tile.bn
        multiplier.run(buffers, left(which), first_row, right(which), first_column)

        def store(row: Expr, column: Expr, value: Expr, _: Expr) -> None:
            row, column = let(first_row + row), let(first_column + column)
            guarded(row, m_all, tile.bm, column, n, tile.bn, lambda: tail.emit(buffers, which * m_all + row, column, value))

        multiplier.each(store)

    context.add(group, arguments, Launch(batch * down * across, tile.threads), body, macs=batch * m_all * n * k)


def side(view: StridedView) -> Callable[[Expr], TileOperand]:
    """Return the matrices (..., m, k) by their number over the leading axes."""
    *lead, extent, depth = view.shape
    sizes, (strides,) = collapse(tuple(lead), [view.strides[:-2]])
    by_m, by_k = view.strides[-2:]
    quad = quad_of(view, by_k, (*strides, by_m), depth)
    if not quad and view.dtype == "float32" and quad_of(view, by_m, (*strides, by_k), extent):
        quad = "m"

    def operand(which: Expr) -> TileOperand:
        def at(m: Expr, k: Expr) -> Expr:
            return row_offset(sizes, strides, which) + m * by_m + k * by_k

        return TileOperand(view, extent, depth, at, quad)

    return operand


assert all(64 % (steps * (1 if kind == "float" else 4)) == 0 for kind, steps in STEPS.items())
