"""The aarch64 kernels under QEMU: all that holds on this machine's own variants, and bits against arith.py at extremes.

Cortex-A72 stands for processors without dot products, Cortex-A76 for those with, `max` for those with I8MM. Buffers end
at a page without access, so that a read beyond them is a fault.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.types import Array, Int
from edgewright.passes.ops import arith
from edgewright.targets.cpu import qemu, variants

from tests.targets.cpu import test_kernels
from tests.targets.cpu.emulated_kernels import EmulatedError, EmulatedKernels, build, load
from tests.targets.cpu.test_kernels import (  # noqa: F401
    test_attention_weights,
    test_attention_weights_at_every_step_of_the_table,
    test_byte_product,
    test_exponential,
    test_float_layer_norm,
    test_float_product,
    test_float_rms_norm,
    test_functions_of_any_length_in_place,
    test_functions_of_one_value,
    test_integer_layer_norm,
    test_integer_layer_norm_of_rows,
    test_integer_rms_norm_of_rows,
    test_integer_softmax,
    test_panels_end_where_the_contract_says,
    test_requantise,
    test_softmax,
    test_sum_of_two_scales,
    test_table,
)
from tests.targets.cpu.test_kernels_layers import test_integer_norms_of_wide_rows  # noqa: F401

LACKING = ([] if importlib.util.find_spec("ziglang") else ["ziglang"]) + qemu.missing()
pytestmark = pytest.mark.skipif(bool(LACKING), reason=f"missing: {', '.join(LACKING)}")

ARM = [one.name for one in variants.VARIANTS if one.arch == "aarch64"]


@pytest.fixture(params=ARM, scope="module")
def kernels(request: pytest.FixtureRequest) -> EmulatedKernels:
    return load(variants.variant(request.param))


def test_an_older_processor_refuses_newer_instructions() -> None:
    a, b = np.ones((8, 32), np.int8), np.ones((32, 8), np.int8)
    for name, older in (("dotprod", "cortex-a72"), ("i8mm", "cortex-a76")):
        kernels = EmulatedKernels(variants.variant(name), older)
        panel = kernels.pack_a(a)
        with pytest.raises(EmulatedError) as raised:
            b_panel, _ = kernels.pack_b_s8(b)
            kernels.gemm_s8(panel, b_panel, 32, np.zeros((8, 8), np.int32))
        assert raised.value.code == -signal.SIGILL


def test_every_small_product(kernels: EmulatedKernels) -> None:
    """Each number of rows and of columns, k around the panels' groups, both layouts and both kinds of rows, together."""
    v, rng = kernels.variant, np.random.default_rng(7)
    checks = []
    with kernels.batch():
        for m in range(1, v.s8_mr + 1):
            for n in range(1, v.s8_nr + 1):
                k = int(rng.integers(1, 40))
                a, b = test_kernels.int8s(rng, (m, k)), test_kernels.int8s(rng, (k, n))
                rows = a if (m + n) % 2 else (a.astype(np.int16) + 127).astype(np.uint8)
                b_panel, colsum = kernels.pack_b_s8(b if rng.integers(2) else np.ascontiguousarray(b.T).T)
                acc = np.zeros((m, v.s8_nr), np.int32)
                kernels.gemm_s8(kernels.pack_a(rows), b_panel, k, acc)
                checks.append((rows, b, colsum, acc))
    for rows, b, colsum, acc in checks:
        correction = v.u8_offset * colsum if rows.dtype == np.uint8 else -v.s8_offset * colsum
        want = rows.astype(np.int64) @ b.astype(np.int64)
        assert np.array_equal((acc + correction)[:, : b.shape[1]], want), (rows.shape, b.shape, rows.dtype)


def test_products_of_the_largest_sums(kernels: EmulatedKernels) -> None:
    """Every product at an extreme and of one sign, where 16-bit partial sums would overflow first."""
    v = kernels.variant
    for k in (2, 255, 1024, 3072):
        for sign in (-1, 1):
            a, b = np.full((v.s8_mr, k), 127, np.int8), np.full((k, v.s8_nr), 127 * sign, np.int8)
            acc = np.zeros((v.s8_mr, v.s8_nr), np.int32)
            b_panel, colsum = kernels.pack_b_s8(b)
            kernels.gemm_s8(kernels.pack_a(a), b_panel, k, acc)
            assert (acc - v.s8_offset * colsum == 127 * 127 * sign * k).all()
            assert (colsum == 127 * sign * k).all()
            for byte, meaning in ((0, 0), (254, 254)):
                kernels.gemm_s8(kernels.pack_a(np.full((v.s8_mr, k), byte, np.uint8)), b_panel, k, acc)
                assert (acc + v.u8_offset * colsum == meaning * 127 * sign * k).all()


@functools.cache
def _corners() -> tuple[Array, Array, Array]:
    """Accumulators, multipliers, shifts: every shift with extremes and with the neighbours of ties."""
    rng = np.random.default_rng(11)
    triples = []
    for shift in range(1, 48):
        for multiplier in (1 << 15, (1 << 15) + 1, 65535, int(rng.integers(1 << 15, 1 << 16))):
            accs = [0, 1, -1, 2**27 - 1, 1 - 2**27, int(rng.integers(-(2**27) + 1, 2**27))]
            for tie in rng.integers(-40000, 40000, 3):
                nearest = ((2 * int(tie) + 1) << shift) // (2 * multiplier)
                accs += [min(max(nearest + d, 1 - 2**27), 2**27 - 1) for d in (-1, 0, 1)]
            triples += [(acc, multiplier, shift) for acc in accs]
    table = np.array(triples, np.int32)
    return np.ascontiguousarray(table[:, 0]), np.ascontiguousarray(table[:, 1]), np.ascontiguousarray(table[:, 2])


