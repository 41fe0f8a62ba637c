"""Attention on CUDA: a block takes some queries of one head, whose scores stay in shared memory.

Float: softmax(scale q k^T + bias) v. Integers: the program of `arith.attention`, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from edgewright.passes.ir import Node
from edgewright.passes.ops.arith import ATTENTION_WEIGHT_MAX, EXP2_TABLE
from edgewright.targets.gpu.formulas import f32, rounded
from edgewright.targets.gpu.matrix import quad_of
from edgewright.targets.gpu.operand import TileOperand
from edgewright.targets.gpu.rows import LOWEST, WarpRow, exponential
from edgewright.targets.gpu.step import CudaContext
from edgewright.targets.gpu.tile import DOT, EXACT, FLOAT, PAD, STEPS, MatrixTile, Multiplier, Resident, arithmetic
from edgewright.targets.gpu.tir import (
    WARP,
    Argument,
    Buffers,
    Launch,
    barrier,
    bit_length,
    both,
    counted,
    let,
    loaded,
    quotient,
    remainder,
    shared,
    total_of,
    when,
)
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.operands import AttentionOperands
from edgewright.targets.lowering.tir import Expr, T, cast, i32, i64, put
from edgewright.targets.lowering.view import StridedView

TILES = (MatrixTile(16, 64, 2, 4), MatrixTile(4, 64, 1, 2), MatrixTile(1, 64, 1, 1))
SHARED_BYTES = 48 << 10  # of a block, on every supported architecture
WEIGHT_OFFSET = 127  # weights in [0, 254] become int8 for dp4a


def padded_keys(keys: int) -> int:
    return -(-keys // 64) * 64


def shared_bytes(tile: MatrixTile, kind: str, keys: int) -> int:
    """Return the bytes that a block of this tile needs for scores, weights, staging and the rows' totals."""
    width = padded_keys(keys) + PAD
    weights = padded_keys(keys) // 4 + PAD if kind == DOT else 0
    staging = STEPS[kind] * (4 if kind == EXACT else 1) * (tile.bm + tile.bn + 2 * PAD)
    return 4 * (tile.bm * (width + weights + 2) + staging) + 5 * 64  # arrays begin at multiples of 64 bytes


def attention_tile(kind: str, keys: int) -> MatrixTile | None:
    """Return the largest tile whose scores fit; None if not even those of one query do."""
    return next((tile for tile in TILES if shared_bytes(tile, kind, keys) <= SHARED_BYTES), None)


def refused(node: Node, has_dp4a: bool) -> str | None:
    """Return why an attention cannot run; None when it can."""
    keys = node.inputs[1].shape[1]
    kind = arithmetic("float32" if node.type.is_float else "int8", has_dp4a)
    return None if attention_tile(kind, keys) is not None else f"the scores of {keys} keys do not fit the memory of a block"


