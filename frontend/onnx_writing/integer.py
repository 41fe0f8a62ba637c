"""Integer operators in standard ONNX, bit for bit as `passes.ops` defines them; their arithmetic: `arith`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx
from edgewright.frontend.onnx_writing.arith import (
    biased,
    clip,
    constant_of,
    exponentials,
    inverse_square_root,
    normalised,
    product,
    requantise,
    round_shift,
    round_shift_by,
    saturate,
    softmax_last,
    sum_last,
)
from edgewright.frontend.onnx_writing.emit import Emitter
from edgewright.frontend.onnx_writing.experts import write_integer_moe
from edgewright.frontend.onnx_writing.float import FLOAT_WRITERS
from edgewright.frontend.onnx_writing.hashing import write_integer_hash_attention, write_integer_hash_codes
from edgewright.passes.ir import Int, Node, Op
from edgewright.passes.ops import (
    AddRequantised,
    Attention,
    Clip,
    Concat,
    Conv,
    Gather,
    HashAttention,
    HashCodes,
    LayerNormalization,
    Linear,
    MatMul,
    Max,
    Min,
    MoE,
    Mul,
    PatchEmbed,
    Quantise,
    ReduceSum,
    Relu,
    Requantise,
    Reshape,
    RMSNormalization,
    Slice,
    Softmax,
    Table,
    Transpose,
    Where,
    arith,
)

_TP = onnx.TensorProto
Writer = Callable[[Emitter, Node, Sequence[str]], str]


def write_quantise(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """saturate(floor(x / scale + 1/2) + zero_point), in double precision."""
    op = node.op
    assert isinstance(op, Quantise)
    real = emit("Div", emit.cast(operands[0], _TP.DOUBLE), emit.exact(np.asarray(op.scale, np.float64)))
    rounded = emit("Floor", emit("Add", real, emit.exact(np.asarray(0.5, np.float64))))
    # Beyond int64 a cast is undefined; every such value saturates anyway.
    bounds = (emit.exact(np.asarray(bound, np.float64)) for bound in (-(2.0**40), 2.0**40))
    whole = emit.cast(emit("Clip", rounded, *bounds), _TP.INT64)
    return saturate(emit, emit("Add", whole, emit.ints(op.zero_point)), op.elem)


def _linear(emit: Emitter, node: Node, x: str) -> str:
    """x (..., K) w^T + b, exact while the sum stays inside int32 (the graph's verifier keeps it below 2^26)."""
    weight, bias = constant_of(node, 1), constant_of(node, 2)
    columns = emit.exact((weight.T + 128).astype(np.uint8))
    return emit("Add", product(emit, biased(emit, x), columns, 128, 128), emit.ints(bias))


def write_linear(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Vectors become matrices around the product."""
    if len(node.shape) > 1:
        return _linear(emit, node, operands[0])
    matrix = _linear(emit, node, emit.reshape(operands[0], (1, *node.inputs[0].shape)))
    return emit.reshape(matrix, node.shape)


def write_patch_embed(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Patches by reshapes, then as Linear."""
    op, (batch, channels, height, width) = node.op, node.inputs[0].shape
    assert isinstance(op, PatchEmbed)
    return _linear(emit, node, patches(emit, operands[0], (batch, channels, height, width), op.patch))


def patches(emit: Emitter, image: str, shape: tuple[int, int, int, int], patch: int) -> str:
    """(B, C, H, W) -> (B, N, C * patch * patch) in (channel, row, column) order."""
    batch, channels, height, width = shape
    rows, columns = height // patch, width // patch
    split = emit.reshape(image, (batch, channels, rows, patch, columns, patch))
    by_patch = emit.transpose(split, 0, 2, 4, 1, 3, 5)
    return emit.reshape(by_patch, (batch, rows * columns, channels * patch * patch))


def write_conv(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """ConvInteger pads with its zero point, here pad_value, and takes it off every product: that is added again."""
    op = node.op
    assert isinstance(op, Conv)
    weight = constant_of(node, 1)
    kernel = emit.exact((weight + 128).astype(np.uint8))
    zeros = (emit.exact(np.asarray(zero + 128, np.uint8)) for zero in (op.pad_value, 0))
    places = {"strides": op.strides, "pads": op.pads, "dilations": op.dilations, "group": op.groups}
    maps = emit.cast(emit("ConvInteger", biased(emit, operands[0]), kernel, *zeros, **places), _TP.INT64)
    added = op.pad_value * weight.sum(axis=(1, 2, 3)) + (constant_of(node, 2) if node.inputs[2:] else 0)
    return emit("Add", maps, emit.ints(added.reshape(-1, 1, 1)))


def write_matmul(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Of two activations."""
    return product(emit, biased(emit, operands[0]), biased(emit, operands[1]), 128, 128)


def write_relu(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """By a comparison, as `clip`."""
    zero = emit.ints(0)
    return emit("Where", emit("Less", operands[0], zero), zero, operands[0])


def write_clip(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """By comparisons, those with infinite bounds left out; `high` wins where the bounds are in the wrong order."""
    op, (x,) = node.op, operands
    assert isinstance(op, Clip)
    if math.isfinite(op.low):
        x = emit("Where", emit("Less", x, emit.ints(int(op.low))), emit.ints(int(op.low)), x)
    if math.isfinite(op.high):
        x = emit("Where", emit("Greater", x, emit.ints(int(op.high))), emit.ints(int(op.high)), x)
    return x


def write_extreme(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Max or Min, by a comparison, as `clip`."""
    a, b = operands
    return emit("Where", emit("Less" if isinstance(node.op, Max) else "Greater", a, b), b, a)


def write_requantise(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Per channel or per tensor."""
    op = node.op
    assert isinstance(op, Requantise)
    return requantise(emit, operands[0], constant_of(node, 1), constant_of(node, 2), op.zero_point, op.elem)


def write_table(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """A Gather from 256 entries."""
    return emit("Gather", emit.ints(constant_of(node, 1)), emit("Add", operands[0], emit.ints(128)))


def write_add_requantised(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Both operands to the result's scale, then a saturating sum or difference."""
    op, elem = node.op, Int(16)
    assert isinstance(op, AddRequantised)
    a = requantise(emit, operands[0], op.multiplier_a, op.shift_a, 0, elem)
    b = requantise(emit, operands[1], op.multiplier_b, op.shift_b, 0, elem)
    return saturate(emit, emit("Sub" if op.subtract else "Add", a, b), elem)


def write_reduce_sum(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Over all axes at once."""
    op = node.op
    assert isinstance(op, ReduceSum)
    return emit("ReduceSum", operands[0], emit.ints(list(op.axes)), keepdims=int(op.keepdims))


def write_layer_normalization(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """arith.layer_normalization."""
    op, x, n = node.op, operands[0], node.shape[-1]
    assert isinstance(op, LayerNormalization)
    s, width = sum_last(emit, x), emit.ints(n)
    squares = sum_last(emit, emit("Mul", x, x))
    v = emit("Sub", emit("Mul", width, squares), emit("Mul", s, s))
    y, e = inverse_square_root(emit, emit("Add", v, emit.ints(op.eps_term)))
    centred = emit("Sub", emit("Mul", width, x), s)
    return _scaled(emit, node, emit("Mul", centred, y), e)


def write_rms_normalization(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """arith.rms_normalization."""
    op, x, width = node.op, operands[0], emit.ints(node.shape[-1])
    assert isinstance(op, RMSNormalization)
    v = emit("Mul", width, sum_last(emit, emit("Mul", x, x)))
    y, e = inverse_square_root(emit, emit("Add", v, emit.ints(op.eps_term)))
    return _scaled(emit, node, emit("Mul", emit("Mul", width, x), y), e)


def _scaled(emit: Emitter, node: Node, product: str, e: str) -> str:
    """What both normalisations end with: 12 fractional bits, multiplier, offset, shift."""
    op = node.op
    assert isinstance(op, LayerNormalization | RMSNormalization)
    z = round_shift_by(emit, product, e, 4)
    scaled = emit("Add", emit("Mul", z, emit.ints(constant_of(node, 1))), emit.ints(constant_of(node, 2)))
    return saturate(emit, round_shift(emit, scaled, op.shift), op.elem)


def _attention_weights(emit: Emitter, scores: str, multiplier: int, shift: int) -> str:
    """arith.attention_weights over the last axis, int64 in [0, 254]."""
    e = exponentials(emit, scores, multiplier, shift)
    weight = emit("Div", emit("Add", e, emit.ints(64)), emit.ints(128))
    return clip(emit, weight, 0, arith.ATTENTION_WEIGHT_MAX)


def write_softmax(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """arith.softmax, its axis brought last and back."""
    op, rank = node.op, node.type.rank
    assert isinstance(op, Softmax)
    axis = op.axis % rank
    swap = [rank - 1 if i == axis else axis if i == rank - 1 else i for i in range(rank)]
    shares = softmax_last(emit, emit.transpose(operands[0], *swap), op.multiplier, op.shift)
    return emit.transpose(shares, *swap)


def write_attention(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """arith.attention, heads as a leading axis."""
    op = node.op
    assert isinstance(op, Attention)
    windows, tokens, width = node.shape

    def by_head(position: int, *perm: int) -> str:
        _, count, columns = node.inputs[position].shape
        split = emit.reshape(operands[position], (windows, count, op.heads, columns // op.heads))
        return emit.transpose(biased(emit, split), *perm)

    q, k, v = by_head(0, 0, 2, 1, 3), by_head(1, 0, 2, 3, 1), by_head(2, 0, 2, 1, 3)
    scores = product(emit, q, k, 128, 128)
    for bias in operands[3:]:
        scores = emit("Add", scores, bias)
    weights = _attention_weights(emit, scores, op.score_multiplier, op.score_shift)
    acc = product(emit, emit.cast(weights, _TP.UINT8), v, 0, 128)
    out = normalised(emit, acc, sum_last(emit, weights))
    return emit.reshape(emit.transpose(out, 0, 2, 1, 3), (windows, tokens, width))


INTEGER_WRITERS: dict[type[Op], Writer] = {
    AddRequantised: write_add_requantised,
    Attention: write_attention,
    Clip: write_clip,
    Conv: write_conv,
    HashAttention: write_integer_hash_attention,
    HashCodes: write_integer_hash_codes,
    LayerNormalization: write_layer_normalization,
    Linear: write_linear,
    MatMul: write_matmul,
    Max: write_extreme,
    Min: write_extreme,
    MoE: write_integer_moe,
    PatchEmbed: write_patch_embed,
    Quantise: write_quantise,
    ReduceSum: write_reduce_sum,
    Relu: write_relu,
    Requantise: write_requantise,
    RMSNormalization: write_rms_normalization,
    Softmax: write_softmax,
    Table: write_table,
    **{kind: FLOAT_WRITERS[kind] for kind in (Concat, Gather, Mul, Reshape, Slice, Transpose, Where) if kind in FLOAT_WRITERS},
}
