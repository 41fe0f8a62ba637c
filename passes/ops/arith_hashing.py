"""Integer arithmetic of hashed attention: the definition for RTL, HLS C++, CPU code and integer ONNX.

Codes need products of 8 bits, one inverse square root per token and head, and a table of exponentials; the attention
after them adds and subtracts, and multiplies to normalise only. Arrays are int64 in and out.
"""

from __future__ import annotations

import math

import numpy as np
from edgewright.passes.ir import INT8, INT32, Array
from edgewright.passes.ops.arith import (
    EXP2_TABLE,
    EXPONENT_STEPS,
    attention_normalise,
    boundary,
    exact_matmul,
    int64,
    inverse_square_root,
    multiplier_shift,
    round_shift,
)

COSINE_FRACTION = 8  # fractional bits of u a / |u|, a in its own integers
EXPONENT_MAX = 16 * EXPONENT_STEPS - 1  # beyond, a kernel is 0
KERNEL_BITS = 15  # a kernel of 1 is 2^15
HEAD_WIDTH_MAX = 1024  # products of u and an anchor stay below 2^24, of them and the root below 2^41
SUPPORTS_MAX = 512  # margins stay below 127 * 2^15 * 512 < 2^31


def kernels(u: Array, anchors: Array, offset: Array, multiplier: int, shift: int) -> Array:
    """2^15 exp(-|u / |u| - a|^2 / (2 sigma)), (B, H, T, m), at most 2^15, from int8 u (B, T, H dk), anchors (H, m, dk).

    offset (H, m) is the distance of a right angle and multiplier 2^-shift what one step of u a / |u| (8 fractional bits)
    takes off it, both in 1/256 octaves. A u of zeros is at right angles to every anchor.
    """
    heads, _, width = anchors.shape
    split = int64(u).reshape(*u.shape[:2], heads, width).swapaxes(1, 2)
    products = exact_matmul(split, int64(anchors).swapaxes(1, 2))
    y, e = inverse_square_root(np.maximum((split * split).sum(axis=-1, keepdims=True), 1))
    cosines = round_shift(products * y, e + (16 - COSINE_FRACTION))  # at most 256 * 127 * sqrt(dk) and rounding: 20 bits
    distance = int64(offset)[:, None, :] - round_shift(cosines * multiplier, shift)
    distance = np.minimum(np.maximum(distance, 0), EXPONENT_MAX)
    return np.asarray(EXP2_TABLE[distance & (EXPONENT_STEPS - 1)] >> (distance >> 8))


def hash_codes(
    u: Array, anchors: Array, coefficients: Array, threshold: Array, offset: Array, multiplier: int, shift: int
) -> Array:
    """+1 where sum_j coefficients[r, j] kernel_j >= threshold[r], else -1: (B, T, H b)."""
    values = kernels(u, anchors, offset, multiplier, shift)
    margins = exact_matmul(values, int64(coefficients).swapaxes(1, 2))  # below 2^31
    signs = np.where(margins >= int64(threshold)[:, None, :], 1, -1).swapaxes(1, 2)
    return int64(np.ascontiguousarray(signs).reshape(*u.shape[:2], -1))


def hash_attention(codes: Array, v: Array, heads: int, constant: str) -> Array:
    """Return means of int8 v (B, T, H dv) weighted by b_i b_j + c, with 8 fractional bits; c = b + 1.

    Before the normalisation nothing but additions and subtractions of v, c times a sum being sums of it and its shifts;
    `hash_accumulator_bound` bounds them. Weights add up to a number from T to (2 b + 1) T.
    """
    codes, v = (int64(x).reshape(*x.shape[:2], heads, -1).swapaxes(1, 2) for x in (codes, v))
    tokens, bits = codes.shape[2:]
    context = exact_matmul(codes.swapaxes(-1, -2), v)
    selected = exact_matmul(codes, context)
    total = v.sum(axis=2, keepdims=True) if constant == "sum" else v
    keys = codes.sum(axis=2, keepdims=True)
    weights = exact_matmul(codes, keys.swapaxes(-1, -2)) + (bits + 1) * tokens
    out = attention_normalise(selected + (bits + 1) * total, weights).swapaxes(1, 2)
    return np.ascontiguousarray(out).reshape(*out.shape[:2], -1)


def hash_accumulator_bound(tokens: int, bits: int) -> int:
    """Return what the sums of a hashed attention stay within: weights of at most 2 b + 1 times v of at most 127."""
    return tokens * (2 * bits + 1) * 127


def integer_anchors(anchors: Array, sigma: float) -> tuple[Array, Array, int, int]:
    """Return (int8 anchors, offset, multiplier, shift) as `kernels` takes them; one scale for all anchors of a layer.

    ValueError where sigma is so small that a step of a cosine is 2^15 octaves / 256 or more.
    """
    anchors = np.asarray(anchors, np.float64)
    scale = max(float(np.abs(anchors).max()), 1e-30) / 127
    whole = boundary(anchors, scale, 0, INT8)
    octaves = EXPONENT_STEPS * math.log2(math.e) / sigma
    multiplier, shift = multiplier_shift(scale * octaves * 2.0**-COSINE_FRACTION)
    squares = (np.square(whole * scale)).sum(axis=-1)
    offset = np.floor(np.minimum((1 + squares) / 2 * octaves, 2.0**24) + 0.5)
    return whole.astype(np.int8), offset.astype(np.int32), multiplier, shift


def integer_coefficients(coefficients: Array, threshold: Array) -> tuple[Array, Array]:
    """Return (int8 coefficients, int32 threshold): one scale per bit, which no sign depends on.

    What rounding adds up to over the anchors is corrected at those it costs least: kernels are much alike.
    """
    coefficients = np.asarray(coefficients, np.float64)
    scale = np.maximum(np.abs(coefficients).max(axis=-1, keepdims=True), 1e-30) / 127
    exact = coefficients / scale
    whole = np.floor(exact + 0.5)
    excess = np.floor((whole - exact).sum(axis=-1, keepdims=True) + 0.5).astype(np.int64)
    error = (whole - exact) * np.sign(excess)  # how much nearer to a step back
    rank = np.argsort(np.argsort(-error, axis=-1, kind="stable"), axis=-1, kind="stable")
    whole -= np.sign(excess) * (rank < np.abs(excess))
    level = np.asarray(threshold, np.float64) / scale[..., 0] * 2.0**KERNEL_BITS
    limits = boundary(level, 1.0, 0, INT32)
    return np.clip(whole, -127, 127).astype(np.int8), limits.astype(np.int32)
