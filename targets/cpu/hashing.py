"""Attention by codes in two steps: the sums over all tokens of a head for each combination of four bits, then for each
token the few combinations that its code selects, and their normalisation. Also the codes themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import HashAttention, HashCodes, array_of
from edgewright.passes.ops.arith_hashing import KERNEL_BITS
from edgewright.targets.cpu.elementwise import contiguous_rows
from edgewright.targets.cpu.experts import no_bias, packed
from edgewright.targets.cpu.geometry import geometry
from edgewright.targets.cpu.step import PARALLEL_ELEMENTS, PARALLEL_MACS, Context
from edgewright.targets.cpu.tail import Tail
from edgewright.targets.cpu.tir import address, head_offset, loop, null, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.tir import Expr, T, constant, i32, i64
from edgewright.targets.lowering.view import StridedView, dtype_of

BLOCK = 32  # tokens whose rows are finished together
QUAD = 4  # bits that select together
COMBINATIONS = 1 << QUAD
SUM_LANES = 16  # values of 16 bits that are added up together
Buffers = Mapping[StridedView, Any]
Emit = Callable[[Buffers, Expr, Expr, Expr, Expr, Expr], None]
"""(buffers, window * heads + head, first token, how many, address of the results, their row pitch)."""


def hash_attention(context: Context, group: Group) -> None:
    """Add the two steps of an attention by codes."""
    anchor = group.head
    assert isinstance(anchor.op, HashAttention)
    op = anchor.op
    codes, v = (_rows(context, node) for node in anchor.inputs)
    windows, tokens, width = v.shape
    heads, dv, quads = op.heads, width // op.heads, -(-op.bits // QUAD)
    integer = not anchor.type.is_float
    kind = "s8" if integer else "f32"
    codes_type, v_type = (node.type for node in anchor.inputs)
    lanes = SUM_LANES if integer else context.variant.vector_bits // 32
    pitch = -(-dv // lanes) * lanes
    count = windows * heads
    selected = context.temporary(count * tokens * quads, "uint8")
    tables = context.temporary(count * quads * COMBINATIONS * pitch, "int32" if integer else "float32")
    weights = context.temporary(count * quads * COMBINATIONS, "int32")
    wide = count * tokens * dv * quads >= PARALLEL_ELEMENTS

    def summing(buffers: Buffers) -> None:
        with loop(count, parallel=wide and count > 1) as head:
            work = [address(scratch(quads * COMBINATIONS * pitch, "int16"), 0)] if integer else []
            run(
                f"ew_hash_tables_{kind}",
                address(buffers[codes], head_offset(codes, head, heads)),
                i64(codes.strides[1]),
                address(buffers[v], head_offset(v, head, heads)),
                i64(v.strides[1]),
                i64(tokens),
                i32(op.bits),
                i64(dv),
                i32(int(op.constant == "sum")),
                address(buffers[selected], head * (tokens * quads)),
                address(buffers[tables], head * (quads * COMBINATIONS * pitch)),
                address(buffers[weights], head * (quads * COMBINATIONS)),
                *work,
            )

    context.add(group, [codes, v, selected, tables, weights], summing, kind="HashSums")

    def rows(buffers: Buffers, head: Expr, row: Expr, many: Expr, target: Expr, ldout: Expr) -> None:
        values = null() if op.constant == "sum" else address(buffers[v], head_offset(v, head, heads) + row * v.strides[1])
        run(
            f"ew_hash_rows_{kind}",
            address(buffers[selected], (head * tokens + row) * quads),
            many,
            i32(op.bits),
            address(buffers[tables], head * (quads * COMBINATIONS * pitch)),
            address(buffers[weights], head * (quads * COMBINATIONS)),
            i64(dv),
            values,
            i64(v.strides[1]),
            target,
            ldout,
        )

    extra = [v] if op.constant == "own" else []
    _blocks(context, group, heads, dv, [selected, tables, weights, *extra], rows, wide, op.macs(codes_type, v_type))


def hash_codes(context: Context, group: Group) -> None:
    """Add the step of the codes of all heads."""
    anchor = group.head
    assert isinstance(anchor.op, HashCodes)
    op = anchor.op
    u = _rows(context, anchor.inputs[0])
    operands = [array_of(node) for node in anchor.inputs[1:]]
    heads, bits = operands[1].shape[:2]
    prepare, dtype, kind = (_float_codes, "float32", "f32") if anchor.type.is_float else (_integer_codes, "int8", "s8")
    parts, pitches, work_size, scalars = prepare(context, op, *operands)

    def rows(buffers: Buffers, head: Expr, row: Expr, many: Expr, target: Expr, ldout: Expr) -> None:
        which = head % heads if u.shape[0] > 1 else head
        work = scratch(work_size, dtype)
        run(
            f"ew_hash_codes_{kind}",
            address(buffers[u], head_offset(u, head, heads) + row * u.strides[1]),
            i64(u.strides[1]),
            many,
            address(buffers[parts[0]], 0),
            *scalars,
            *(address(buffers[part], which * pitch) for part, pitch in zip(parts[1:], pitches, strict=True)),
            address(work, 0),
            target,
            ldout,
        )

    macs = op.macs(*(node.type for node in anchor.inputs))
    _blocks(context, group, heads, bits, [u, *parts], rows, macs >= PARALLEL_MACS, macs)


Codes = tuple[list[StridedView], list[int], int, list[Expr]]
"""(sizes and constants, the constants' elements a head, work, scalars)."""


def _float_codes(context: Context, op: HashCodes, anchors: Array, coefficients: Array, threshold: Array) -> Codes:
    _, supports, dk = anchors.shape
    bits = coefficients.shape[1]
    shape = geometry(context.variant, "float32")
    supports_wide, bits_wide = (shape.panels(n) * shape.nr for n in (supports, bits))
    sizes = np.array([dk, supports, bits], np.int64)
    squares = (anchors.astype(np.float64) ** 2).sum(axis=2) / (2 * op.sigma)
    parts = [
        sizes,
        packed((anchors / np.float32(op.sigma)).astype(np.float32), shape),
        np.pad(squares, ((0, 0), (0, supports_wide - supports))).astype(np.float32),
        packed(coefficients, shape),
        threshold.astype(np.float32),
    ]
    pitches = [supports_wide * dk, supports_wide, bits_wide * supports, bits]
    work = shape.mr * (supports_wide + shape.nr)
    return [context.keep(array) for array in parts], pitches, work, [constant(1 / (2 * op.sigma), "float32")]


def _integer_codes(
    context: Context, op: HashCodes, anchors: Array, coefficients: Array, threshold: Array, offset: Array
) -> Codes:
    heads, supports, dk = anchors.shape
    bits = coefficients.shape[1]
    shape = geometry(context.variant, "int8")
    lanes = context.variant.vector_bits // 32
    pairs, columns = -(-supports // 2), shape.panels(supports) * shape.nr
    ld, bits_wide = -(-max(2 * pairs, columns) // lanes) * lanes, -(-bits // lanes) * lanes
    left = -(-shape.a_panel(dk) // 64) * 64
    offsets = np.zeros((heads, 2, ld), np.int32)
    offsets[:, 0, :supports] = offset
    offsets[:, 1, :supports] = context.variant.s8_offset * anchors.astype(np.int64).sum(axis=2)
    factors = np.zeros((heads, 2 * pairs, bits_wide), np.int16)
    factors[:, :supports, :bits] = coefficients.swapaxes(1, 2)
    limits = np.zeros((heads, bits_wide), np.int64)
    limits[:, :bits] = threshold - (coefficients.astype(np.int64).sum(axis=2) << (KERNEL_BITS - 1))
    parts = [
        np.array([dk, bits, pairs, ld, shape.panel(dk), op.multiplier, op.shift, left, columns], np.int64),
        packed(anchors, shape),
        offsets,
        factors.reshape(heads, pairs, 2, bits_wide).swapaxes(2, 3),
        np.clip(limits, -(2**31), 2**31 - 1).astype(np.int32),  # sums are below 2^31: no sign changes
    ]
    pitches = [shape.panels(supports) * shape.panel(dk), 2 * ld, 2 * pairs * bits_wide, bits_wide]
    return [context.keep(array) for array in parts], pitches, left + shape.mr * ld * 6, []


def _blocks(
    context: Context, group: Group, heads: int, width: int, views: list[StridedView], rows: Emit, wide: bool, macs: int = 0
) -> None:
    """Add the step of the anchor's results, blocks of tokens head by head, with the tail."""
    anchor = group.head
    windows, tokens, _ = anchor.shape
    tail = context.tail(group, tiles=True)
    target_view = _home(tail, anchor)
    bias = no_bias(context, tail, width)
    blocks = -(-tokens // BLOCK)
    dtype = dtype_of(anchor.elem)

    def body(buffers: Buffers) -> None:
        with loop(windows * heads * blocks, parallel=wide) as task:
            head, block = (task // blocks, task % blocks) if blocks > 1 else (task, 0)
            row = block * BLOCK
            many = min(BLOCK, tokens) if tokens % BLOCK == 0 or tokens < BLOCK else T.min(BLOCK, tokens - row)
            if target_view is not None:
                target = address(buffers[target_view], head_offset(target_view, head, heads) + row * target_view.strides[1])
                rows(buffers, head, row, many, target, i64(target_view.strides[1]))
                return
            results = scratch(min(BLOCK, tokens) * width, dtype)
            rows(buffers, head, row, many, address(results, 0), i64(width))
            window, which = (head // heads, head % heads) if windows > 1 else (0, head)

            def result(at: Expr) -> Any:
                return lambda lane: results[at * width + lane]

            none = address(buffers[bias[0]], 0) if bias else None
            tail.emit_tile(buffers, results, width, none, (window * tokens + row, many), which * width, width, result)

    context.add(group, [*views, *bias, *tail.views], body, macs=macs)


def _home(tail: Tail, anchor: Node) -> StridedView | None:
    """Return where results may be written directly: the anchor's view, if its columns are contiguous and there is no tail."""
    target_view = tail.stored.get(anchor)
    return target_view if target_view is not None and not tail.group.tail and target_view.strides[-1] == 1 else None


def _rows(context: Context, node: Node) -> StridedView:
    """Return a value (windows, tokens, width) with contiguous columns."""
    return contiguous_rows(context, context.values[node], node.name)
