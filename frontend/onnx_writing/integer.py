"""Write integer operators in standard ONNX, bit for bit as `passes.ops` defines them; their arithmetic is in `arith`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx
from edgewright.frontend.onnx_writing import arith
from edgewright.frontend.onnx_writing.emit import Emitter, op_of
from edgewright.frontend.onnx_writing.experts import write_integer_moe
from edgewright.frontend.onnx_writing.float import FLOAT_WRITERS, Writer, write_reduction
from edgewright.frontend.onnx_writing.hashing import write_integer_hash_attention, write_integer_hash_codes
from edgewright.passes import ops
from edgewright.passes.ir import Int, Node, Op
from edgewright.passes.ops.arith import ATTENTION_WEIGHT_MAX, LAYER_NORM_NARROW, dropped_bits

_TP = onnx.TensorProto


def write_quantise(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write saturate(floor(x / scale + 1/2) + zero_point), in double precision."""
    op = op_of(node, ops.Quantise)
    real = emit("Div", emit.cast(operands[0], _TP.DOUBLE), emit.exact(np.asarray(op.scale, np.float64)))
    rounded = emit("Floor", emit("Add", real, emit.exact(np.asarray(0.5, np.float64))))
    # Beyond int64 a cast is undefined; every such value saturates anyway.
    bounds = (emit.exact(np.asarray(bound, np.float64)) for bound in (-(2.0**40), 2.0**40))
    whole = emit.cast(emit("Clip", rounded, *bounds), _TP.INT64)
    return arith.saturate(emit, emit("Add", whole, emit.ints(op.zero_point)), op.elem)


def _linear(emit: Emitter, node: Node, x: str) -> str:
    """Write x (..., K) w^T + b, exact as long as the sum fits int32 (the graph's verifier bounds it by 2^26)."""
    weight, bias = arith.constant_of(node, 1), arith.constant_of(node, 2)
    columns = emit.exact((weight.T + 128).astype(np.uint8))
    return emit("Add", arith.product(emit, arith.biased(emit, x), columns, 128, 128), emit.ints(bias))