def attention(context: CudaContext, group: Group) -> None:
    """Add the launch of an attention with its tail."""
    operands = AttentionOperands.of(context, group.head)
    op, q, k, v, bias = operands.op, operands.q, operands.k, operands.v, operands.bias
    windows, heads, tokens, keys, dk, dv = operands.sizes
    kind = arithmetic(q.dtype, context.has_dp4a)
    tile = attention_tile(kind, keys)
    assert tile is not None
    tail = context.tail(group)
    table = context.keep(EXP2_TABLE.astype(np.int32))
    down = -(-tokens // tile.bm)
    pitch = padded_keys(keys) + PAD
    warps = tile.threads // WARP

    def side(view: StridedView, window: Expr, head: Expr, depth: int) -> TileOperand:
        """Return a head's rows: (tokens, depth)."""
        by_row, by_k = view.strides[1:]
        quad = quad_of(view, by_k, (view.strides[0], by_row), depth)

        def at(m: Expr, step: Expr) -> Expr:
            return window * view.strides[0] + head * (depth * by_k) + m * by_row + step * by_k

        return TileOperand(view, view.shape[1], depth, at, quad)

    def columns(window: Expr, head: Expr) -> TileOperand:
        """Return a head's values as the right side: (dv, keys)."""
        by_key, by_column = v.strides[1:]
        quad = "m" if kind == FLOAT and quad_of(v, by_column, (v.strides[0], by_key), dv) else ""

        def at(m: Expr, step: Expr) -> Expr:
            return window * v.strides[0] + head * (dv * by_column) + step * by_key + m * by_column

        return TileOperand(v, dv, keys, at, quad)

    def body(buffers: Buffers, block: Expr, thread: Expr) -> None:
        multiplier = Multiplier(tile, kind, thread)
        scores = shared(tile.bm * pitch, multiplier.dtype)
        totals = shared(tile.bm, multiplier.dtype)
        shifts = shared(tile.bm, "int32")
        first = let(remainder(block, down)) * tile.bm
        head, window = let(remainder(quotient(block, down), heads)), let(quotient(block, down * heads))

        with counted(padded_keys(keys) // tile.bn) as part:
            left, right = side(q, window, head, dk), side(k, window, head, dk)
            multiplier.run(buffers, left, first, right, part * tile.bn)

            def keep(row: Expr, column: Expr, value: Expr, _: Expr) -> None:
                key = let(part * tile.bn + column)
                if kind == FLOAT:
                    value = value * f32(op.scale)
                if bias is not None:
                    w, h, t, s = bias.strides
                    query = let(first + row)
                    where = both(None if tokens % tile.bm == 0 else query < tokens, None if keys % 64 == 0 else key < keys)
                    value = value + loaded(buffers[bias], window * w + head * h + query * t + key * s, where)
                put(scores, row * pitch + key, value)

            multiplier.each(keep)
        barrier()
        weights = _weights(buffers, scores, totals, shifts, thread)
        barrier()
        with counted(-(-dv // tile.bn)) as part:
            multiplier.run(buffers, weights, 0, columns(window, head), part * tile.bn, wide=True, columns=kind == DOT)

            def store(row: Expr, column: Expr, value: Expr, total: Expr) -> None:
                query, place = let(first + row), let(part * tile.bn + column)
                inside = both(None if tokens % tile.bm == 0 else query < tokens, None if dv % tile.bn == 0 else place < dv)
                with when(inside):
                    result = _normalised(value, total, totals[row], shifts[row])
                    tail.emit(buffers, window * tokens + query, head * dv + place, result)

            multiplier.each(store)

    def _normalised(value: Expr, column_sum: Expr, total: Expr, shift: Expr) -> Expr:
        if kind == FLOAT:
            return value * total
        if kind == DOT:
            value = value + column_sum * i32(WEIGHT_OFFSET)
        return cast(rounded(cast(value, "int64") * cast(total, "int64"), cast(shift, "int64")), "int32")

    def _weights(buffers: Buffers, scores: Any, totals: Any, shifts: Any, thread: Expr) -> Resident:
        """Turn rows of scores into weights, zero after the last key, and set what normalises them."""
        target, width = scores, pitch  # each weight takes the place of its score
        if kind == DOT:
            width = padded_keys(keys) // 4 + PAD
            target = shared(tile.bm * width, "int32")
        lane, warp = let(remainder(thread, WARP)), let(quotient(thread, WARP))
        with counted(-(-tile.bm // warps)) as turn:
            number = let(turn * warps + warp)
            with when(number < tile.bm):
                row = WarpRow(lane, keys)

                def score(turn: Expr, key: Expr, where: Expr | None) -> Expr:
                    return scores[number * pitch + key]

                if kind == FLOAT:
                    total = _float_row(row, scores, number, score)
                    with when(lane == 0):
                        put(totals, number, f32(1) / total)
                else:
                    total = _integer_row(buffers, row, target, width, number, score)
                    with when(lane == 0):  # arith.attention_normalise
                        bits = let(bit_length(cast(total, "int64")))
                        reciprocal = T.truncdiv(T.shift_left(i64(1), bits + i64(15)), cast(total, "int64"))
                        put(totals, number, cast(reciprocal, "int32"))
                        put(shifts, number, cast(bits + i64(7), "int32"))
        return Resident(target, width, bits=kind == EXACT)

    def _float_row(row: WarpRow, scores: Any, number: Expr, score: Any) -> Expr:
        highest = let(row.largest("float32", score, LOWEST))
        whole = WarpRow(row.lane, padded_keys(keys))
        with whole.each() as (_, key, _):
            power = T.exp(scores[number * pitch + key] - highest)
            put(scores, number * pitch + key, power if keys % 64 == 0 else T.if_then_else(key < keys, power, f32(0)))
        return let(row.total("float32", score))

    def _integer_row(buffers: Buffers, row: WarpRow, target: Any, width: int, number: Expr, score: Any) -> Expr:
        highest = let(row.largest("int32", score, -(1 << 31)))
        sum_here = T.alloc_buffer((1,), "int32", scope="local")
        put(sum_here, 0, i32(0))

        def existing(key: Expr, value: Expr, otherwise: Expr) -> Expr:
            """Return `value`, or something else after the last key."""
            return value if keys % 64 == 0 else T.if_then_else(key < keys, value, otherwise)

        def weight(key: Expr) -> Expr:
            """Return the weight of `arith.attention_weights`."""
            distance = highest - existing(key, score(0, key, None), highest)
            power = exponential(buffers, table, distance, op.score_multiplier, op.score_shift)
            return let(T.min(T.shift_right(power + 64, i32(7)), i32(ATTENTION_WEIGHT_MAX)))

        per_lane = 4 if kind == DOT else 1
        with WarpRow(row.lane, padded_keys(keys) // per_lane).each() as (_, place, exists), when(exists):
            total: Expr = i32(0)
            for i in range(per_lane):
                key = let(place * per_lane + i)
                here = weight(key)
                put(sum_here, 0, sum_here[0] + existing(key, here, i32(0)))
                if kind == DOT:
                    byte = T.bitwise_and(existing(key, here - WEIGHT_OFFSET, i32(0)), i32(255))
                    total = T.bitwise_or(total, T.shift_left(byte, i32(8 * i)))
                else:
                    total = T.reinterpret("int32", let(cast(existing(key, here, i32(0)), "float32")))
            put(target, number * width + place, total)
        return let(total_of(sum_here[0], "int32"))

    arguments = [side(q, 0, 0, dk).argument, side(k, 0, 0, dk).argument, columns(0, 0).argument]
    if kind != FLOAT:
        arguments.append(Argument(table))
    if bias is not None:
        arguments.append(Argument(bias))
    launch = Launch(windows * heads * down, tile.threads)
    context.add(group, [*arguments, *tail.arguments], launch, body, macs=operands.macs)


assert all(64 % (STEPS[kind] * (1 if kind == FLOAT else 4)) == 0 for kind in STEPS)
