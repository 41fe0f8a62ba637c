"""Integer arithmetic against Python's big integers and exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from edgewright.passes.ir.types import INT8, INT16, Int
from edgewright.passes.ops import arith
from hypothesis import example, given, settings
from hypothesis import strategies as st

ACCUMULATORS = st.integers(-(1 << 26) + 1, (1 << 26) - 1)
MULTIPLIERS = st.integers(1 << 15, (1 << 16) - 1)
SHIFTS = st.integers(1, arith.SHIFT_MAX)


def floor_half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


@given(st.integers(-(1 << 60), 1 << 60), st.integers(0, 58))
@example(-1, 1)
@example(1, 1)
@example(-3, 1)
def test_round_shift_rounds_ties_towards_plus_infinity(x: int, shift: int) -> None:
    got = int(arith.round_shift(np.array(x), shift))
    assert got == floor_half_up(Fraction(x, 1 << shift))
    if shift:
        assert got == ((x >> (shift - 1)) + 1) >> 1


@given(ACCUMULATORS, MULTIPLIERS, SHIFTS, st.integers(-127, 127), st.sampled_from([INT8, INT16]))
def test_requantise(acc: int, multiplier: int, shift: int, zero_point: int, elem: Int) -> None:
    limit = 127 if elem.bits == 8 else 32767
    real = floor_half_up(Fraction(acc * multiplier, 1 << shift)) + zero_point
    got = arith.requantise(np.array([acc]), multiplier, shift, zero_point, elem)
    assert got.dtype == np.int64
    assert got.tolist() == [min(max(real, -limit), limit)]


@given(st.lists(st.tuples(MULTIPLIERS, SHIFTS), min_size=1, max_size=8), ACCUMULATORS)
def test_requantise_per_channel(pairs: list[tuple[int, int]], acc: int) -> None:
    multipliers, shifts = (np.array(column) for column in zip(*pairs, strict=True))
    got = arith.requantise(np.full((2, len(pairs)), acc), multipliers, shifts, 3, INT8)
    one_by_one = [int(arith.requantise(np.array(acc), m, s, 3, INT8)) for m, s in pairs]
    assert got.tolist() == [one_by_one, one_by_one]


@given(st.floats(2.0**-31, 2.0**14, exclude_max=True))
@example(0.99999999)
@example(1.0)
@example(0.5)
def test_multiplier_shift_is_the_nearest_pair(real: float) -> None:
    multiplier, shift = arith.multiplier_shift(real)
    assert 1 << 15 <= multiplier < 1 << 16
    assert 1 <= shift <= arith.SHIFT_MAX
    assert abs(Fraction(multiplier, 1 << shift) / Fraction(real) - 1) <= Fraction(1, 1 << 16)


@given(st.floats(1e-300, 2.0**-33), st.integers(-(1 << 31), (1 << 31) - 1))
def test_tiny_ratios_send_every_accumulator_to_zero(real: float, acc: int) -> None:
    assert int(arith.requantise(np.array(acc), *arith.multiplier_shift(real), 0, INT16)) == 0


@pytest.mark.parametrize("real", [0.0, -1.0, math.nan, math.inf, 2.0**15])
def test_impossible_ratios_are_refused(real: float) -> None:
    with pytest.raises(ValueError, match=r"scale ratio|too large"):
        arith.multiplier_shift(real)


@given(st.integers(-32767, 32767), st.integers(-32767, 32767), MULTIPLIERS, SHIFTS)
def test_add_requantised(a: int, b: int, multiplier: int, shift: int) -> None:
    def sat(x: int) -> int:
        return min(max(x, -32767), 32767)

    moved = sat(floor_half_up(Fraction(a * multiplier, 1 << shift)))
    got = arith.add_requantised(np.array(a), np.array(b), (multiplier, shift), (1 << 15, 15))
    assert int(got) == sat(moved + b)


@given(st.integers(0, (1 << 53) - 1))
@example(0)
@example((1 << 52) - 1)
@example((1 << 53) - 1)
def test_bit_length(x: int) -> None:
    assert int(arith.bit_length(np.array(x))) == x.bit_length()


@given(st.integers(1, (1 << 52) - 1))
@example(1)
@example(3)
@example(4)
@example((1 << 52) - 1)
def test_inverse_square_root(v: int) -> None:
    y, e = (int(x) for x in arith.inverse_square_root(np.array(v)))
    assert 0 < y <= (1 << 16) + 1
    assert abs(y * 2.0 ** (-16 - e) * math.sqrt(v) - 1) < 6e-5


@given(st.integers(0, 2**32 - 1))
def test_exact_matmul_is_exact_in_every_precision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bits = int(rng.integers(3, 31))
    a = rng.integers(-(1 << bits), 1 << bits, (3, 17))
    b = rng.integers(-(1 << bits), 1 << bits, (17, 5))
    wanted = [[sum(int(x) * int(y) for x, y in zip(row, col, strict=True)) for col in b.T] for row in a]
    assert arith.exact_matmul(a, b).tolist() == wanted


def layer_norm_by_hand(x: list[int], multiplier: list[int], offset: list[int], e_term: int, shift: int) -> list[int]:
    """The contract's formulas in Python integers."""
    n, s = len(x), sum(x)
    v = n * sum(i * i for i in x) - s * s + e_term
    e = (v.bit_length() - 1) // 2
    m16 = v << (16 - 2 * e) if 2 * e <= 16 else v >> (2 * e - 16)
    index = m16 >> 10
    assert 64 <= index < 256
    y0 = round(2**15 / math.sqrt((index + 0.5) / 64))
    q0 = (y0 * y0) >> 14
    y1 = (y0 * (3 * 2**16 - ((m16 * q0) >> 16)) + 2**15) >> 16
    out = []
    for i, m, o in zip(x, multiplier, offset, strict=True):
        z = ((n * i - s) * y1 + (1 << (e + 3))) >> (e + 4)
        assert -(1 << 18) <= z < 1 << 18
        out.append(min(max((z * m + o + (1 << (shift - 1))) >> shift, -127), 127))
    return out


