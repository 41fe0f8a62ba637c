"""The definition of integer arithmetic: RTL, HLS C++, CPU code and integer ONNX all give these bits.

Arrays are int64 in and out; intermediate bounds are stated where they are not obvious and stay below 2^62.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from edgewright.passes.ir import INT8, Array, Int, Shape

MULTIPLIER_BITS = 16  # multipliers lie in [2^15, 2^16)
SHIFT_MAX = 47
ACCUMULATOR_LIMIT = 1 << 26  # |accumulator| stays below: one 27x18 multiplier then requantises
LAYER_NORM_WIDTH_MAX = 1 << 20  # images as one row: a GroupNorm with one group
LAYER_NORM_NARROW = 1024  # the root's operand then fits 52 bits: what vectorised kernels, GPUs and the engine take
LAYER_NORM_EXACT = 1 << 15  # wider rows drop bits of the root's operand, so that it fits 62
LAYER_NORM_SHIFT_MAX = 40
LAYER_NORM_FRACTION = 12  # fractional bits of a normalised value
ATTENTION_FRACTION = 8  # fractional bits of the attention's accumulators
ATTENTION_WEIGHT_MAX = 254  # 255 values: the multiplier array takes weight - 127 as int8
QUOTIENT_FRACTION_MAX = 31  # fractional bits of a quotient
SCORE_BIAS = Int(25)  # masks and position biases, in units of scores
SCORE_BIAS_MAX = (1 << 24) - 1  # its limit, either way
EXPONENT_STEPS = 256  # table entries per octave of 2^-x

EXP2_TABLE: Array = np.array([round(2.0**15 * 2.0 ** (-i / 256)) for i in range(256)], np.int64)
RSQRT_TABLE: Array = np.array([0 if i < 64 else round(2.0**15 / math.sqrt((i + 0.5) / 64)) for i in range(256)], np.int64)
EXP2_TABLE.setflags(write=False)
RSQRT_TABLE.setflags(write=False)


def int64(x: Array) -> Array:
    return np.asarray(x, np.int64)


def round_shift(x: Array, shift: Array | int) -> Array:
    """floor(x / 2^shift + 1/2): arithmetic shift, ties towards +infinity; shift 0 is the identity."""
    x, shift = np.asarray(x, np.int64), np.asarray(shift, np.int64)
    half = (np.int64(1) << shift) >> 1
    return np.asarray((x + half) >> shift)


def limit(elem: Int) -> int:
    """Return the largest magnitude a signed element takes: symmetric, 127 for 8 bits, 32767 for 16."""
    return (1 << (elem.bits - 1)) - 1


def saturate(x: Array, elem: Int) -> Array:
    """Clip to [-limit, limit] (signed) or [0, 2^bits - 1]."""
    high = limit(elem) if elem.signed else elem.highest
    return np.asarray(np.minimum(np.maximum(int64(x), -high if elem.signed else 0), high))


def requantise(acc: Array, multiplier: Array | int, shift: Array | int, zero_point: int, elem: Int) -> Array:
    """saturate(round_shift(acc * multiplier, shift) + zero_point); factors scalar or per last axis."""
    return saturate(round_shift(int64(acc) * np.asarray(multiplier, np.int64), shift) + zero_point, elem)


def multiplier_shift(real: float) -> tuple[int, int]:
    """Return (m, s) with m * 2^-s nearest to real > 0, m in [2^15, 2^16), 1 <= s <= 47.

    Below 2^-32 the smallest pair stands in: both it and the real factor send every |acc| < 2^31 to 0.
    ValueError when real is not finite and positive, or is 2^15 or more.
    """
    if not (math.isfinite(real) and real > 0):
        raise ValueError(f"{real} is no scale ratio")
    fraction, exponent = math.frexp(real)  # exact; fraction in [1/2, 1)
    multiplier = math.floor(math.ldexp(fraction, MULTIPLIER_BITS) + 0.5)
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, exponent = multiplier >> 1, exponent + 1
    shift = MULTIPLIER_BITS - exponent
    if shift < 1:
        raise ValueError(f"ratio {real} is too large for a 16-bit multiplier")
    if shift > SHIFT_MAX:
        return 1 << (MULTIPLIER_BITS - 1), SHIFT_MAX
    return multiplier, shift


def multipliers_shifts(real: Array) -> tuple[Array, Array]:
    """`multiplier_shift` of each element: int32 multipliers and int8 shifts."""
    pairs = [multiplier_shift(float(r)) for r in np.asarray(real, np.float64).ravel()]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)


def bit_length(x: Array) -> Array:
    """Bits needed for 0 <= x < 2^63: 0 for 0, 1 for 1, 2 for 2 and 3."""
    high = int64(x) >> 31  # a float64 holds either half exactly
    _, exponent = np.frexp(np.where(high > 0, high, x).astype(np.float64))
    return np.asarray(np.where(high > 0, int64(exponent) + 31, exponent))


def exact_matmul(a: Array, b: Array) -> Array:
    """a @ b for integers, exact: by float BLAS where every partial sum is representable, else int64."""
    bound = _magnitude(a) * _magnitude(b) * a.shape[-1]
    if bound < 1 << 24:
        return int64(np.matmul(a.astype(np.float32), b.astype(np.float32)))
    if bound < 1 << 53:
        return int64(np.matmul(a.astype(np.float64), b.astype(np.float64)))
    return int64(np.matmul(int64(a), int64(b)))


def _magnitude(x: Array) -> int:
    if x.size == 0:
        return 0
    if x.dtype == np.int8:
        return 128
    return max(int(x.max()), -int(x.min()))


def boundary(x: Array, scale: float, zero_point: int, elem: Int) -> Array:
    """Real to integer on the host: saturate(floor(x / scale + 1/2) + zero_point), in float64; x not nan."""
    rounded = np.floor(np.asarray(x, np.float64) / scale + 0.5)
    return saturate(int64(np.clip(rounded, -(2.0**40), 2.0**40)) + zero_point, elem)


def add_requantised(a: Array, b: Array, pair_a: tuple[int, int], pair_b: tuple[int, int], subtract: bool = False) -> Array:
    """sat16(sat16(a * ma >> sa) +- sat16(b * mb >> sb)), rounding shifts; (2^15, 15) is the identity."""
    elem = Int(16)
    left, right = requantise(a, *pair_a, 0, elem), requantise(b, *pair_b, 0, elem)
    return saturate(left - right if subtract else left + right, elem)


def quotient(a: Array, b: Array, fraction: int) -> Array:
    """a / b with `fraction` bits below the point, within 2^-15 relative and half a unit, saturated below ACCUMULATOR_LIMIT.

    |a| < 2^31, |b| < 2^28, 0 <= fraction <= QUOTIENT_FRACTION_MAX. A 17-bit reciprocal r = floor(2^(n + 15) / |b|), n the bit
    length of |b|: floor(a r 2^(fraction - n - 15) + 1/2), a with the sign of b. Division by 0 is division by 1: a value that
    rounds to 0 counts as the least that does not.
    """
    a, b = np.broadcast_arrays(int64(a), int64(b))
    magnitude = np.maximum(np.abs(b), 1)
    n = bit_length(magnitude)
    product = np.where(b < 0, -a, a) * ((np.int64(1) << (n + 15)) // magnitude)
    shift = n + 15 - fraction
    whole = round_shift(product << np.maximum(-shift, 0), np.maximum(shift, 0))
    return np.asarray(np.clip(whole, -(ACCUMULATOR_LIMIT - 1), ACCUMULATOR_LIMIT - 1))


def inverse_square_root(v: Array) -> tuple[Array, Array]:
    """Return (y, e) with 1/sqrt(v) = y * 2^-16 * 2^-e to within 3e-5 relative, for 1 <= v < 2^62; y <= 2^16 + 1.

    v is shifted by an even amount into [1, 4), a 192-entry table starts and one Newton step finishes.
    """
    e = (bit_length(v) - 1) // 2
    m16 = np.where(2 * e <= 16, v << np.maximum(16 - 2 * e, 0), v >> np.maximum(2 * e - 16, 0))
    y0 = RSQRT_TABLE[m16 >> 10]
    q0 = (y0 * y0) >> 14
    t = (3 << 16) - ((m16 * q0) >> 16)
    return round_shift(y0 * t, 16), e


def layer_normalise(x: Array, eps_term: int) -> Array:
    """Return (x - mean) / sqrt(var + eps) over the last axis with 12 fractional bits, x int16; at most sqrt(N), so 19 bits
    signed up to 1,024 values, 24 up to 2^20.

    The mean and the division by N cancel: (N x - S) / sqrt(N sum x^2 - S^2 + N^2 eps).
    """
    x = int64(x)
    return _normalised(x, x.sum(axis=-1, keepdims=True), eps_term)


def _normalised(x: Array, total: Array, eps_term: int) -> Array:
    """(N x - total) / sqrt(N sum x^2 - total^2 + 4^t eps_term) with 12 fractional bits, t of `dropped_bits`."""
    n = x.shape[-1]
    y, e = inverse_square_root(_spread(n, (x * x).sum(axis=-1, keepdims=True), total) + eps_term)
    return round_shift((n * x - total) * y, e + dropped_bits(n) + 4)


def dropped_bits(width: int) -> int:
    """Return t: of the root's operand, rows wider than LAYER_NORM_EXACT drop the lowest 2 t bits. What remains of one that
    is not 0 has at least 10 bits, so the result is off by 2^-10 relative at most, where values hardly differ."""
    return max(0, (width - 1).bit_length() - (LAYER_NORM_EXACT - 1).bit_length())


def _spread(n: int, squares: Array, total: Array) -> Array:
    """floor((n squares - total^2) / 4^t), in 62 bits although the difference may need 70.

    With total = q n + r it is n rest - r total, rest = squares - q total; 4^t is divided out of rest first.
    """
    t = dropped_bits(n)
    if not t:
        return np.asarray(n * squares - total * total)
    quotient, remainder = np.divmod(total, n)
    rest = squares - quotient * total
    return np.asarray(n * (rest >> 2 * t) + ((n * (rest & ((1 << 2 * t) - 1)) - remainder * total) >> 2 * t))


def layer_normalization(x: Array, multiplier: Array, offset: Array, eps_term: int, shift: int, elem: Int = INT8) -> Array:
    """saturate(round_shift(layer_normalise(x) * multiplier[c] + offset[c], shift)); zero point in offset."""
    z = layer_normalise(x, eps_term)
    return saturate(round_shift(z * int64(multiplier) + int64(offset), shift), elem)


def rms_normalise(x: Array, eps_term: int) -> Array:
    """x / sqrt(mean(x^2) + eps) over the last axis with 12 fractional bits (18 bits signed up to 1,024 values), x int16.

    `layer_normalise` with a sum of 0: N x / sqrt(N sum x^2 + N^2 eps). Equal to it wherever the sum is 0.
    """
    return _normalised(int64(x), np.zeros((), np.int64), eps_term)


def rms_normalization(x: Array, multiplier: Array, offset: Array, eps_term: int, shift: int, elem: Int = INT8) -> Array:
    """saturate(round_shift(rms_normalise(x) * multiplier[c] + offset[c], shift)); zero point in offset."""
    z = rms_normalise(x, eps_term)
    return saturate(round_shift(z * int64(multiplier) + int64(offset), shift), elem)


def eps_term(epsilon: float, width: int, scale: float) -> int:
    """LayerNorm's epsilon as an integer beside (N sum x^2 - S^2) / 4^t, clipped to [1, `eps_term_max`]."""
    most = eps_term_max(width)
    real = math.ldexp(float(width) * width * epsilon / (scale * scale), -2 * dropped_bits(width))
    return int(min(max(math.floor(min(real, 2.0 * most) + 0.5), 1), most))


