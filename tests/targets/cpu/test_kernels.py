"""The C kernels of every variant that this machine runs: integers have the bits of arith.py, floats their bounds.

A variant whose instructions the machine lacks is compiled all the same; AMX runs through an emulation of its tiles.
"""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import importlib.util
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from edgewright.passes.ir.types import Array, Int
from edgewright.passes.ops import arith
from edgewright.targets.cpu import variants
from edgewright.targets.cpu.compile_c import kernel_sources, kernels_object
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.targets.cpu.kernel_library import Kernels, aligned, load

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang: the C compiler is missing")

RUNNABLE = variants.runnable(variants.host_arch(), variants.host_features())
# plain C alone, with a geometry that nothing divides
PLAIN = dataclasses.replace(
    variants.variant(f"generic_{variants.host_arch()}"),
    name="plain",
    sources=(
        "generic.c",
        "integers.c",
        "softmax_s16.c",
        "layer_norm_rows.c",
        "layer_norm_wide.c",
        "floats.c",
        "experts.c",
        "hashing.c",
        "hashing_s8.c",
    ),
    cflags=(),
    f32_mr=5,
    f32_nr=7,
    s8_mr=3,
    s8_nr=9,
    ka=4,
    kb=3,
    s8_offset=128,
    u8_offset=0,
    vector_bits=256,
    a_bytes=1,
)
EXAMPLES = settings(max_examples=40)

seeds = st.integers(0, 2**32 - 1)
widths = st.integers(1, 300)
AMX = variants.variant("amx")
EMULATED = dataclasses.replace(AMX, name="amx_emulated", cflags=(*variants.variant("avx512vnni").cflags, "-DEW_EMULATE_AMX"))
EMULATES = [EMULATED] if variants.variant("avx512vnni") in RUNNABLE else []


@pytest.fixture(params=[PLAIN, *EMULATES, *RUNNABLE], ids=lambda one: one.name, scope="module")
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load(request.param)


