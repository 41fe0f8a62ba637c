"""Integer operators against Python's integers: convolution, products of activations, sums, softmax, differences."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from edgewright.passes.ir.types import INT8, INT16, INT32, Array, TensorType
from edgewright.passes.ops import AddRequantised, Conv, Div, MatMul, Mul, ReduceSum, Relu, Requantise, Softmax, Where, arith
from hypothesis import example, given
from hypothesis import strategies as st

MULTIPLIERS = st.integers(1 << 15, (1 << 16) - 1)
SEEDS = st.integers(0, 2**32 - 1)


def bytes_of(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-127, 128, shape)


def convolved(op: Conv, x: Array, w: Array, b: Array) -> Array:
    """Each output pixel as a sum over taps; what lies outside holds pad_value."""
    out = np.zeros(op.infer(TensorType(x.shape, INT8), TensorType(w.shape, INT8)).shape, np.int64)
    ins, share = w.shape[1], w.shape[0] // op.groups
    for n, o, i, j in np.ndindex(*out.shape):
        total = int(b[o])
        for c, u, v in np.ndindex(*w.shape[1:]):
            row = i * op.strides[0] + u * op.dilations[0] - op.pads[0]
            column = j * op.strides[1] + v * op.dilations[1] - op.pads[1]
            inside = 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
            pixel = int(x[n, o // share * ins + c, row, column]) if inside else op.pad_value
            total += pixel * int(w[o, c, u, v])
        out[n, o, i, j] = total
    return out


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(0, 2)] * 4),
    st.tuples(st.integers(1, 2), st.integers(1, 2)),
    st.sampled_from([(1, 3, 2), (2, 1, 2), (4, 1, 1), (2, 2, 1)]),
    st.integers(-127, 127),
    SEEDS,
)
def test_conv(
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int],
    grouping: tuple[int, int, int],
    pad_value: int,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    groups, ins, share = grouping
    op = Conv(strides, pads, dilations, groups, pad_value)
    x, w = bytes_of(rng, 2, groups * ins, 5, 6), bytes_of(rng, groups * share, ins, 2, 3)
    b = rng.integers(-(1 << 20), 1 << 20, groups * share)
    got = op.eval(x.astype(np.int8), w.astype(np.int8), b.astype(np.int32))
    assert got.dtype == np.int64
    assert got.tolist() == convolved(op, x, w, b).tolist()


def test_the_pad_value_is_what_the_zero_point_stands_for() -> None:
    """Real zeros around a map with zero point z: sum (x - z) w, z w folded into the bias, padding included."""
    rng = np.random.default_rng(0)
    x, w, z = bytes_of(rng, 1, 3, 4, 4), bytes_of(rng, 2, 3, 3, 3), -90
    folded = -z * w.sum(axis=(1, 2, 3))
    got = Conv((1, 1), (1, 1, 1, 1), pad_value=z).eval(x, w, folded)
    assert got.tolist() == Conv((1, 1), (1, 1, 1, 1)).eval(x - z, w).tolist()


@given(SEEDS)
def test_products_of_activations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = bytes_of(rng, 2, 3, 4), bytes_of(rng, 1, 4, 5)
    wanted = [[[sum(int(x) * int(y) for x, y in zip(r, c, strict=True)) for c in b[0].T] for r in m] for m in a]
    assert MatMul().eval(a.astype(np.int8), b.astype(np.int8)).tolist() == wanted
    maps, gates = bytes_of(rng, 1, 3, 2, 2), bytes_of(rng, 1, 3, 1, 1)
    got = Mul().eval(maps.astype(np.int8), gates.astype(np.int8))
    assert got.dtype == np.int64
    assert all(int(got[i]) == int(maps[i]) * int(gates[0, i[1], 0, 0]) for i in np.ndindex(*maps.shape))
    assert Mul().infer(TensorType(maps.shape, INT8), TensorType(gates.shape, INT8)) == TensorType(maps.shape, INT32)


WHOLE = st.integers(-(1 << 26) + 1, (1 << 26) - 1)


def quotient_by_hand(a: int, b: int, fraction: int) -> int:
    magnitude = max(abs(b), 1)
    n = magnitude.bit_length()
    product = (-a if b < 0 else a) * ((1 << (n + 15)) // magnitude)
    shift = n + 15 - fraction
    whole = (product + (1 << (shift - 1))) >> shift if shift > 0 else product << -shift
    return min(max(whole, -(1 << 26) + 1), (1 << 26) - 1)


@given(
    WHOLE | st.integers(-(1 << 31) + 1, (1 << 31) - 1), WHOLE | st.integers(-300, 300), st.integers(0, 31), WHOLE | st.just(0)
)
@example((1 << 31) - 1, 1, 31, 0)
@example(-(1 << 31) + 1, -1, 31, 0)
@example(5, 0, 3, 0)
@example(-5, 7, 3, -7)
@example((1 << 26) - 1, (1 << 26) - 1, 0, (1 << 26) - 1)
def test_quotients_by_hand(a: int, b: int, fraction: int, offset: int) -> None:
    """Signs, division by 0, saturation; within 2^-15 of the ratio and half a unit."""
    op, divisor = Div(fraction, offset), b + offset
    got = int(op.eval(np.array([a]), np.array([b]))[0])
    assert got == quotient_by_hand(a, divisor, fraction)
    real = a / divisor * 2.0**fraction if divisor else a * 2.0**fraction
    if abs(real) < (1 << 26) - 1:
        assert abs(got - real) <= 0.5 + abs(real) * 2.0**-15
    assert abs(got) <= op.accumulator_bound([], [])


def test_quotients_broadcast() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-(1 << 20), 1 << 20, (2, 3, 4)), rng.integers(-9, 9, (3, 1))
    assert Div(7).infer(TensorType(a.shape, INT32), TensorType(b.shape, INT8)) == TensorType(a.shape, INT32)
    got = Div(7).eval(a.astype(np.int32), b.astype(np.int8))
    assert all(int(got[i]) == quotient_by_hand(int(a[i]), int(b[i[1], 0]), 7) for i in np.ndindex(*a.shape))


@pytest.mark.parametrize("axes", [(1,), (2, 3), (-1, 0), (0, 1, 2, 3)])
@pytest.mark.parametrize("keepdims", [True, False])
def test_sums_over_axes(axes: tuple[int, ...], keepdims: bool) -> None:
    x = np.random.default_rng(1).integers(-32767, 32768, (2, 3, 4, 5))
    got = ReduceSum(axes, keepdims).eval(x.astype(np.int16))
    wanted: dict[tuple[int, ...], int] = {}
    summed = {axis % 4 for axis in axes}
    for index in np.ndindex(*x.shape):
        key = tuple(0 if i in summed else n for i, n in enumerate(index) if keepdims or i not in summed)
        wanted[key] = wanted.get(key, 0) + int(x[index])
    assert got.shape == ReduceSum(axes, keepdims).infer(TensorType(x.shape, INT16)).shape
    assert {index: int(got[index]) for index in np.ndindex(*got.shape)} == wanted


@given(st.lists(st.integers(-32767, 32767), min_size=1, max_size=9), MULTIPLIERS, st.integers(1, arith.SHIFT_MAX))
@example([0], 1 << 15, 15)
@example([32767, -32767], 1 << 15, 1)
@example([-5] * 9, 40000, 20)
def test_softmax_by_hand(x: list[int], multiplier: int, shift: int) -> None:
    table = [round(2**15 * 2 ** (-i / 256)) for i in range(256)]
    e = []
    for value in x:
        u = min(((max(x) - value) * multiplier + (1 << (shift - 1))) >> shift, 4095)
        e.append(table[u & 255] >> (u >> 8))
    n = sum(e).bit_length()
    r = (1 << (n + 15)) // sum(e)
    wanted = [min((i * r + (1 << (n - 1))) >> n, 32767) for i in e]
    op = Softmax(1, multiplier, shift)
    got = op.eval(np.array(x, np.int16)[None, :, None])
    assert got[0, :, 0].tolist() == wanted
    assert op.infer(TensorType((1, len(x), 1), INT16)).elem == INT16


def test_softmax_against_float() -> None:
    rng = np.random.default_rng(2)
    x, scale = rng.integers(-32767, 32768, (50, 40)), 2e-4
    multiplier, shift = arith.multiplier_shift(scale * math.log2(math.e) * 256)
    got = arith.softmax(x, multiplier, shift, -1) / 2**15
    wanted = np.exp(scale * (x - x.max(1, keepdims=True)))
    wanted /= wanted.sum(1, keepdims=True)
    assert np.abs(got - wanted).max() < 2**-15 + 0.002 * wanted.max()  # an exponent's step is 1/256 octave


@given(SEEDS, st.integers(1, 47))
def test_requantise_of_maps_is_per_channel(seed: int, shift: int) -> None:
    rng = np.random.default_rng(seed)
    acc = rng.integers(-(1 << 26) + 1, 1 << 26, (1, 3, 2, 2))
    multiplier, shifts = rng.integers(1 << 15, 1 << 16, (3, 1, 1)), np.full((3, 1, 1), shift)
    got = Requantise(5, INT16).eval(acc, multiplier, shifts)
    for c in range(3):
        assert got[0, c].tolist() == arith.requantise(acc[0, c], int(multiplier[c, 0, 0]), shift, 5, INT16).tolist()


@given(st.integers(-32767, 32767), st.integers(-32767, 32767), MULTIPLIERS, st.integers(14, 18))
def test_differences(a: int, b: int, multiplier: int, shift: int) -> None:
    def saturated(x: int) -> int:
        return min(max(x, -32767), 32767)

    moved = saturated((b * multiplier + (1 << (shift - 1))) >> shift)
    got = AddRequantised(1 << 15, 15, multiplier, shift, subtract=True).eval(np.array([a]), np.array([b]))
    assert got.tolist() == [saturated(a - moved)]


@given(st.integers(-(1 << 18), 1 << 18), st.integers(1, 40), SEEDS)
def test_layer_normalization_at_16_bits_is_the_same_but_for_saturation(offset: int, shift: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-32767, 32768, (2, 6))
    multiplier, offsets = rng.integers(-(1 << 16) + 1, 1 << 16, 6), np.full(6, offset)
    z = arith.layer_normalise(x, 3)
    wide = arith.layer_normalization(x, multiplier, offsets, 3, shift, INT16)
    for row, column in itertools.product(range(2), range(6)):
        whole = (int(z[row, column]) * int(multiplier[column]) + offset + (1 << (shift - 1))) >> shift
        assert int(wide[row, column]) == min(max(whole, -32767), 32767)


def test_relu_and_where_keep_integers() -> None:
    x = np.array([[-127, -1, 0, 1, 127]], np.int8)
    assert Relu().eval(x).tolist() == [[0, 0, 0, 1, 127]]
    assert Relu().eval(x).dtype == np.int64
    mask = np.array([[1, 0, 2, 0, -1]])
    assert Where().eval(mask, x, np.array([[9]], np.int8)).tolist() == [[-127, 9, 0, 9, 127]]