@given(
    st.lists(st.integers(-32767, 32767), min_size=1, max_size=40),
    st.integers(1, 1 << 50),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
)
@example([0] * 8, 1, 20, 0)
@example([32767, -32767] * 20, 1 << 50, 20, 1)
def test_layer_normalization_by_hand(x: list[int], e_term: int, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    multiplier = rng.integers(-(1 << 16) + 1, 1 << 16, len(x))
    offset = rng.integers(-(1 << 47), 1 << 47, len(x))
    got = arith.layer_normalization(np.array([x]), multiplier, offset, e_term, shift)
    assert got[0].tolist() == layer_norm_by_hand(x, multiplier.tolist(), offset.tolist(), e_term, shift)


@given(
    st.integers(1025, 5000) | st.sampled_from([1 << 15, (1 << 15) + 1, 1 << 16, (1 << 18) - 1, 1 << 20]),
    st.integers(0, 15),
    st.integers(1, 1 << 60),
    st.integers(0, 2**32 - 1),
)
@example(1 << 20, -1, 1, 0)
@example(1 << 20, -1, 1 << 60, 1)
@settings(max_examples=30, deadline=None)
def test_wide_rows_by_hand(width: int, bits: int, e_term: int, seed: int) -> None:
    """The definition in Python integers, which never overflow; bits -1: halves of both extremes."""
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << bits) + 1, 1 << bits, width) if bits >= 0 else np.where(np.arange(width) % 2, 32767, -32767)
    if rng.random() < 0.2:
        x = np.full(width, rng.choice([-32767, 32767, 3]))
        x[0] += rng.integers(0, 2)
    t = max(0, (width - 1).bit_length() - 15)
    for normalise, s in ((arith.layer_normalise, int(x.sum())), (arith.rms_normalise, 0)):
        v = ((width * int((x * x).sum()) - s * s) >> 2 * t) + e_term
        e = (v.bit_length() - 1) // 2
        assert v < 1 << 62
        m16 = v << (16 - 2 * e) if 2 * e <= 16 else v >> (2 * e - 16)
        y0 = round(2**15 / math.sqrt(((m16 >> 10) + 0.5) / 64))
        y1 = (y0 * (3 * 2**16 - ((m16 * ((y0 * y0) >> 14)) >> 16)) + 2**15) >> 16
        got = normalise(x[None], e_term)[0]
        places = [0, 1, width - 1, *rng.integers(0, width, 20).tolist()]
        wanted = [((width * int(x[i]) - s) * y1 + (1 << (e + t + 3))) >> (e + t + 4) for i in places]
        assert got[places].tolist() == wanted
        assert int(np.abs(got).max()) <= (math.sqrt(width) + 1) * 2**12 * 1.001