@pytest.mark.parametrize("bits", [8, 16])
def test_requantise_at_corners(kernels: EmulatedKernels, bits: int) -> None:
    acc, multiplier, shift = _corners()
    order = np.random.default_rng(3).permutation(len(acc))
    high = (1 << (bits - 1)) - 1
    for mixed in (False, True):  # columns of one shift together, or of all shifts
        if mixed:
            acc, multiplier, shift = acc[order], multiplier[order], shift[order]
        for zero_point in (0, 1, high, -high, 32767, -32767):
            out = np.zeros(len(acc), np.int8 if bits == 8 else np.int16)
            kernels.call(f"ew_requantise_s{bits}", acc, multiplier, shift, len(acc), zero_point, out)
            assert np.array_equal(out, arith.requantise(acc, multiplier, shift, zero_point, Int(bits)))


@pytest.mark.parametrize("multiplier", [1 << 15, 40503, 65535])
def test_attention_weights_of_far_scores(kernels: EmulatedKernels, multiplier: int) -> None:
    rng = np.random.default_rng(multiplier)
    for low, high in ((-(2**26), 2**26), (-(2**31), 2**31 - 1), (-5, 5)):
        scores = np.append(rng.integers(low, high, 77), [low, high]).astype(np.int32)
        for shift in (1, 12, 13, 14, 24, 30, 31, 47):
            out = np.zeros(len(scores), np.uint8)
            kernels.call("ew_attention_weights", scores, len(scores), multiplier, shift, out)
            assert np.array_equal(out, arith.attention_weights(arith.int64(scores), multiplier, shift))


def test_sum_of_many_attention_weights(kernels: EmulatedKernels) -> None:
    scores, out = np.zeros(5003, np.int32), np.zeros(5003, np.uint8)
    total = kernels.call("ew_attention_weights", scores, len(scores), 40000, 20, out)
    assert total == 254 * 5003 and (out == 254).all()


@pytest.mark.parametrize("n", [8, 24, 65, 192, 1024])
def test_layer_norm_of_every_magnitude(kernels: EmulatedKernels, n: int) -> None:
    """Offsets cancel the value itself, so that a difference in any of its bits shows in the output."""
    rng = np.random.default_rng(n)
    checks = []
    with kernels.batch():
        for half_bits in range(1, 31):
            x = np.clip(rng.normal(size=n) * 2.0 ** (half_bits / 2), -32768, 32767).astype(np.int16)
            eps = int(rng.integers(1, 2 + (1 << half_bits)))
            multiplier = rng.integers(1 << 14, 1 << 16, n).astype(np.int32)
            offset = rng.integers(-(1 << 20), 1 << 20, n) - arith.layer_normalise(x, eps) * multiplier
            for name, elem in (("ew_layer_norm_s16", Int(8)), ("ew_layer_norm_s16_s16", Int(16))):
                out = np.zeros(n, f"int{elem.bits}")
                kernels.call(name, x, multiplier, offset, n, eps, 14, out)
                checks.append((out, arith.layer_normalization(x, multiplier, offset, eps, 14, elem)))
    for out, want in checks:
        assert np.array_equal(out, want)
        assert len(np.unique(want)) > 5


@pytest.mark.parametrize("channels", [1, 5, 7, 8, 13, 15, 23, 32, 45, 64, 77])
def test_depthwise(kernels: EmulatedKernels, channels: int) -> None:
    for window in test_kernels.WINDOWS:
        for pixels in (1, 2, 3, 4, 7, 9):
            test_kernels.check_depthwise(kernels, channels, window, channels, pixels)


def test_a_fault_shows(kernels: EmulatedKernels) -> None:
    """The page behind a buffer has no access: what the other tests rely on."""
    x, table = np.zeros(32, np.int8), np.zeros(256, np.int8)
    with pytest.raises(EmulatedError) as raised:
        kernels.call("ew_table_s8", x, table, 33, np.zeros(64, np.int8))
    assert raised.value.code == -signal.SIGSEGV


def test_counting() -> None:
    kernels = EmulatedKernels(variants.variant("neon"), "cortex-a72", count=True)
    x, table = np.zeros(1600, np.int8), np.zeros(256, np.int8)
    with kernels.batch():
        kernels.call("nothing")
        kernels.call("ew_table_s8", x[:800], table, 800, x[:800])
        kernels.call("ew_table_s8", x, table, 1600, x)
        kernels.call("ew_table_s8", x, table, 1600, x)
    nothing, half, whole, again = kernels.instructions
    assert whole == again and whole - half > 50 * 8 and half - nothing < whole - half + 100
    plain = qemu.run(kernels.program, [], "cortex-a72", 60)
    assert plain.exit_code == 0 and plain.instructions is None


def test_what_can_go_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, pipe = build(variants.variant("neon")), tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CompileError, match=r"T013.*did not end within 0\.5 s"):
        qemu.run(program, [str(pipe), str(tmp_path / "out")], "cortex-a72", 0.5)
    assert qemu.run(program, [str(tmp_path / "absent"), str(tmp_path / "out")], "cortex-a72", 60).exit_code == 3
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CompileError, match="T012") as raised:
        qemu.run(program, [], "cortex-a72", 60)
    assert raised.value.exit_code == 2 and "qemu-user" in raised.value.diagnostics[0].help
    assert qemu.missing()