def write_linear(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write Linear; a vector becomes a matrix of one row for the product."""
    if len(node.shape) > 1:
        return _linear(emit, node, operands[0])
    matrix = _linear(emit, node, emit.reshape(operands[0], (1, *node.inputs[0].shape)))
    return emit.reshape(matrix, node.shape)


def write_patch_embed(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write a Linear of patches, which are cut by reshapes."""
    patch, (batch, channels, height, width) = op_of(node, ops.PatchEmbed).patch, node.inputs[0].shape
    rows, columns = height // patch, width // patch
    split = emit.reshape(operands[0], (batch, channels, rows, patch, columns, patch))
    by_patch = emit.transpose(split, 0, 2, 4, 1, 3, 5)  # within a patch: channel, row, column
    return _linear(emit, node, emit.reshape(by_patch, (batch, rows * columns, channels * patch * patch)))


def write_conv(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write Conv. ConvInteger pads with its zero point, here pad_value, and subtracts it everywhere: that is added again."""
    op = op_of(node, ops.Conv)
    weight = arith.constant_of(node, 1)
    kernel = emit.exact((weight + 128).astype(np.uint8))
    zeros = (emit.exact(np.asarray(zero + 128, np.uint8)) for zero in (op.pad_value, 0))
    places = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations, "group": op.groups}
    maps = emit.cast(emit("ConvInteger", arith.biased(emit, operands[0]), kernel, *zeros, **places), _TP.INT64)
    added = op.pad_value * weight.sum(axis=(1, 2, 3)) + (arith.constant_of(node, 2) if node.inputs[2:] else 0)
    return emit("Add", maps, emit.ints(added.reshape(-1, 1, 1)))


def write_matmul(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write the product of two activations."""
    return arith.product(emit, arith.biased(emit, operands[0]), arith.biased(emit, operands[1]), 128, 128)


def write_table(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write a Gather from 256 entries."""
    return emit("Gather", emit.ints(arith.constant_of(node, 1)), emit("Add", operands[0], emit.ints(128)))


def write_relu(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write Relu by a comparison, like `clip`."""
    zero = emit.ints(0)
    return emit("Where", emit("Less", operands[0], zero), zero, operands[0])


def write_clip(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write Clip by comparisons, without those with infinite bounds; if `low` exceeds `high`, the result is `high`."""
    op, (x,) = op_of(node, ops.Clip), operands
    if math.isfinite(op.low):
        x = emit("Where", emit("Less", x, emit.ints(int(op.low))), emit.ints(int(op.low)), x)
    if math.isfinite(op.high):
        x = emit("Where", emit("Greater", x, emit.ints(int(op.high))), emit.ints(int(op.high)), x)
    return x


def write_extreme(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write Max or Min by a comparison, like `clip`."""
    a, b = operands
    return emit("Where", emit("Less" if isinstance(node.op, ops.Max) else "Greater", a, b), b, a)


def write_div(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write the quotient of two activations."""
    op, (a, b) = op_of(node, ops.Div), operands
    return arith.quotient(emit, a, emit("Add", b, emit.ints(op.offset)) if op.offset else b, node.inputs[1].shape, op.fraction)


def write_requantise(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write Requantise, per channel or per tensor."""
    op = op_of(node, ops.Requantise)
    return arith.requantise(emit, operands[0], arith.constant_of(node, 1), arith.constant_of(node, 2), op.zero_point, op.elem)


def write_add_requantised(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write both operands at the result's scale, and their saturating sum or difference."""
    op, elem = op_of(node, ops.AddRequantised), Int(16)
    a = arith.requantise(emit, operands[0], op.multiplier_a, op.shift_a, 0, elem)
    b = arith.requantise(emit, operands[1], op.multiplier_b, op.shift_b, 0, elem)
    return arith.saturate(emit, emit("Sub" if op.subtract else "Add", a, b), elem)


def write_layer_normalization(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write arith.layer_normalization."""
    return _normalised(emit, node, operands[0], emit.sum(operands[0], -1))


def write_rms_normalization(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write arith.rms_normalization."""
    return _normalised(emit, node, operands[0], None)


def _normalised(emit: Emitter, node: Node, x: str, total: str | None) -> str:
    """Write both normalisations; total: the sum of a row, None for 0."""
    op, width = node.op, node.shape[-1]
    assert isinstance(op, ops.LayerNormalization | ops.RMSNormalization)
    v = emit("Add", arith.spread(emit, emit.sum(emit("Mul", x, x), -1), total, width), emit.ints(op.eps_term))
    y, e = arith.inverse_square_root(emit, v, 53 if width <= LAYER_NORM_NARROW else 62)
    scaled_x = emit("Mul", emit.ints(width), x)
    distance = scaled_x if total is None else emit("Sub", scaled_x, total)
    z = arith.round_shift_by(emit, emit("Mul", distance, y), e, dropped_bits(width) + 4)
    scaled = emit("Add", emit("Mul", z, emit.ints(arith.constant_of(node, 1))), emit.ints(arith.constant_of(node, 2)))
    return arith.saturate(emit, arith.round_shift(emit, scaled, op.shift), op.elem)


def _attention_weights(emit: Emitter, scores: str, multiplier: int, shift: int) -> str:
    """Write arith.attention_weights over the last axis, int64 in [0, 254]."""
    e = arith.exponentials(emit, scores, multiplier, shift)
    weight = emit("Div", emit("Add", e, emit.ints(64)), emit.ints(128))
    return arith.clip(emit, weight, 0, ATTENTION_WEIGHT_MAX)


def write_softmax(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write arith.softmax, with its axis transposed to be the last and back."""
    op, rank = op_of(node, ops.Softmax), node.type.rank
    axis = op.axis % rank
    swap = [rank - 1 if i == axis else axis if i == rank - 1 else i for i in range(rank)]
    shares = arith.softmax_last(emit, emit.transpose(operands[0], *swap), op.multiplier, op.shift)
    return emit.transpose(shares, *swap)


def write_attention(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write arith.attention, with heads as a leading axis."""
    op = op_of(node, ops.Attention)
    windows, tokens, width = node.shape

    def by_head(position: int, *perm: int) -> str:
        _, count, columns = node.inputs[position].shape
        split = emit.reshape(operands[position], (windows, count, op.heads, columns // op.heads))
        return emit.transpose(arith.biased(emit, split), *perm)

    q, k, v = by_head(0, 0, 2, 1, 3), by_head(1, 0, 2, 3, 1), by_head(2, 0, 2, 1, 3)
    scores = arith.product(emit, q, k, 128, 128)
    for bias in operands[3:]:
        scores = emit("Add", scores, bias)
    weights = _attention_weights(emit, scores, op.score_multiplier, op.score_shift)
    acc = arith.product(emit, emit.cast(weights, _TP.UINT8), v, 0, 128)
    out = arith.normalised(emit, acc, emit.sum(weights, -1))
    return emit.reshape(emit.transpose(out, 0, 2, 1, 3), (windows, tokens, width))


_AT_BOTH_LEVELS = (ops.Concat, ops.Gather, ops.Mul, ops.Reshape, ops.Slice, ops.Transpose, ops.Where)
INTEGER_WRITERS: dict[type[Op], Writer] = {
    ops.AddRequantised: write_add_requantised,
    ops.Attention: write_attention,
    ops.Clip: write_clip,
    ops.Conv: write_conv,
    ops.Div: write_div,
    ops.HashAttention: write_integer_hash_attention,
    ops.HashCodes: write_integer_hash_codes,
    ops.LayerNormalization: write_layer_normalization,
    ops.Linear: write_linear,
    ops.MatMul: write_matmul,
    ops.Max: write_extreme,
    ops.Min: write_extreme,
    ops.MoE: write_integer_moe,
    ops.PatchEmbed: write_patch_embed,
    ops.Quantise: write_quantise,
    ops.ReduceSum: write_reduction,
    ops.Relu: write_relu,
    ops.Requantise: write_requantise,
    ops.RMSNormalization: write_rms_normalization,
    ops.Softmax: write_softmax,
    ops.Table: write_table,
    **{kind: FLOAT_WRITERS[kind] for kind in _AT_BOTH_LEVELS},
}