def eps_term_max(width: int) -> int:
    """Return the largest: beside it the root's operand keeps within its bits."""
    return 1 << (50 if width <= LAYER_NORM_NARROW else 60)


def exponentials(x: Array, multiplier: int, shift: int, axis: int = -1) -> Array:
    """2^15 * 2^-(d / 256), d the distance from the maximum along an axis in 1/256 octaves, at most 16 octaves."""
    d = x.max(axis=axis, keepdims=True) - x
    u = np.minimum(round_shift(d * multiplier, shift), 16 * EXPONENT_STEPS - 1)
    return np.asarray(EXP2_TABLE[u & (EXPONENT_STEPS - 1)] >> (u >> 8))


def softmax(x: Array, multiplier: int, shift: int, axis: int) -> Array:
    """Exponentials of int16 over their sum along an axis, with 15 fractional bits; 1 becomes 32767.

    A 17-bit reciprocal r = 2^(n + 15) / sum, n the sum's bit length; at most 2^15 values along the axis.
    """
    e = exponentials(int64(x), multiplier, shift, axis)
    total = e.sum(axis=axis, keepdims=True)
    n = bit_length(total)
    reciprocal = (np.int64(1) << (n + 15)) // total
    return saturate(round_shift(e * reciprocal, n), Int(16))