@pytest.mark.parametrize("width", [16, 64, 192, 768, 1024, 1536, 4096, 40_000, 200_704])
def test_layer_normalise_against_float(width: int) -> None:
    rng = np.random.default_rng(width)
    x = np.round(rng.standard_normal((64, width)) * np.geomspace(30, 8000, 64)[:, None]).clip(-32767, 32767)
    got = arith.layer_normalise(x.astype(np.int64), arith.eps_term(1e-6, width, 1e-3)) / 2**12
    wanted = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-6 / 1e-6)
    assert np.abs(got - wanted).max() < 1.3e-4 + 3e-5 * np.abs(wanted).max()  # half an LSB of 12 bits, and y's error


@pytest.mark.parametrize("width", [1, 16, 48, 192, 768, 1024, 2048, 70_000])
def test_rms_normalise_against_float(width: int) -> None:
    rng = np.random.default_rng(width)
    x = np.round((1 + rng.standard_normal((64, width))) * np.geomspace(30, 8000, 64)[:, None]).clip(-32767, 32767)
    got = arith.rms_normalise(x.astype(np.int64), arith.eps_term(1e-6, width, 1e-3)) / 2**12
    wanted = x / np.sqrt((x * x).mean(1, keepdims=True) + 1e-6 / 1e-6)
    assert np.abs(got - wanted).max() < 1.3e-4 + 3e-5 * np.abs(wanted).max()


@given(st.lists(st.integers(-16383, 16383), min_size=1, max_size=512), st.integers(1, 1 << 50), st.integers(1, 40))
def test_both_normalisations_agree_where_the_sum_is_0(half: list[int], e_term: int, shift: int) -> None:
    x = np.array([half + [-v for v in half]])
    multiplier, offset = np.arange(len(x[0])) * 61 % 65535 - 32767, np.arange(len(x[0])) * 7919
    operands = multiplier, offset, e_term, shift
    assert np.array_equal(arith.rms_normalization(x, *operands), arith.layer_normalization(x, *operands))


def test_rms_normalise_at_its_limits() -> None:
    """The largest of everything stays inside the root's 52 bits and gives at most sqrt(N)."""
    for width in (1, 1024):
        for x in (np.full(width, 32767), np.eye(1, width, dtype=np.int64)[0] * -32767, np.zeros(width, np.int64)):
            for e_term in (1, 1 << 50):
                got = arith.rms_normalise(x[None], e_term)
                real = width * x / math.sqrt(width * float((x * x).sum()) + e_term)
                assert np.abs(got / 2**12 - real).max() < 1.3e-4 + 3e-5 * math.sqrt(width)


