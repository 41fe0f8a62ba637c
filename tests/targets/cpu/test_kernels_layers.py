"""The C kernels of experts, of attention by codes and of wide norms against their definitions, on every variant that this
machine runs, AMX in emulation and a geometry that nothing divides."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
from edgewright.passes.ir.types import Array, Int
from edgewright.passes.ops import arith, arith_experts, arith_hashing

pytest.importorskip("tvm")

from edgewright.targets.cpu.experts import TILES, packed, widened
from edgewright.targets.cpu.geometry import geometry
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.targets.cpu.kernel_library import Kernels, aligned, load
from tests.targets.cpu.test_kernels import EMULATES, PLAIN, RUNNABLE, int8s, strided

pytestmark = [
    pytest.mark.tvm,
    pytest.mark.skipif(importlib.util.find_spec("ziglang") is None, reason="ziglang: the C compiler is missing"),
]
EXAMPLES = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


ODD = dataclasses.replace(PLAIN, name="odd", kb=4)  # panels are packed in Python here, which wants ka and kb to divide


@pytest.fixture(params=[ODD, *EMULATES, *RUNNABLE], ids=lambda one: one.name, scope="module")
def kernels(request: pytest.FixtureRequest) -> Kernels:
    return load(request.param)


def filled(size: int, dtype: str) -> Array:
    return np.full(size + 1, 99, dtype)


def whole(size_bytes: int) -> int:
    return -(-size_bytes // 64) * 64


@given(seed=seeds, rows=st.integers(1, 90), experts=st.integers(1, 37), data=st.data())
@EXAMPLES
def test_queues_and_experts(kernels: Kernels, seed: int, rows: int, experts: int, data: st.DataObject) -> None:
    rng, v = np.random.default_rng(seed), kernels.variant
    k, over_chosen = data.draw(st.integers(1, min(experts, 6))), data.draw(st.booleans())
    d, h, o = (data.draw(st.integers(1, 70)) for _ in range(3))
    span = int(rng.choice([2, 500, 32767]))  # few values: many are equal
    logits = strided(rng, rng.integers(-span, span + 1, (rows, experts)).astype(np.int16))
    shape = geometry(v, "int8")
    places, most = rows * k, TILES * shape.mr
    tasks, work = filled(3 * (places // most + min(experts, places)) + 1, "int32"), filled(3 * experts, "int32")
    token, place, gate = filled(places, "int32"), filled(places, "int32"), filled(places, "int16")
    kernels.call(
        "ew_route_s16",
        logits,
        logits.strides[0] // 2,
        rows,
        experts,
        k,
        int(not over_chosen),
        most,
        47000,
        17,
        tasks,
        work,
        token,
        place,
        gate,
    )
    assert all(one[-1] == 99 for one in (tasks, work, token, place, gate))
    chosen, gates = arith_experts.route(logits, k, over_chosen, 47000, 17)
    order = np.argsort(chosen, axis=1)
    assert np.array_equal(gate[:-1].reshape(rows, k), np.take_along_axis(gates, order, 1))
    found = tasks[1 : 1 + 3 * int(tasks[0])].reshape(-1, 3)
    assert np.array_equal(np.cumsum(found[:, 2]) - found[:, 2], found[:, 1]) and found[:, 2].sum() == places
    assert (found[:, 2] <= most).all() and (np.diff(found[:, 0]) >= 0).all()
    home = np.repeat(found[:, 0], found[:, 2])
    assert np.array_equal(home[place[:-1]].reshape(rows, k), np.take_along_axis(chosen, order, 1))
    assert np.array_equal(token[place[:-1]].reshape(rows, k), np.broadcast_to(np.arange(rows)[:, None], (rows, k)))

    x, table = strided(rng, int8s(rng, (rows, d))), int8s(rng, (256,))
    w1, w2 = int8s(rng, (experts, h, d)), int8s(rng, (experts, o, h))
    b1, b2 = (rng.integers(-3000, 3000, (experts, n)) for n in (h, o))
    m1, m2 = (rng.integers(1 << 15, 1 << 16, (experts, n)) for n in (h, o))
    s1, s2 = rng.integers(20, 26, (experts, h)), rng.integers(14, 19, (experts, o))
    zero = int(rng.integers(-127, 128))
    definition = arith_experts.Experts(w1, b1, w2, b2, m1, s1, table, m2, s2, zero)
    width, ldout = (shape.panels(n) * shape.nr for n in (h, o))
    factors = [
        np.stack([widened(b - v.s8_offset * w.sum(2, dtype=np.int64), n), widened(m, n, 1 << 15), widened(s, n, 47)], 1)
        for b, w, m, s, n in ((b1, w1, m1, s1, width), (b2, w2, m2, s2, ldout))
    ]
    panels = [whole(shape.a_panel(n)) for n in (d, h)]
    parts = int(rng.integers(1, 5))
    sizes = np.array([d, h, o, 0, parts, most, zero, *panels], np.int64)
    scratch = aligned(
        (whole(4 * shape.mr * shape.nr) + TILES * max(panels) + whole(shape.mr * d) + whole(most * width) + 64,), np.int8
    )
    scratch[-64:] = 77
    values = filled(places * ldout, "int16")
    for part in range(parts):
        kernels.call(
            "ew_experts_s8",
            tasks,
            part,
            x,
            x.strides[0],
            token,
            sizes,
            packed(w1, shape),
            factors[0].astype(np.int32),
            packed(w2, shape),
            factors[1].astype(np.int32),
            table,
            scratch,
            values,
        )
    assert (scratch[-64:] == 77).all() and values[-1] == 99
    wanted = arith_experts.mixture(x, chosen, gates, definition)
    out = filled(o, "int32")
    for row in range(rows):
        own = slice(row * k, (row + 1) * k)
        kernels.call("ew_combine_s16", values, ldout, place[own].copy(), gate[own].copy(), k, o, out)
        assert np.array_equal(out[:-1], wanted[row]) and out[-1] == 99


@given(
    seed=seeds,
    tokens=st.integers(1, 90) | st.sampled_from([256, 257, 600]),
    bits=st.integers(1, 40) | st.just(16),
    width=st.integers(1, 70) | st.sampled_from([16, 32, 64]),
    own=st.booleans(),
)
@EXAMPLES
def test_attention_by_codes(kernels: Kernels, seed: int, tokens: int, bits: int, width: int, own: bool) -> None:
    rng = np.random.default_rng(seed)
    codes = strided(rng, rng.choice(np.array([-1, 1], np.int8), (tokens, bits)))
    if rng.random() < 0.3:
        codes[:] = codes[0]
    v = strided(rng, int8s(rng, (tokens, width)))
    quads, pitch, kind = -(-bits // 4), -(-width // 16) * 16, "own" if own else "sum"
    selected, table, weight = filled(tokens * quads, "uint8"), filled(quads * 16 * pitch, "int32"), filled(quads * 16, "int32")
    work = filled(quads * 16 * pitch, "int16")
    kernels.call(
        "ew_hash_tables_s8",
        codes,
        codes.strides[0],
        v,
        v.strides[0],
        tokens,
        bits,
        width,
        int(not own),
        selected,
        table,
        weight,
        work,
    )
    out = np.full((tokens, width + 3), 99, np.int32)
    kernels.call("ew_hash_rows_s8", selected, tokens, bits, table, weight, width, v if own else 0, v.strides[0], out, width + 3)
    assert all(one[-1] == 99 for one in (selected, table, weight, work)) and (out[:, width:] == 99).all()
    assert np.array_equal(out[:, :width], arith_hashing.hash_attention(codes[None], v[None], 1, kind)[0])

    real, values = codes.astype(np.float32), rng.standard_normal((tokens, width)).astype(np.float32)
    lanes = kernels.variant.vector_bits // 32
    sums, many = np.zeros(quads * 16 * (-(-width // lanes) * lanes), np.float32), np.zeros(quads * 16, np.int32)
    kernels.call("ew_hash_tables_f32", real, bits, values, width, tokens, bits, width, int(not own), selected, sums, many)
    got = np.full((tokens, width + 3), 99, np.float32)
    kernels.call("ew_hash_rows_f32", selected, tokens, bits, sums, many, width, values if own else 0, width, got, width + 3)
    weights = codes.astype(np.float64) @ codes.T + bits + 1
    exact = weights @ values if not own else codes.astype(np.float64) @ codes.T @ values + (bits + 1) * values
    exact /= weights.sum(axis=1, keepdims=True)
    assert np.abs(got[:, :width] - exact).max() <= 5e-6 * max(1.0, float(np.abs(exact).max())) and (got[:, width:] == 99).all()


@given(
    seed=seeds,
    n=st.integers(1025, 3000) | st.sampled_from([4096, 1 << 15, (1 << 15) + 1, (1 << 17) - 3]),
    bits=st.integers(0, 15),
    rows=st.integers(1, 3),
)
@settings(max_examples=15)
def test_integer_norms_of_wide_rows(kernels: Kernels, seed: int, n: int, bits: int, rows: int) -> None:
    """One factor for all columns or one for each; rows that reach the extremes, and rows that hardly vary."""
    rng = np.random.default_rng(seed)
    x = strided(rng, rng.integers(-(1 << bits) + 1, 1 << bits, (rows, n)).astype(np.int16))
    if rng.random() < 0.3:
        x[:] = rng.choice(np.array([-32767, 32767, 0], np.int16))
        x[:, 0] = rng.choice(np.array([-32767, 32767, 0], np.int16))
    eps, shift = int(rng.integers(1, 2**60 + 1)) >> int(rng.integers(0, 60)) or 1, int(rng.integers(1, 41))
    for step, name in ((step, name) for step in (0, 1) for name in ("layer", "rms")):
        exact, normalise = (
            (arith.layer_normalization, arith.layer_normalise)
            if name == "layer"
            else (arith.rms_normalization, arith.rms_normalise)
        )
        columns = n if step else 1
        multiplier = rng.integers(-65535, 65536, columns).astype(np.int32)
        offset = rng.integers(-(1 << 30), 1 << 30, columns) - normalise(x[:1], eps)[0, :columns] * multiplier
        for suffix, elem in (("s16", Int(8)), ("s16_s16", Int(16))):
            out = np.full((rows, n + 3), 99, f"int{elem.bits}")
            factors = multiplier, offset, step
            kernels.call(f"ew_{name}_norm_wide_{suffix}", x, x.strides[0] // 2, rows, *factors, n, eps, shift, out, n + 3)
            assert np.array_equal(out[:, :n], exact(x, multiplier, offset, eps, shift, elem)) and (out[:, n:] == 99).all()


def test_inverse_square_roots_of_norms_are_those_of_the_definition(kernels: Kernels) -> None:
    """Codes of one bit tell on which side of each distance a token lies; here distances cover the table."""
    rng, v = np.random.default_rng(5), kernels.variant
    shape, lanes = geometry(v, "int8"), v.vector_bits // 32
    for d, supports, bits in ((1, 1, 1), (7, 5, 3), (32, 25, 16), (40, 33, 37), (64, 70, 20)):
        u, anchors = strided(rng, int8s(rng, (50, d))), int8s(rng, (1, supports, d))
        u[0] = 0
        coefficients = int8s(rng, (1, bits, supports))
        offset = rng.integers(0, 2500, (1, supports))
        multiplier, shift = int(rng.integers(1 << 15, 1 << 16)), 18
        found = arith_hashing.kernels(u[None], anchors, offset, multiplier, shift)[0, 0]
        margins = found @ coefficients[0].astype(np.int64).T
        threshold = margins[np.arange(bits) % 50, np.arange(bits)]  # met exactly
        pairs, columns = -(-supports // 2), shape.panels(supports) * shape.nr
        ld, bits_wide = -(-max(2 * pairs, columns) // lanes) * lanes, -(-bits // lanes) * lanes
        offsets, limits = np.zeros((2, ld), np.int32), np.zeros(bits_wide, np.int32)
        offsets[0, :supports], offsets[1, :supports] = offset, v.s8_offset * anchors[0].sum(1, dtype=np.int64)
        factors = np.zeros((2 * pairs, bits_wide), np.int16)
        factors[:supports, :bits] = coefficients[0].T
        limits[:bits] = threshold - (coefficients[0].sum(1, dtype=np.int64) << 14)
        left = whole(shape.a_panel(d))
        sizes = np.array([d, bits, pairs, ld, shape.panel(d), multiplier, shift, left, columns], np.int64)
        work, out = aligned((left + shape.mr * ld * 6 + 64,), np.int8), np.full((50, bits + 3), 99, np.int8)
        work[-64:] = 77
        interleaved = np.ascontiguousarray(factors.reshape(pairs, 2, bits_wide).swapaxes(1, 2))
        kernels.call(
            "ew_hash_codes_s8",
            u,
            u.strides[0],
            50,
            sizes,
            packed(anchors, shape),
            offsets,
            interleaved,
            limits,
            work,
            out,
            bits + 3,
        )
        assert np.array_equal(out[:, :bits], np.where(margins >= threshold, 1, -1)), (d, supports, bits)
        assert (out[:, bits:] == 99).all() and (work[-64:] == 77).all()
    assert arith.EXPONENT_STEPS == 256