def attention_weights(scores: Array, multiplier: int, shift: int) -> Array:
    """uint8 weights in [0, 254] relative to each row's maximum (last axis), not normalised.

    The multiplier turns a score difference into 1/256 octaves: scale_q scale_k attention_scale log2(e) 256.
    """
    e = exponentials(scores, multiplier, shift)
    return int64(np.minimum((e + 64) >> 7, ATTENTION_WEIGHT_MAX))


def attention_normalise(acc: Array, weight_sum: Array) -> Array:
    """acc / weight_sum with 8 fractional bits, by a 17-bit reciprocal; weight_sum >= 1."""
    n = bit_length(weight_sum)
    reciprocal = (np.int64(1) << (n + 15)) // weight_sum
    return round_shift(acc * reciprocal, n + 7)


def attention(q: Array, k: Array, v: Array, heads: int, multiplier: int, shift: int, bias: Array | None = None) -> Array:
    """softmax(q k^T + bias) v per head on int8 (windows, tokens, heads * dim); 16 bits, 8 of them fractional.

    bias broadcasts to (windows, heads, queries, keys) and counts in units of q k^T.
    """
    q, k, v = (_heads_first(x, heads) for x in (q, k, v))
    scores = exact_matmul(q, k.swapaxes(-1, -2))
    weights = attention_weights(scores if bias is None else scores + int64(bias), multiplier, shift)
    out = attention_normalise(exact_matmul(weights, v), weights.sum(axis=-1, keepdims=True))
    batch, _, tokens, dim = out.shape
    return np.ascontiguousarray(out.swapaxes(1, 2)).reshape(batch, tokens, heads * dim)


def _heads_first(x: Array, heads: int) -> Array:
    batch, tokens, width = x.shape
    return x.reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)


def product_bound(weight: Shape, values: Array | None, biases: Sequence[Array | None], leading: int = 1) -> int:
    """Return the largest magnitude of sums of int8 times the rows of a weight, its axes after `leading`, plus a bias; for
    any weight of that shape where it or a bias is not known."""
    if values is None or any(bias is None for bias in biases):
        return math.prod(weight[leading:]) * 127 * 127
    sums = np.abs(values.astype(np.int64)).reshape(*weight[:leading], -1).sum(axis=-1) * 127
    added = sum(np.abs(bias.astype(np.int64)) for bias in biases if bias is not None)
    return int((sums + added).max())