def int8s(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Uniform, or nothing but the extremes."""
    if rng.random() < 0.3:
        return rng.choice(np.array([-127, 127], np.int8), shape)
    return rng.integers(-127, 128, shape).astype(np.int8)


def strided(rng: np.random.Generator, x: Array) -> Array:
    """The same values in a wider row, at an address of no alignment, so that a read or write beyond them would show."""
    rows, columns = x.shape
    wide = np.full((rows, columns + int(rng.integers(1, 9))), 113, x.dtype)
    start = int(rng.integers(0, wide.shape[1] - columns + 1))
    wide[:, start : start + columns] = x
    return wide[:, start : start + columns]


def orders(rng: np.random.Generator, x: Array) -> Array:
    """The same (k, n) matrix with n contiguous, with k contiguous, or with neither."""
    choice = rng.integers(0, 3)
    if choice == 0:
        return strided(rng, x)
    if choice == 1:
        return strided(rng, np.ascontiguousarray(x.T)).T
    return np.repeat(strided(rng, x), 2, axis=1)[:, ::2]


@pytest.mark.parametrize("one", variants.VARIANTS, ids=lambda one: one.name)
def test_every_variant_compiles(one: variants.Variant) -> None:
    assert kernels_object(one).read_bytes()[:4] == b"\x7fELF"


@given(seed=seeds, k=st.integers(1, 200), data=st.data())
@EXAMPLES
def test_float_product(kernels: Kernels, seed: int, k: int, data: st.DataObject) -> None:
    v, rng = kernels.variant, np.random.default_rng(seed)
    m, n = data.draw(st.integers(1, v.f32_mr)), data.draw(st.integers(1, v.f32_nr))
    a, b = strided(rng, rng.normal(size=(m, k)).astype(np.float32)), rng.normal(size=(k, n)).astype(np.float32)
    panel = kernels.pack_b_f32(orders(rng, b))
    assert np.array_equal(panel[:, :n], b) and not panel[:, n:].any()
    acc = np.full((v.f32_mr, v.f32_nr + 3), 5.0, np.float32)
    kernels.gemm_f32(a, panel, acc[:m, : v.f32_nr])
    bound = 2.0**-23 * (k + 1) * (np.abs(a.astype(np.float64)) @ np.abs(b))
    assert (np.abs(acc[:m, :n] - a.astype(np.float64) @ b) <= bound).all()
    assert not acc[:m, n : v.f32_nr].any()
    assert (acc[m:] == 5).all() and (acc[:, v.f32_nr :] == 5).all()


@given(seed=seeds, k=st.integers(1, 200), unsigned=st.booleans(), data=st.data())
@EXAMPLES
def test_byte_product(kernels: Kernels, seed: int, k: int, unsigned: bool, data: st.DataObject) -> None:
    v, rng = kernels.variant, np.random.default_rng(seed)
    m, n = data.draw(st.integers(1, v.s8_mr)), data.draw(st.integers(1, v.s8_nr))
    a, b = int8s(rng, (m, k)), int8s(rng, (k, n))
    if unsigned:
        a = (a.astype(np.int16) + 127).astype(np.uint8)
    b_panel, colsum = kernels.pack_b_s8(orders(rng, b))
    full = np.zeros((b_panel.shape[0] * v.kb, v.s8_nr), np.int8)
    full[:k, :n] = b
    assert np.array_equal(b_panel, full.reshape(-1, v.kb, v.s8_nr).swapaxes(1, 2))
    assert np.array_equal(colsum, full.sum(axis=0, dtype=np.int32))
    acc = np.full((v.s8_mr, v.s8_nr + 3), 5, np.int32)
    kernels.gemm_s8(kernels.pack_a(strided(rng, a)), b_panel, k, acc[:m, : v.s8_nr])
    assert (acc[m:] == 5).all() and (acc[:, v.s8_nr :] == 5).all()
    correction = v.u8_offset * colsum if unsigned else -v.s8_offset * colsum
    assert np.array_equal(acc[:m, :n] + correction[:n], a.astype(np.int64) @ b.astype(np.int64))
    assert not acc[:m, n : v.s8_nr].any()


def test_panels_end_where_the_contract_says(kernels: Kernels) -> None:
    v = kernels.variant
    for k in (1, 5, 16, 31, 64, 100):
        size = -(-k // v.ka) * v.s8_mr * v.ka * v.a_bytes
        guarded = np.full(size + 64, 99, np.int8)
        rows = np.ones((v.s8_mr, k), np.int8)
        kernels.call("ew_pack_a_s8", rows, k, v.s8_mr, k, guarded)
        assert (guarded[size:] == 99).all()
        size, sums = -(-k // v.kb) * v.s8_nr * v.kb, np.zeros(v.s8_nr, np.int32)
        for stride_n, stride_k in ((1, v.s8_nr), (k, 1)):
            guarded = np.full(size + 64, 99, np.int8)
            kernels.call("ew_pack_b_s8", np.ones((v.s8_nr, k), np.int8), stride_n, stride_k, v.s8_nr, k, guarded, sums)
            assert (guarded[:size].sum(dtype=np.int64) == v.s8_nr * k) and (guarded[size:] == 99).all()


def factors(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    low, high = [(1, 48), (17, 33), (16, 34)][rng.integers(0, 3)]
    return rng.integers(1 << 15, 1 << 16, n).astype(np.int32), rng.integers(low, high, n).astype(np.int32)


@given(seed=seeds, n=widths, bits=st.sampled_from([8, 16]), biased=st.booleans())
@EXAMPLES
def test_requantise(kernels: Kernels, seed: int, n: int, bits: int, biased: bool) -> None:
    rng, elem = np.random.default_rng(seed), Int(bits)
    multiplier, shift = factors(rng, n)
    if rng.random() < 0.5:  # ties: multiplier a power of two, accumulators odd multiples of half a step
        multiplier[:] = 1 << 15
        shift = rng.integers(17, 33 if rng.random() < 0.5 else 40, n).astype(np.int32)
        acc = np.clip((2 * rng.integers(-130, 130, n) + 1) << (shift.astype(np.int64) - 16), -(2**27) + 1, 2**27 - 1)
        acc = acc + rng.integers(-1, 2, n) * (np.abs(acc) < 2**27 - 1)
    else:
        acc = rng.integers(-(2**27) + 1, 2**27, n) >> rng.integers(0, 20)
    bias = rng.integers(-(2**26), 2**26, n).astype(np.int32) if biased else np.zeros(n, np.int32)
    zero_point = int(rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1)))
    want = arith.requantise(acc, multiplier, shift, zero_point, elem)
    out = np.full(n + 1, 99, np.int8 if bits == 8 else np.int16)
    terms = ((acc - bias).astype(np.int32), bias) if biased else (acc.astype(np.int32),)
    kernels.call(f"ew_requantise_{'bias_' if biased else ''}s{bits}", *terms, multiplier, shift, n, zero_point, out)
    assert np.array_equal(out[:n], want) and out[n] == 99
    m = int(rng.integers(1, 15))
    tile = strided(rng, np.broadcast_to((acc - bias).astype(np.int32), (m, n)) + np.zeros((m, 1), np.int32))
    outs = np.full((m, n + 2), 99, out.dtype)
    name = f"ew_requantise_tile_s{bits}"
    kernels.call(name, tile, tile.strides[0] // 4, m, bias, multiplier, shift, n, zero_point, outs, n + 2)
    assert np.array_equal(outs[:, :n], np.broadcast_to(want, (m, n))) and (outs[:, n:] == 99).all()


@given(seed=seeds, n=st.integers(1, 400), shift=st.integers(1, 47), spread=st.integers(0, 28))
@EXAMPLES
def test_attention_weights(kernels: Kernels, seed: int, n: int, shift: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-(1 << spread), (1 << spread) + 1, n).astype(np.int32)
    multiplier = int(rng.integers(1 << 15, 1 << 16))
    want = arith.attention_weights(arith.int64(scores), multiplier, shift)
    out = np.full(n + 1, 99, np.uint8)
    total = kernels.call("ew_attention_weights", scores, n, multiplier, shift, out, result=ctypes.c_int32)
    assert np.array_equal(out[:n], want) and out[n] == 99
    assert total == want.sum()


@pytest.mark.parametrize("shift", [8, 15, 19, 20, 21, 25])
def test_attention_weights_at_every_step_of_the_table(kernels: Kernels, shift: int) -> None:
    steps = np.arange(0, 4200, 0.5) * 2.0 ** (shift - 15)
    scores = -np.unique(np.concatenate([np.floor(steps), np.ceil(steps)])).astype(np.int32)
    for multiplier in (1 << 15, (1 << 15) + 1, 40000, 65535):
        out = np.zeros(len(scores), np.uint8)
        kernels.call("ew_attention_weights", scores, len(scores), multiplier, shift, out)
        assert np.array_equal(out, arith.attention_weights(arith.int64(scores), multiplier, shift))


@given(seed=seeds, n=st.integers(1, 1024), bits=st.integers(0, 15), constant=st.booleans())
@EXAMPLES
def test_integer_layer_norm(kernels: Kernels, seed: int, n: int, bits: int, constant: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << bits) + 1, 1 << bits, n).astype(np.int16)
    if constant:
        x[:] = rng.choice(np.array([-32767, 32767, 0], np.int16))
        x[0] = rng.choice(np.array([-32767, 32767, 0], np.int16))
    multiplier, shift = rng.integers(-65535, 65536, n).astype(np.int32), int(rng.integers(1, 41))
    offset = rng.integers(-(2**47) + 1, 2**47, n) >> int(rng.integers(0, 40))
    eps = int(rng.integers(1, 2**50 + 1)) >> int(rng.integers(0, 50)) or 1
    for name, elem in (("ew_layer_norm_s16", Int(8)), ("ew_layer_norm_s16_s16", Int(16))):
        out = np.full(n + 1, 99, f"int{elem.bits}")
        kernels.call(name, x, multiplier, offset, n, eps, shift, out)
        assert np.array_equal(out[:n], arith.layer_normalization(x, multiplier, offset, eps, shift, elem)) and out[n] == 99


@given(seed=seeds, n=widths, rows=st.integers(1, 20))
@EXAMPLES
def test_integer_layer_norm_of_rows(kernels: Kernels, seed: int, n: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    # magnitudes differ from row to row, and offsets cancel the value of the first, so that every bit of it shows
    x = strided(rng, np.clip(rng.normal(size=(rows, n)) * 2.0 ** rng.uniform(0, 15, (rows, 1)), -32768, 32767).astype(np.int16))
    eps = int(rng.integers(1, 2**50 + 1)) >> int(rng.integers(0, 50)) or 1
    multiplier, shift = rng.integers(-65535, 65536, n).astype(np.int32), int(rng.integers(1, 41))
    offset = rng.integers(-(1 << 30), 1 << 30, n) - arith.layer_normalise(x[:1], eps)[0] * multiplier
    for name, elem in (("ew_layer_norm_rows_s16", Int(8)), ("ew_layer_norm_rows_s16_s16", Int(16))):
        out = np.full((rows, n + 3), 99, f"int{elem.bits}")
        kernels.call(name, x, x.strides[0] // 2, rows, multiplier, offset, n, eps, shift, out, n + 3)
        assert np.array_equal(out[:, :n], arith.layer_normalization(x, multiplier, offset, eps, shift, elem))
        assert (out[:, n:] == 99).all()


@given(seed=seeds, n=widths, rows=st.integers(1, 20), bits=st.integers(0, 15))
@EXAMPLES
def test_integer_rms_norm_of_rows(kernels: Kernels, seed: int, n: int, rows: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    x = strided(rng, rng.integers(-(1 << bits) + 1, 1 << bits, (rows, n)).astype(np.int16))
    if rng.random() < 0.2:
        x[:] = rng.choice(np.array([-32767, 32767], np.int16))
    eps = int(rng.integers(1, 2**50 + 1)) >> int(rng.integers(0, 50)) or 1
    multiplier, shift = rng.integers(-65535, 65536, n).astype(np.int32), int(rng.integers(1, 41))
    offset = rng.integers(-(1 << 30), 1 << 30, n) - arith.rms_normalise(x[:1], eps)[0] * multiplier
    for name, elem in (("ew_rms_norm_rows_s16", Int(8)), ("ew_rms_norm_rows_s16_s16", Int(16))):
        out = np.full((rows, n + 3), 99, f"int{elem.bits}")
        kernels.call(name, x, x.strides[0] // 2, rows, multiplier, offset, n, eps, shift, out, n + 3)
        assert np.array_equal(out[:, :n], arith.rms_normalization(x, multiplier, offset, eps, shift, elem))
        assert (out[:, n:] == 99).all()


@given(seed=seeds, n=st.integers(1, 400) | st.sampled_from([4096, 1 << 15]), bits=st.integers(0, 15), in_place=st.booleans())
@EXAMPLES
def test_integer_softmax(kernels: Kernels, seed: int, n: int, bits: int, in_place: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(-(1 << bits) + 1, 1 << bits, n).astype(np.int16)
    if rng.random() < 0.2:
        x = rng.choice(np.array([-32768, 32767], np.int16), n)
    if rng.random() < 0.2:
        x[:] = x[0]
    multiplier = (1 << 15, 65535, int(rng.integers(1 << 15, 1 << 16)))[rng.integers(0, 3)]
    shift = int(rng.integers(1, 48) if rng.random() < 0.3 else rng.integers(14, 26))
    want = arith.softmax(x, multiplier, shift, -1)
    out = np.full(n + 1, 99, np.int16)
    if in_place:
        out[:n] = x
    kernels.call("ew_softmax_s16", out if in_place else x, n, multiplier, shift, out)
    assert np.array_equal(out[:n], want) and out[n] == 99


@given(seed=seeds, n=widths)
@EXAMPLES
def test_table(kernels: Kernels, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, table = rng.integers(-128, 128, n).astype(np.int8), rng.integers(-128, 128, 256).astype(np.int8)
    out = np.full(n + 1, 99, np.int8)
    kernels.call("ew_table_s8", x, table, n, out)
    assert np.array_equal(out[:n], table[x.astype(np.int64) + 128]) and out[n] == 99


@given(seed=seeds, n=widths, identity=st.integers(0, 3))
@EXAMPLES
def test_sum_of_two_scales(kernels: Kernels, seed: int, n: int, identity: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-32768, 32768, n).astype(np.int16) for _ in range(2))
    pairs = [(1 << 15, 15) if identity >> i & 1 else tuple(int(f[0]) for f in factors(rng, 1)) for i in range(2)]
    if rng.random() < 0.3:
        pairs = [(m, int(rng.integers(12, 19))) for m, _ in pairs]
    out = np.full(n + 1, 99, np.int16)
    kernels.call("ew_add_requantised_s16", a, b, n, *pairs[0], *pairs[1], out)
    (ma, sa), (mb, sb) = pairs
    assert np.array_equal(out[:n], arith.add_requantised(a, b, (ma, sa), (mb, sb))) and out[n] == 99


# rows, columns, stride, dilation
WINDOWS = [
    (1, 1, 1, 1),
    (3, 3, 1, 1),
    (3, 3, 2, 1),
    (3, 3, 1, 2),
    (5, 5, 1, 1),
    (7, 7, 1, 1),
    (2, 3, 1, 1),
    (8, 3, 1, 1),
    (4, 2, 2, 1),
]


def depthwise(rng: np.random.Generator, window: tuple[int, int, int, int], channels: int, pixels: int) -> tuple[Array, ...]:
    """An image of int8, which ends with the window of the last pixel, offsets of taps, weights and, in int64, sums."""
    high, wide, stride, dilation = window
    columns = (pixels - 1) * stride + (wide - 1) * dilation + 1 + int(rng.integers(0, 3))
    offsets = np.array([(y * columns + x * dilation) * channels for y in range(high) for x in range(wide)], np.int64)
    step = stride * channels
    image = int8s(rng, ((pixels - 1) * step + int(offsets[-1]) + channels,))
    image[rng.random(len(image)) < 0.1] = -128
    weights = int8s(rng, (len(offsets), channels))
    index = step * np.arange(pixels)[:, None, None] + offsets[:, None] + np.arange(channels)
    return image, offsets, weights, index


def check_depthwise(kernels: Kernels, seed: int, window: tuple[int, int, int, int], channels: int, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    image, offsets, w, index = depthwise(rng, window, channels, pixels)
    taps, step = len(offsets), window[2] * channels
    bias, out = rng.integers(-(2**30), 2**30, channels).astype(np.int32), np.full(channels * pixels + 1, 99, np.int32)
    kernels.call("ew_depthwise_line_s8", image, offsets, taps, step, w, bias, channels, pixels, out)
    want = (image.astype(np.int64)[index] * w).sum(axis=1) + bias
    assert np.array_equal(out[:-1].reshape(pixels, channels), want) and out[-1] == 99
    x, factors, start = (rng.normal(size=shape).astype(np.float32) for shape in (image.shape, w.shape, channels))
    got = np.full(channels * pixels + 1, 99, np.float32)
    kernels.call("ew_depthwise_line_f32", x, offsets, taps, step, factors, start, channels, pixels, got)
    terms = x.astype(np.float64)[index] * factors
    bound = 2.0**-23 * (taps + 1) * (np.abs(terms).sum(axis=1) + np.abs(start))
    assert (np.abs(got[:-1].reshape(pixels, channels) - terms.sum(axis=1) - start) <= bound).all() and got[-1] == 99


@given(seed=seeds, window=st.sampled_from(WINDOWS), channels=widths, pixels=st.integers(1, 20))
@EXAMPLES
def test_depthwise(kernels: Kernels, seed: int, window: tuple[int, int, int, int], channels: int, pixels: int) -> None:
    check_depthwise(kernels, seed, window, channels, pixels)


@given(seed=seeds, taps=st.integers(1, 30), channels=widths, pixels=st.integers(1, 9))
@EXAMPLES
def test_depthwise_with_taps_anywhere(kernels: Kernels, seed: int, taps: int, channels: int, pixels: int) -> None:
    rng = np.random.default_rng(seed)
    image, w = int8s(rng, (2000,)), int8s(rng, (taps, channels))
    step = int(rng.integers(0, 100))
    offsets = rng.integers(0, 2000 - step * (pixels - 1) - channels + 1, taps)
    out = np.full(channels * pixels, 99, np.int32)
    bias = np.zeros(channels, np.int32)
    kernels.call("ew_depthwise_line_s8", image, offsets, taps, step, w, bias, channels, pixels, out)
    index = step * np.arange(pixels)[:, None, None] + offsets[:, None] + np.arange(channels)
    assert np.array_equal(out.reshape(pixels, channels), (image.astype(np.int64)[index] * w).sum(axis=1))


def every_float(low: float, high: float) -> Array:
    """Floats of both signs over the magnitudes of a range, dense where functions bend."""
    spread = np.concatenate([np.linspace(low, high, 200001), np.linspace(-4, 4, 100001)])
    tiny = np.ldexp(1.0, np.arange(-149, 0))
    return np.concatenate([spread, tiny, -tiny, [0.0, -0.0]]).astype(np.float32)


erf: Callable[[Array], Array] = np.vectorize(math.erf, otypes=[np.float64])


@functools.cache
def reference(name: str) -> tuple[Array, Array]:
    x = every_float(-30, 30)
    r = x.astype(np.float64)
    functions: dict[str, Callable[[], Array]] = {
        "gelu": lambda: r * 0.5 * (1 + erf(r / math.sqrt(2))),
        "gelu_tanh": lambda: r * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (r + 0.044715 * r**3))),
        "sigmoid": lambda: 1 / (1 + np.exp(-r)),
        "silu": lambda: r / (1 + np.exp(-r)),
        "tanh": lambda: np.tanh(r),
        "erf": lambda: erf(r),
    }
    return x, functions[name]()


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "sigmoid", "silu", "tanh", "erf"])
def test_functions_of_one_value(kernels: Kernels, name: str) -> None:
    x, want = reference(name)
    out = np.zeros_like(x)
    kernels.call(f"ew_{name}_f32", x, len(x), out)
    assert (np.abs(out - want) / np.maximum(1, np.abs(x))).max() <= 4e-7
    extremes = np.array([-np.inf, -3e38, -200, 200, 3e38, np.inf, np.nan], np.float32)
    got = np.zeros_like(extremes)
    kernels.call(f"ew_{name}_f32", extremes, len(extremes), got)
    assert np.isnan(got[-1])
    high = extremes[3:6] if "gelu" in name or name == "silu" else 1
    assert (got[3:6] == high).all()
    low = 0.0 if name not in ("tanh", "erf") else -1.0
    assert np.allclose(got[1:3], low, atol=4e-7)


def test_exponential(kernels: Kernels) -> None:
    x = every_float(-87.3, 88.7)
    out = np.zeros_like(x)
    kernels.call("ew_exp_f32", x, len(x), out)
    want = np.exp(x.astype(np.float64))
    assert (np.abs(out - want) / want).max() <= 2e-7
    extremes = np.array([-np.inf, -1e30, -110, 89, 1e30, np.inf, np.nan], np.float32)
    got = np.zeros_like(extremes)
    kernels.call("ew_exp_f32", extremes, len(extremes), got)
    assert np.array_equal(got, np.array([0, 0, 0, np.inf, np.inf, np.inf, np.nan]), equal_nan=True)


@given(seed=seeds, n=widths, name=st.sampled_from(["gelu", "exp", "tanh"]))
@EXAMPLES
def test_functions_of_any_length_in_place(kernels: Kernels, seed: int, n: int, name: str) -> None:
    x = np.random.default_rng(seed).normal(size=n).astype(np.float32)
    whole = np.resize(x, -(-n // 64) * 64)
    want = np.zeros_like(whole)
    kernels.call(f"ew_{name}_f32", whole, len(whole), want)
    row = np.append(x, np.float32(7))
    kernels.call(f"ew_{name}_f32", row, n, row)
    assert np.array_equal(row[:n], want[:n]) and row[n] == 7


@given(seed=seeds, n=widths, scale=st.floats(0.015625, 8, width=32), masked=st.integers(0, 50))
@EXAMPLES
def test_softmax(kernels: Kernels, seed: int, n: int, scale: float, masked: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=n) * 5).astype(np.float32)
    x[rng.permutation(n)[: min(masked, n - 1)]] = -np.inf
    row, total = np.append(x, np.float32(7)), np.zeros(1, np.float32)
    kernels.call("ew_softmax_f32", row, n, scale, total)
    argument = np.float64(np.float32(scale)) * (x.astype(np.float64) - x.max())
    want = np.exp(argument)
    finite = argument > -87
    bound = 2e-7 + 2.0**-23 * np.abs(argument[finite])
    assert (np.abs(row[:n][finite] - want[finite]) <= bound * want[finite]).all()
    assert (row[:n][~finite] <= 2e-38).all() and row[n] == 7
    assert (row[:n][np.isneginf(x)] == 0).all()
    assert abs(float(total[0]) - float(row[:n].astype(np.float64).sum())) <= 1e-6 * float(total[0])


@given(seed=seeds, n=st.integers(1, 1100), mean=st.floats(-30, 30))
@EXAMPLES
def test_float_layer_norm(kernels: Kernels, seed: int, n: int, mean: float) -> None:
    rng = np.random.default_rng(seed)
    x, gamma, beta = ((rng.normal(size=n) + shift).astype(np.float32) for shift in (mean, 1, 0))
    r = x.astype(np.float64)
    want = (r - r.mean()) / np.sqrt(r.var() + 1e-6) * gamma + beta
    row = np.append(x, np.float32(7))
    kernels.call("ew_layer_norm_f32", row, gamma, beta, n, 1e-6, row)
    if n > 4:  # fewer values may all but agree, which divides the rounding of the mean by next to nothing
        assert np.abs(row[:n] - want).max() <= 4e-6 * (1 + abs(mean)) * np.abs(gamma).max() + 1e-6
    assert row[n] == 7


@given(seed=seeds, n=st.integers(1, 1100), mean=st.floats(-30, 30))
@EXAMPLES
def test_float_rms_norm(kernels: Kernels, seed: int, n: int, mean: float) -> None:
    rng = np.random.default_rng(seed)
    x, gamma = (rng.normal(size=n) + mean).astype(np.float32), rng.normal(size=n).astype(np.float32)
    r = x.astype(np.float64)
    want = r / np.sqrt((r * r).mean() + 1e-6) * gamma
    row = np.append(x, np.float32(7))
    kernels.call("ew_rms_norm_f32", row, gamma, n, 1e-6, row)
    assert np.abs(row[:n] - want).max() <= 2e-6 * max(1.0, float(np.abs(want).max())) and row[n] == 7


def test_tables_in_c_are_those_of_the_definition() -> None:
    text = kernel_sources()["tables.h"]
    for name, want in (("ew_exp2_table", arith.EXP2_TABLE), ("ew_rsqrt_table", arith.RSQRT_TABLE)):
        body = re.search(name + r"\[25[67]\] = \{(.*?)\}", text, re.S)
        assert body and [int(v) for v in re.findall(r"\d+", body[1])][:256] == want.tolist()


def test_the_best_variant_is_one_the_processor_has() -> None:
    assert variants.best("x86_64", ()).name == "generic_x86_64"
    assert variants.best("x86_64", variants.variant("avx2").features).name == "avx2"
    with pytest.raises(KeyError):
        variants.best("riscv64", ())
    assert aligned((3,), np.float32).ctypes.data % 64 == 0


def test_features_come_from_cpuinfo(tmp_path: Path) -> None:
    arm, x86 = tmp_path / "arm", tmp_path / "x86"
    arm.write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n\nprocessor\t: 1\nFeatures\t: fp\n")
    x86.write_text("processor : 0\nflags\t\t: sse2 avx2\n")
    assert variants.host_features(arm) == {"fp", "asimd", "asimddp"}
    assert variants.host_features(x86) == {"sse2", "avx2"}
    assert variants.host_features(tmp_path / "none") == frozenset()