def attention_by_hand(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, multiplier: int, shift: int, bias: np.ndarray | None = None
) -> list[list[int]]:
    """One head, the contract's formulas in Python integers; bias (queries, keys)."""
    table = [round(2**15 * 2 ** (-i / 256)) for i in range(256)]
    out = []
    added = (np.zeros((len(q), len(k)), int) if bias is None else bias).tolist()
    for row, more in zip(q.tolist(), added, strict=True):
        scores = [sum(x * y for x, y in zip(row, key, strict=True)) + b for key, b in zip(k.tolist(), more, strict=True)]
        top = max(scores)
        weights = []
        for score in scores:
            u = min(((top - score) * multiplier + (1 << (shift - 1))) >> shift, 4095)
            weights.append(min(254, ((table[u & 255] >> (u >> 8)) + 64) >> 7))
        s = sum(weights)
        n = s.bit_length()
        r = (1 << (n + 15)) // s
        assert 1 << 15 < r <= 1 << 16
        columns = v.T.tolist()
        out.append([(sum(a * x for a, x in zip(weights, c, strict=True)) * r + (1 << (n + 6))) >> (n + 7) for c in columns])
    return out


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 3]), MULTIPLIERS, SHIFTS, st.integers(0, 2**32 - 1))
def test_attention_by_hand(queries: int, keys: int, heads: int, multiplier: int, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dim = 5
    q = rng.integers(-127, 128, (1, queries, heads * dim))
    k, v = rng.integers(-127, 128, (2, 1, keys, heads * dim))
    got = arith.attention(q, k, v, heads, multiplier, shift)
    for h in range(heads):
        part = slice(h * dim, (h + 1) * dim)
        wanted = attention_by_hand(q[0][:, part], k[0][:, part], v[0][:, part], multiplier, shift)
        assert got[0][:, part].tolist() == wanted


@given(
    st.integers(1, 3),
    st.sampled_from([(1, 1, 1, 1), (3, 2, 4, 5), (1, 2, 4, 5), (2, 4, 5), (4, 5), (3, 1, 1, 5), (5,)]),
    st.integers(1, 9),
    MULTIPLIERS,
    SHIFTS,
    st.integers(0, 2**32 - 1),
)
def test_attention_in_windows_with_a_bias_by_hand(
    dv: int, shape: tuple[int, ...], dk: int, multiplier: int, shift: int, seed: int
) -> None:
    """Three windows, two heads, four queries, five keys, values of another width, a bias of any shape that broadcasts."""
    rng = np.random.default_rng(seed)
    q, k, v = (rng.integers(-127, 128, (3, count, 2 * dim)) for count, dim in ((4, dk), (5, dk), (5, dv)))
    bias = rng.integers(-arith.SCORE_BIAS_MAX, arith.SCORE_BIAS_MAX + 1, shape) >> int(rng.integers(0, 24))
    got = arith.attention(q, k, v, 2, multiplier, shift, bias)
    assert got.shape == (3, 4, 2 * dv)
    whole = np.broadcast_to(bias, (3, 2, 4, 5))
    for window in range(3):
        for h in range(2):
            keys, values = slice(h * dk, (h + 1) * dk), slice(h * dv, (h + 1) * dv)
            operands = q[window][:, keys], k[window][:, keys], v[window][:, values]
            wanted = attention_by_hand(*operands, multiplier, shift, whole[window, h])
            assert got[window][:, values].tolist() == wanted


@pytest.mark.parametrize(("tokens", "spread", "least_db"), [(17, 1.0, 40), (50, 2.0, 38), (197, 1.0, 38), (197, 4.0, 33)])
def test_attention_against_float_softmax(tokens: int, spread: float, least_db: float) -> None:
    """Same integers in, so the error is the integer softmax's own: 8-bit weights and an 11-bit exponential."""
    rng = np.random.default_rng(tokens)
    q, k, v = (np.clip(np.round(rng.standard_normal((1, tokens, 64)) * 40), -127, 127) for _ in range(3))
    factor = spread / (40 * 40 * math.sqrt(32))
    multiplier, shift = arith.multiplier_shift(factor * math.log2(math.e) * 256)
    integers = (x.astype(np.int64) for x in (q, k, v))
    got = arith.attention(next(integers), next(integers), next(integers), 2, multiplier, shift) / 2**8
    wanted = np.empty_like(got)
    for h in range(2):
        part = slice(32 * h, 32 * h + 32)
        scores = q[0][:, part] @ k[0][:, part].T * factor
        p = np.exp(scores - scores.max(1, keepdims=True))
        wanted[0][:, part] = p / p.sum(1, keepdims=True) @ v[0][:, part]
    noise = ((got - wanted) ** 2).sum() / (wanted**2).sum()
    assert 10 * math.log10(1 / noise) > least_db


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 10), st.integers(-127, 127))
def test_boundary(x: float, scale: float, zero_point: int) -> None:
    wanted = min(max(math.floor(x / scale + 0.5) + zero_point, -127), 127)
    assert int(arith.boundary(np.array(x), scale, zero_point, INT8)) == wanted


def test_tables_are_the_documented_ones() -> None:
    assert arith.EXP2_TABLE[0] == 1 << 15
    assert arith.EXP2_TABLE[255] == round(2**15 * 2 ** (-255 / 256))
    assert not arith.RSQRT_TABLE[:64].any()
    assert arith.RSQRT_TABLE[64:].max() < 1 << 15
    assert arith.RSQRT_TABLE[255] == round(2**15 / math.sqrt(255.5 / 64))
