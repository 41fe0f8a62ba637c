"""Attention head by head: keys and values are packed once, then blocks of queries whose scores stay in the cache.

Float: softmax(scale q k^T + bias) v. Integers: the program of `arith.attention`, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgewright.targets.cpu.elementwise import contiguous_rows
from edgewright.targets.cpu.geometry import each_panel, geometry
from edgewright.targets.cpu.step import PARALLEL_MACS, Context
from edgewright.targets.cpu.tir import address, call, head_offset, lanes, loop, run, scratch
from edgewright.targets.lowering.groups import Group
from edgewright.targets.lowering.operands import AttentionOperands
from edgewright.targets.lowering.tir import Expr, T, cast, constant, i32, i64, put
from edgewright.targets.lowering.view import StridedView


def attention(context: Context, group: Group) -> None:
    """Add the two steps of an attention: packing of keys and values, and the attention itself with its tail."""
    anchor = group.head
    operands = AttentionOperands.of(context, anchor)
    op, k, v, bias, macs = operands.op, operands.k, operands.v, operands.bias, operands.macs
    windows, heads, tokens, keys, dk, dv = operands.sizes
    q = contiguous_rows(context, operands.q, anchor.name)  # its channels may be those of a map
    integer = not anchor.type.is_float
    variant = context.variant
    shape = geometry(variant, "int8" if integer else "float32")
    tail = context.tail(group)
    k_panels, v_panels = shape.panels(keys), shape.panels(dv)
    k_size, v_size = k_panels * shape.panel(dk), v_panels * shape.panel(keys)
    packed_k = context.temporary(windows * heads * k_size, shape.dtype)
    packed_v = context.temporary(windows * heads * v_size, shape.dtype)
    k_sums = context.temporary(windows * heads * k_panels * shape.nr, "int32")
    v_sums = context.temporary(windows * heads * v_panels * shape.nr, "int32")
    wide = macs >= PARALLEL_MACS
    sums = [k_sums, v_sums] if integer else []

    def packing(buffers: Mapping[StridedView, Any]) -> None:
        with loop(windows * heads, parallel=wide) as head:
            for source, columns, depth, size, panels, target, total, (stride_n, stride_k) in (
                (k, keys, dk, k_size, k_panels, packed_k, k_sums, k.strides[1:]),
                (v, dv, keys, v_size, v_panels, packed_v, v_sums, v.strides[:0:-1]),
            ):
                begin = head_offset(source, head, heads)
                with loop(panels) as p:
                    first = p * shape.nr
                    many = shape.nr if columns % shape.nr == 0 else T.min(shape.nr, columns - first)
                    columns_at = address(buffers[source], begin + first * stride_n)
                    panel = address(buffers[target], head * size + p * shape.panel(depth))
                    sums_at = address(buffers[total], (head * panels + p) * shape.nr) if integer else None
                    shape.pack_right(columns_at, (stride_n, stride_k), many, depth, panel, sums_at)

    context.add(group, [k, v, packed_k, packed_v, *sums], packing, kind="PackKeysValues")

    blocks = -(-tokens // shape.mr)
    block = -(-tokens // blocks)
    row_scores = k_panels * shape.nr

    def body(buffers: Mapping[StridedView, Any]) -> None:
        with loop(windows * heads * blocks, parallel=wide) as task:
            head, i = task // blocks if blocks > 1 else task, task % blocks if blocks > 1 else 0
            row = i * block
            m = block if tokens % block == 0 else T.min(block, tokens - row)
            scores = scratch(block * row_scores, shape.accumulator)
            begin = head_offset(q, head, heads) + row * q.strides[1]
            a, lda = address(buffers[q], begin), i64(q.strides[1])
            a = shape.packed_left(a, lda, m, dk)
            with loop(k_panels) as p:
                b = address(buffers[packed_k], head * k_size + p * shape.panel(dk))
                shape.multiply(a, lda, b, dk, address(scores, p * shape.nr), row_scores, m)
            if integer:
                _integer_rows(buffers, scores, head, row, m)
            else:
                _float_rows(buffers, scores, head, row, m)

    def bias_at(buffers: Mapping[StridedView, Any], head: Expr, row: Expr, lane: Expr) -> Expr:
        assert bias is not None
        window, which = (head // heads, head % heads) if windows > 1 else (0, head)
        w, h, t, s = bias.strides
        return buffers[bias][window * w + which * h + row * t + lane * s]

    def _float_rows(buffers: Mapping[StridedView, Any], scores: Any, head: Expr, row: Expr, m: Expr) -> None:
        totals = scratch(block, "float32")
        with loop(m) as i:
            scale = constant(op.scale, "float32")
            if bias is not None:

                def shifted(lane: Expr) -> None:
                    at = i * row_scores + lane
                    put(scores, at, scores[at] * scale + bias_at(buffers, head, row + i, lane))

                lanes(keys, shifted)
                scale = constant(1, "float32")
            run("ew_softmax_f32", address(scores, i * row_scores), i64(keys), scale, address(totals, i))
        acc = scratch(shape.mr * shape.nr, "float32")

        def tile(p: Expr, count: int) -> None:
            b = address(buffers[packed_v], head * v_size + p * shape.panel(keys))
            shape.multiply(address(scores, 0), i64(row_scores), b, keys, address(acc, 0), shape.nr, m)
            with loop(m) as i:
                inverse = constant(1, "float32") / totals[i]
                _emit(buffers, head, row + i, p, count, lambda lane: acc[i * shape.nr + lane] * inverse)

        each_panel(dv, shape.nr, tile)

    def _integer_rows(buffers: Mapping[StridedView, Any], scores: Any, head: Expr, row: Expr, m: Expr) -> None:
        offset = variant.s8_offset
        weights = scratch(block * keys, "uint8")
        totals = scratch(block, "int32")
        factors = scratch(block, "float64")
        with loop(m) as i:
            if offset or bias is not None:

                def corrected(lane: Expr) -> None:
                    at = i * row_scores + lane
                    value = scores[at]
                    if offset:
                        value = value - buffers[k_sums][head * (k_panels * shape.nr) + lane] * i32(offset)
                    if bias is not None:
                        value = value + bias_at(buffers, head, row + i, lane)
                    put(scores, at, value)

                lanes(keys, corrected)
            total = call(
                "ew_attention_weights",
                address(scores, i * row_scores),
                i64(keys),
                i32(op.score_multiplier),
                i32(op.score_shift),
                address(weights, i * keys),
            )
            put(totals, i, total)
            put(factors, i, _factor(totals[i]))
        panel = scratch(shape.a_panel(keys), "int8")
        run("ew_pack_a_u8", address(weights, 0), i64(keys), m, i64(keys), address(panel, 0))
        acc = scratch(shape.mr * shape.nr, "int32")
        back = variant.u8_offset

        def tile(p: Expr, count: int) -> None:
            b = address(buffers[packed_v], head * v_size + p * shape.panel(keys))
            shape.multiply(address(panel, 0), None, b, keys, address(acc, 0), shape.nr, m)
            with loop(m) as i:

                def anchor(lane: Expr) -> Expr:
                    value = acc[i * shape.nr + lane]
                    if back:
                        value = value + buffers[v_sums][(head * v_panels + p) * shape.nr + lane] * i32(back)
                    # arith.attention_normalise: the factor is reciprocal * 2^-(n + 7), exact in float64
                    rounded = T.floor(cast(value, "float64") * factors[i] + constant(0.5, "float64"))
                    return cast(rounded, "int32")

                _emit(buffers, head, row + i, p, count, anchor)

        each_panel(dv, shape.nr, tile)

    def _emit(buffers: Mapping[StridedView, Any], head: Expr, row: Expr, p: Expr, count: int, anchor_value: Any) -> None:
        window, which = (head // heads, head % heads) if windows > 1 else (0, head)
        tail.emit(buffers, window * tokens + row, which * dv + p * shape.nr, count, anchor_value)

    views = [q, packed_k, packed_v, *sums, *([bias] if bias is not None else []), *tail.views]
    context.add(group, views, body, macs=macs)


def _factor(total: Expr) -> Expr:
    """Return `arith.attention_normalise` as one factor: floor(2^(n + 15) / total) * 2^-(n + 7), n the bits of `total`."""
    bits = cast(i32(32) - T.clz(total), "int64")
    reciprocal = T.floordiv(T.shift_left(i64(1), bits + i64(15)), cast(total, "int64"))
    power = T.reinterpret("float64", T.shift_left(i64(1023) - bits - i64(7), i64(52)))
    return cast(reciprocal, "float64") * power
