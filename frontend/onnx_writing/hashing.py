"""Write hashed attention in standard ONNX: in float32, and in integers with the bits of `passes.ops.arith_hashing`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgewright.frontend.onnx_writing import arith
from edgewright.frontend.onnx_writing.emit import Emitter, op_of
from edgewright.passes.ir import Node
from edgewright.passes.ops import HashAttention, HashCodes
from edgewright.passes.ops.arith_hashing import COSINE_FRACTION, EXPONENT_MAX
from edgewright.passes.ops.hashing import NORM_FLOOR

_BY_HEAD = (0, 2, 1, 3)


def _heads_first(emit: Emitter, x: str, node: Node, heads: int) -> str:
    """Write (B, T, H d) as (B, H, T, d)."""
    batch, tokens, width = node.shape
    return emit.transpose(emit.reshape(x, (batch, tokens, heads, width // heads)), *_BY_HEAD)


def _heads_last(emit: Emitter, x: str, node: Node) -> str:
    """Write (B, H, T, d) as (B, T, H d), the shape of the node."""
    return emit.reshape(emit.transpose(x, *_BY_HEAD), node.shape)


def write_hash_codes(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write codes of -1 and +1. The sign is taken twice, with a half added, so that a margin of 0 gives +1."""
    op, (u, anchors, coefficients, threshold) = op_of(node, HashCodes), operands
    split = _heads_first(emit, u, node.inputs[0], op.heads)
    norm = emit("Sqrt", emit("Add", _squares(emit, split), emit.real(NORM_FLOOR)))
    directions = emit("Div", split, norm)
    cosines = emit("MatMul", directions, emit.transpose(anchors, 0, 2, 1))
    lengths = emit.transpose(_squares(emit, anchors), 0, 2, 1)  # (H, 1, m)
    apart = emit("Add", _squares(emit, directions), lengths)
    distances = emit("Sub", apart, emit("Mul", cosines, emit.real(2.0)))
    kernels = emit("Exp", emit("Mul", distances, emit.real(-0.5 / op.sigma)))
    projected = emit("MatMul", kernels, emit.transpose(coefficients, 0, 2, 1))
    margins = emit("Sub", projected, emit.reshape(threshold, (*node.inputs[3].shape[:1], 1, node.inputs[3].shape[1])))
    signs = emit("Sign", emit("Add", emit("Sign", margins), emit.real(0.5)))
    return _heads_last(emit, signs, node)


def write_hash_attention(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write sums over tokens, then one product of each token with them."""
    op, tokens = op_of(node, HashAttention), node.shape[1]
    codes, v = (_heads_first(emit, x, n, op.heads) for x, n in zip(operands, node.inputs, strict=True))
    constant = op.bits + 1
    by_bit = emit.transpose(codes, 0, 1, 3, 2)
    total = emit.sum(v, 2) if op.constant == "sum" else v
    mixed = emit("Add", emit("MatMul", codes, emit("MatMul", by_bit, v)), emit("Mul", total, emit.real(constant)))
    keys = emit.transpose(emit.sum(codes, 2), 0, 1, 3, 2)
    weights = emit("Add", emit("MatMul", codes, keys), emit.real(constant * tokens))
    return _heads_last(emit, emit("Div", mixed, weights), node)


def _squares(emit: Emitter, x: str) -> str:
    return emit.sum(emit("Mul", x, x), -1)


def write_integer_hash_codes(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write arith_hashing.hash_codes."""
    op = op_of(node, HashCodes)
    anchors, coefficients, threshold, offset = (arith.constant_of(node, i) for i in range(1, 5))
    split = _heads_first(emit, operands[0], node.inputs[0], op.heads)
    columns = emit.exact((anchors.swapaxes(1, 2)[None] + 128).astype(np.uint8))
    products = arith.product(emit, arith.biased(emit, split), columns, 128, 128)
    square, unit = _squares(emit, split), emit.ints(1)
    y, e = arith.inverse_square_root(emit, emit("Where", emit("Less", square, unit), unit, square), 53)
    cosines = arith.round_shift_by(emit, emit("Mul", products, y), e, 16 - COSINE_FRACTION)
    steps = arith.round_shift(emit, emit("Mul", cosines, emit.ints(op.multiplier)), op.shift)
    distance = arith.clip(emit, emit("Sub", emit.ints(offset[None, :, None, :]), steps), 0, EXPONENT_MAX)
    margins = emit("MatMul", arith.power_of_two(emit, distance), emit.ints(coefficients.swapaxes(1, 2)[None]))
    reached = emit("GreaterOrEqual", margins, emit.ints(threshold[None, :, None, :]))
    return _heads_last(emit, emit("Where", reached, unit, emit.ints(-1)), node)


def write_integer_hash_attention(emit: Emitter, node: Node, operands: Sequence[str]) -> str:
    """Write arith_hashing.hash_attention."""
    op, tokens = op_of(node, HashAttention), node.shape[1]
    codes, v = (_heads_first(emit, x, n, op.heads) for x, n in zip(operands, node.inputs, strict=True))
    context = arith.product(emit, arith.biased(emit, emit.transpose(codes, 0, 1, 3, 2)), arith.biased(emit, v), 128, 128)
    total = emit.sum(v, 2) if op.constant == "sum" else v
    constant = op.bits + 1
    acc = emit("Add", emit("MatMul", codes, context), emit("Mul", total, emit.ints(constant)))
    keys = emit.transpose(emit.sum(codes, 2), 0, 1, 3, 2)
    weights = emit("Add", emit("MatMul", codes, keys), emit.ints(constant * tokens))
    return _heads_last(emit, arith.normalised(emit, acc, weights), node)
