"""Hashed attention against its formulas written out token by token, in floats and in Python's integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from edgewright.passes.ir.op import InferError
from edgewright.passes.ir.types import INT8, INT32, Array, TensorType
from edgewright.passes.ops import HashAttention, HashCodes, Sign, arith
from edgewright.passes.ops.arith_hashing import (
    HEAD_WIDTH_MAX,
    SUPPORTS_MAX,
    hash_accumulator_bound,
    hash_attention,
    hash_codes,
    integer_anchors,
    integer_coefficients,
    kernels,
)
from hypothesis import example, given
from hypothesis import strategies as st

SHAPES = st.fixed_dictionaries(
    {
        "windows": st.integers(1, 2),
        "tokens": st.integers(1, 9),
        "heads": st.integers(1, 3),
        "width": st.integers(1, 7),
        "bits": st.integers(1, 9),
        "supports": st.integers(1, 9),
        "seed": st.integers(0, 2**32 - 1),
    }
)
SINGLE = {"windows": 1, "tokens": 1, "heads": 1, "width": 1, "bits": 1, "supports": 1, "seed": 0}
ODD = {"windows": 1, "tokens": 5, "heads": 3, "width": 6, "bits": 7, "supports": 5, "seed": 1}


def drawn(shape: dict[str, int]) -> tuple[Array, Array, Array, Array]:
    """u, unit anchors, coefficients and thresholds of random hash functions."""
    rng = np.random.default_rng(shape["seed"])
    heads, width, bits, supports = (shape[name] for name in ("heads", "width", "bits", "supports"))
    u = rng.standard_normal((shape["windows"], shape["tokens"], heads * width))
    anchors = rng.standard_normal((heads, supports, width))
    anchors /= np.linalg.norm(anchors, axis=-1, keepdims=True)
    coefficients = rng.standard_normal((heads, bits, supports))
    threshold = 0.5 * rng.standard_normal((heads, bits))
    single = [x.astype(np.float32) for x in (u, anchors, coefficients, threshold)]
    return single[0], single[1], single[2], single[3]


@given(SHAPES)
@example(SINGLE)
@example(ODD)
def test_codes_are_signs_of_kernels_less_thresholds(shape: dict[str, int]) -> None:
    u, anchors, coefficients, threshold = drawn(shape)
    found = HashCodes(shape["heads"], 0.8).eval(u, anchors, coefficients, threshold)
    width, bits = shape["width"], shape["bits"]
    assert found.shape == (*u.shape[:2], shape["heads"] * bits) and found.dtype == np.float32
    for i, t, h, r in np.ndindex(*u.shape[:2], shape["heads"], bits):
        token = [float(x) for x in u[i, t, h * width : (h + 1) * width]]
        length = math.sqrt(sum(x * x for x in token))
        total = 0.0
        for weight, anchor in zip(coefficients[h, r].tolist(), anchors[h].tolist(), strict=True):
            distance = sum((x / length - a) ** 2 for x, a in zip(token, anchor, strict=True))
            total += weight * math.exp(-distance / (2 * 0.8))
        margin = total - float(threshold[h, r])
        if abs(margin) > 1e-9:
            assert found[i, t, h * bits + r] == (1 if margin > 0 else -1)


def test_a_margin_of_zero_is_plus_one_and_a_token_of_zeros_has_a_code() -> None:
    one = np.ones((1, 1, 1), np.float32)
    codes = HashCodes(1, 1.0).eval(np.zeros((1, 2, 1), np.float32), one, 0 * one, np.zeros((1, 1), np.float32))
    assert np.array_equal(codes, np.ones((1, 2, 1)))


def weights_of(codes: Array, heads: int) -> Array:
    """b_i b_j + b + 1 for each head, all at least 1."""
    split = codes.reshape(*codes.shape[:2], heads, -1).swapaxes(1, 2)
    found: Array = split @ split.swapaxes(-1, -2) + split.shape[-1] + 1
    assert found.min() >= 1
    return found


def signs(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(0, 2, shape) * 2 - 1


@given(SHAPES, st.sampled_from(["sum", "own"]))
@example(SINGLE, "own")
@example(ODD, "sum")
def test_attention_is_a_weighted_sum_over_all_tokens(shape: dict[str, int], constant: str) -> None:
    rng = np.random.default_rng(shape["seed"])
    heads, bits, width = shape["heads"], shape["bits"], shape["width"]
    codes = signs(rng, shape["windows"], shape["tokens"], heads * bits).astype(np.float32)
    v = rng.standard_normal((*codes.shape[:2], heads * width)).astype(np.float32)
    weights = weights_of(codes, heads)
    values = v.reshape(*v.shape[:2], heads, width).swapaxes(1, 2)
    wanted = weights @ values
    if constant == "own":
        wanted += (bits + 1) * (values - values.sum(axis=2, keepdims=True))
    wanted = (wanted / weights.sum(axis=-1, keepdims=True)).swapaxes(1, 2).reshape(v.shape)
    np.testing.assert_allclose(HashAttention(heads, bits, constant).eval(codes, v), wanted, rtol=1e-5, atol=1e-5)


@given(SHAPES, st.sampled_from(["sum", "own"]))
@example(SINGLE, "sum")
@example(ODD, "own")
def test_integer_attention_is_exact_in_pythons_integers(shape: dict[str, int], constant: str) -> None:
    rng = np.random.default_rng(shape["seed"])
    heads, bits, width, tokens = shape["heads"], shape["bits"], shape["width"], shape["tokens"]
    codes = signs(rng, shape["windows"], tokens, heads * bits)
    v = rng.integers(-127, 128, (*codes.shape[:2], heads * width))
    found = hash_attention(codes, v, heads, constant)
    assert np.array_equal(found, HashAttention(heads, bits, constant).eval(codes.astype(np.int8), v.astype(np.int8)))
    weights = weights_of(codes, heads)
    for i, t, h, c in np.ndindex(*codes.shape[:2], heads, width):
        column = [int(x) for x in v[i, :, h * width + c]]
        row = [int(w) for w in weights[i, h, t]]
        if constant == "sum":
            total = sum(w * x for w, x in zip(row, column, strict=True))
        else:
            total = sum((w - bits - 1) * x for w, x in zip(row, column, strict=True)) + (bits + 1) * column[t]
        assert abs(total) <= hash_accumulator_bound(tokens, bits)
        n = sum(row).bit_length()
        reciprocal = (1 << (n + 15)) // sum(row)
        assert int(found[i, t, h * width + c]) == (total * reciprocal + (1 << (n + 6))) >> (n + 7)
        if constant == "sum":
            assert abs(int(found[i, t, h * width + c])) <= 127 * 256
            assert abs(int(found[i, t, h * width + c]) / 256 - total / sum(row)) < 0.02


@given(SHAPES)
@example(SINGLE)
@example(ODD)
def test_integer_codes_are_exact_in_pythons_integers(shape: dict[str, int]) -> None:
    rng = np.random.default_rng(shape["seed"])
    _, anchors, coefficients, threshold = drawn(shape)
    heads, width, bits = shape["heads"], shape["width"], shape["bits"]
    u = rng.integers(-127, 128, (shape["windows"], shape["tokens"], heads * width))
    whole, offset, multiplier, shift = integer_anchors(anchors, 0.7)
    factors, limits = integer_coefficients(coefficients, threshold)
    found = hash_codes(u, whole, factors, limits, offset, multiplier, shift)
    op = HashCodes(heads, 0.7, multiplier, shift)
    assert np.array_equal(found, op.eval(*(x.astype(np.int8) for x in (u, whole, factors)), limits, offset))
    for i, t, h in np.ndindex(*u.shape[:2], heads):
        token = [int(x) for x in u[i, t, h * width : (h + 1) * width]]
        y, e = (int(x) for x in arith.inverse_square_root(np.array(max(sum(x * x for x in token), 1))))
        kernel = []
        for anchor, right_angle in zip(whole[h].tolist(), offset[h].tolist(), strict=True):
            cosine = (sum(x * a for x, a in zip(token, anchor, strict=True)) * y + (1 << (e + 7))) >> (e + 8)
            away = min(max(right_angle - ((cosine * multiplier + (1 << (shift - 1))) >> shift), 0), 4095)
            kernel.append(int(arith.EXP2_TABLE[away & 255]) >> (away >> 8))
        for r in range(bits):
            total = sum(a * k for a, k in zip(factors[h, r].tolist(), kernel, strict=True))
            assert abs(total) < 1 << 31
            assert int(found[i, t, h * bits + r]) == (1 if total >= int(limits[h, r]) else -1)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 4.0))
def test_integer_kernels_are_near_real_ones(seed: int, sigma: float) -> None:
    """Within 2 % of the largest, for vectors that int8 holds well; the same for u of any length."""
    rng = np.random.default_rng(seed)
    u = np.sign(rng.standard_normal((1, 6, 32))) * rng.integers(30, 128, (1, 6, 32))
    anchors = rng.standard_normal((2, 5, 16))
    anchors /= np.linalg.norm(anchors, axis=-1, keepdims=True)
    found = kernels(u, *integer_anchors(anchors, sigma)) / 2.0**15
    wanted = HashCodes(2, sigma).kernels(u.astype(np.float64), anchors).swapaxes(1, 2)
    assert np.abs(found - wanted).max() < 0.02 * max(1.0, 0.2 / sigma)


def test_the_largest_operands_stay_within_their_bounds() -> None:
    """At the widest head and the most anchors, every operand at its limit."""
    u = np.full((1, 2, HEAD_WIDTH_MAX), 127)
    anchors = np.full((1, SUPPORTS_MAX, HEAD_WIDTH_MAX), 127)
    alike = kernels(u, anchors, np.zeros((1, SUPPORTS_MAX), np.int64), 1 << 15, 47)
    assert np.array_equal(alike, np.full((1, 1, 2, SUPPORTS_MAX)[1:], 1 << 15)[None])
    ones = np.full((1, 3, SUPPORTS_MAX), 127)
    limit = np.array([[127 * SUPPORTS_MAX << 15, (127 * SUPPORTS_MAX << 15) - 1, -(2**31)]])
    assert limit.max() < 1 << 31
    assert np.array_equal(
        hash_codes(u, anchors, ones, limit, np.zeros((1, SUPPORTS_MAX), np.int64), 1 << 15, 47), np.ones((1, 2, 3))
    )


def test_rounded_coefficients_add_up_as_the_exact_ones_do() -> None:
    """Kernels are much alike: what rounding adds to all of them together would move every code."""
    rng = np.random.default_rng(3)
    exact = rng.standard_normal((2, 16, 25))
    whole, limits = integer_coefficients(exact, np.zeros((2, 16)))
    scale = np.abs(exact).max(axis=-1) / 127
    assert np.abs(whole.sum(axis=-1) - exact.sum(axis=-1) / scale).max() <= 1.0
    assert np.abs(whole * scale[..., None] - exact).max() <= 1.01 * scale.max()
    assert not limits.any()


@pytest.mark.parametrize(
    ("op", "types"),
    [
        (HashCodes(2), [(1, 4, 5), (2, 3, 2), (2, 4, 3), (2, 4)]),
        (HashCodes(2), [(1, 4, 6), (2, 3, 2), (2, 4, 3), (2, 4)]),
        (HashCodes(2), [(1, 4, 6), (2, 3, 3), (2, 4, 5), (2, 4)]),
        (HashCodes(2), [(1, 4, 6), (2, 3, 3), (2, 4, 3), (1, 4)]),
        (HashCodes(2, sigma=0.0), [(1, 4, 6), (2, 3, 3), (2, 4, 3), (2, 4)]),
        (HashAttention(2, 4), [(1, 4, 6), (1, 4, 6)]),
        (HashAttention(2, 3), [(1, 4, 6), (1, 5, 6)]),
        (HashAttention(2, 3), [(1, 4, 6), (1, 4, 5)]),
        (HashAttention(2, 3, "mean"), [(1, 4, 6), (1, 4, 6)]),
    ],
)
def test_operands_that_do_not_fit_are_refused(op: HashCodes | HashAttention, types: list[tuple[int, ...]]) -> None:
    with pytest.raises(InferError):
        op.infer(*(TensorType(shape) for shape in types))


def test_integer_types_and_work() -> None:
    u, v = TensorType((1, 49, 32), INT8), TensorType((1, 49, 64), INT8)
    op = HashCodes(2, 1.0, 1 << 15, 20)
    operands = [TensorType(s, INT8) for s in ((2, 25, 16), (2, 16, 25))]
    operands += [TensorType((2, 16), INT32), TensorType((2, 25), INT32)]
    codes = op.infer(u, *operands)
    assert codes == TensorType((1, 49, 32), INT8)
    assert HashAttention(2, 16).infer(codes, v) == TensorType((1, 49, 64), INT32)
    work = HashAttention(2, 16).work(codes, v)
    assert work.macs == 49 * 64
    per_head = 16 * 49 + 16 * 49 * 32 + 16 * 49 * 32 + 16 * 49 + 49 * 32 + 49
    assert work.additions == 2 * per_head
    assert op.work(u, *operands).macs == 49 * 2 * (25 * 16 + 16 * 25)
    with pytest.raises(InferError, match="mixed"):
        HashAttention(2, 16).infer(codes, TensorType((1, 49, 64)))


def test_sign() -> None:
    assert np.array_equal(Sign().eval(np.array([-2.0, 0.0, 3.0], np.float32)), [-1, 0, 1])
