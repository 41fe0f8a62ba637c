"""How fast the CPU kernels are on this machine, one thread: every function in every variant that runs here.

    python -m benchmarks.kernel_speed [--variant NAME]... [--function WORD]

Products: 1e9 operations per second (a multiply-add is two) and the share of what independent instructions of the same
kind reach in the same run. Others: nanoseconds per element. Each figure is the best of several runs on data in cache.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from edgewright.passes import cache
from edgewright.passes.ir import Array
from edgewright.targets.cpu.compile_c import TRIPLES, kernel_sources, kernels_object, link_shared
from edgewright.targets.cpu.variants import Variant, host_arch, host_features, runnable

from tests.targets.cpu.kernel_library import Kernels, aligned, pointer

RUNS = 7
SECONDS = 0.02
ROWS = 197  # tokens of a ViT on 224 x 224
PRODUCTS = ((192, 192), (192, 768), (768, 192), (384, 1536))  # k, n
KERNELS = Path(__file__).parents[1] / "targets" / "cpu" / "kernels"


@functools.cache
def load(variant: Variant) -> Kernels:
    """The kernels together with the loops of kernel_speed.c."""
    made = kernels_object(variant, exported=True)
    loops = Path(__file__).with_name("kernel_speed.c")

    def build(folder: Path) -> None:
        defines = [f"-D{name}={value}" for name, value in variant.geometry.items()]
        command = [sys.executable, "-m", "ziglang", "cc", "-target", TRIPLES[variant.arch], *variant.cflags, "-O3", "-fPIC"]
        command += [*defines, f"-I{KERNELS}", "-c", str(loops), "-o", str(folder / "loops.o")]
        subprocess.run(command, check=True)
        link_shared([made, folder / "loops.o"], folder / "speed.so", variant.arch)

    name = cache.key({**kernel_sources(), "loops": loops.read_text()}, [made.parent.name])
    return Kernels(variant, cache.entry("kernels-speed", name, build) / "speed.so")


def seconds(kernels: Kernels, name: str, *arguments: object, x: float = 0.0) -> float:
    """Of one call: the best of several runs. Arrays go as pointers."""
    loop = kernels.library.bench_call
    loop.restype = ctypes.c_double
    known = [value for value in arguments if isinstance(value, np.ndarray | int)]
    raw = [value.ctypes.data if isinstance(value, np.ndarray) else value for value in known]
    values = (ctypes.c_int64 * 10)(*raw)
    function = ctypes.cast(kernels.library[name], ctypes.c_void_p)

    def run(times: int) -> float:
        return float(loop(function, ctypes.c_int64(times), values, ctypes.c_float(x)))

    times = max(1, int(SECONDS / max(run(10), 1e-9)))
    return min(run(times) for _ in range(RUNS))


def peak(kernels: Kernels, name: str, out: Array) -> float:
    function = kernels.library[name]
    function.restype = ctypes.c_double
    return max(float(function(ctypes.c_int64(2_000_000), pointer(out))) for _ in range(RUNS))


def products(kernels: Kernels) -> Iterator[tuple[str, float, str]]:
    v = kernels.variant
    rng = np.random.default_rng(0)
    call = kernels.library.bench_product_f32
    call.restype = ctypes.c_double
    best = peak(kernels, "bench_peak_f32", aligned((1,), np.float32))
    yield "peak f32", best, "GFLOP/s"
    for k, n in PRODUCTS:
        a, panels = aligned((ROWS, k), np.float32), -(-n // v.f32_nr)
        a[:] = rng.normal(size=a.shape)
        b, acc = aligned((panels, k, v.f32_nr), np.float32), aligned((v.f32_mr, v.f32_nr), np.float32)
        b[:] = rng.normal(size=b.shape)
        block = -(-ROWS // -(-ROWS // v.f32_mr))
        for label, rows, high in (
            (f"gemm_f32 {k} x {n}, whole tiles", v.f32_mr * 16, v.f32_mr),
            (f"gemm_f32 {ROWS} x {k} x {n}", ROWS, block),
        ):
            a = np.resize(a, (rows, k))
            sizes = [ctypes.c_int64(size) for size in (rows, k, panels)]
            rate = 2e-9 * rows * k * panels * v.f32_nr / _best(call, pointer(a), pointer(b), *sizes, high, pointer(acc))
            yield label, rate, f"GFLOP/s {rate / best:.0%}"
    call = kernels.library.bench_product_s8
    call.restype = ctypes.c_double
    best = peak(kernels, "bench_peak_s8", aligned((1,), np.int32))
    yield "peak s8", best, "GOP/s"
    for k, n in PRODUCTS:
        panels, kb = -(-n // v.s8_nr), -(-k // v.kb) * v.kb
        b, acc = aligned((panels, kb, v.s8_nr), np.int8), aligned((v.s8_mr, v.s8_nr), np.int32)
        b[:] = rng.integers(-127, 128, b.shape)
        panel = aligned((-(-k // v.ka), v.s8_mr, v.ka * v.a_bytes), np.int8)
        block = -(-ROWS // -(-ROWS // v.s8_mr))
        for label, rows, high, pack in (
            (f"gemm_s8 {k} x {n}, whole tiles", v.s8_mr * 16, v.s8_mr, 0),
            (f"gemm_s8 {ROWS} x {k} x {n} with packing", ROWS, block, 1),
        ):
            left = rng.integers(-127, 128, (rows, k)).astype(np.int8)
            sizes = [ctypes.c_int64(size) for size in (b[0].size, rows, k, panels)]
            arguments = (pointer(left), pointer(panel), pointer(b), *sizes, high, pointer(acc), pack)
            rate = 2e-9 * rows * k * panels * v.s8_nr / _best(call, *arguments)
            yield label, rate, f"GOP/s {rate / best:.0%}"


def _best(call: Callable[..., float], *arguments: object) -> float:
    """The least of the seconds that several calls return."""
    times = max(1, int(SECONDS / max(call(*arguments), 1e-9)))
    return min(call(*arguments) for _ in range(times * 2))


def small(kernels: Kernels) -> Iterator[tuple[str, float, str]]:
    """Products of few rows: the share of the operations that the tile's registers would take."""
    v, k = kernels.variant, 192
    a, b = aligned((v.f32_mr, k), np.float32), aligned((k, v.f32_nr), np.float32)
    acc = aligned((32, 64), np.int32)
    pa, pb = aligned((-(-k // v.ka), v.s8_mr, v.ka * v.a_bytes), np.int8), aligned((k, v.s8_nr), np.int8)
    for m in sorted({1, 2, 3, 5, 8, v.s8_mr - 1}):
        if m <= v.f32_mr:
            t = seconds(kernels, "ew_gemm_f32", a, k, b, k, acc, 64, m)
            yield f"gemm_f32 m={m} k={k}", 2e-9 * m * k * v.f32_nr / t, "GFLOP/s"
        if m <= v.s8_mr:
            t = seconds(kernels, "ew_gemm_s8", pa, pb, k, acc, 64, m)
            yield f"gemm_s8 m={m} k={k}", 2e-9 * m * k * v.s8_nr / t, "GOP/s"


def rows(kernels: Kernels) -> Iterator[tuple[str, float, str]]:
    """Nanoseconds per element of the functions of a row."""
    v = kernels.variant
    rng = np.random.default_rng(1)
    n = 192

    def timed(label: str, count: int, *arguments: object, x: float = 0.0) -> tuple[str, float, str]:
        name = label.partition(" ")[0].rstrip(",")
        return label.removeprefix("ew_"), seconds(kernels, name, *arguments, x=x) / count * 1e9, "ns"

    row, out = rng.normal(size=4096).astype(np.float32), np.zeros(8192, np.float32)
    for name in ("exp", "erf", "tanh", "sigmoid", "silu", "gelu", "gelu_tanh"):
        yield timed(f"ew_{name}_f32", 768, row, 768, out)
    sums, other = np.zeros(16, np.float32), rng.normal(size=197).astype(np.float32)
    yield timed("ew_softmax_f32", 197, other, 197, sums, x=1.0)
    yield timed("ew_layer_norm_f32", n, row, row, row, n, out, x=1e-6)
    acc = rng.integers(-(1 << 20), 1 << 20, (12, 1024)).astype(np.int32)
    scores = rng.integers(-60000, 60000, 197).astype(np.int32)
    weights = np.zeros(4096, np.uint8)
    yield timed("ew_attention_weights, shift 20", 197, scores, 197, 50000, 20, weights)
    yield timed("ew_attention_weights, shift 24", 197, scores, 197, 50000, 24, weights)
    s16 = rng.integers(-20000, 20000, 1024).astype(np.int16)
    multiplier, shift = rng.integers(1 << 15, 1 << 16, 1024).astype(np.int32), rng.integers(27, 31, 1024).astype(np.int32)
    offset = rng.integers(-(1 << 30), 1 << 30, 1024)
    bytes_, wide = np.zeros(1 << 14, np.int8), np.zeros(1 << 14, np.int16)
    yield timed("ew_layer_norm_s16_s16", n, s16, multiplier, offset, n, 1000, 22, wide)
    for width in (32, n):
        many = np.tile(s16[:width], (8, 1))
        yield timed(f"ew_layer_norm_s16, {width}", width, s16, multiplier, offset, width, 1000, 22, bytes_)
        factors = (multiplier, offset, width, 1000, 22)
        yield timed(f"ew_layer_norm_rows_s16, 8 x {width}", 8 * width, many, width, 8, *factors, bytes_, width)
    yield timed("ew_softmax_s16", n, s16, n, 50000, 20, wide)
    table = rng.integers(-127, 128, 256).astype(np.int8)
    yield timed("ew_table_s8", 768, rng.integers(-127, 128, 768).astype(np.int8), table, 768, bytes_)
    yield timed("ew_requantise_s8", n, acc, multiplier, shift, n, 3, bytes_)
    yield timed("ew_requantise_s16", n, acc, multiplier, shift, n, 0, wide)
    yield timed("ew_requantise_bias_s8", n, acc, multiplier, multiplier, shift, n, 3, bytes_)
    tile = (acc, 1024, 12, multiplier, multiplier, shift, v.s8_nr, 3)
    yield timed("ew_requantise_tile_s8", 12 * v.s8_nr, *tile, bytes_, n)
    yield timed("ew_requantise_tile_s16", 12 * v.s8_nr, *tile, wide, n)
    yield timed("ew_add_requantised_s16", n, s16, s16, n, 1 << 15, 15, 40000, 16, wide)
    yield timed("ew_add_requantised_s16, two factors", n, s16, s16, n, 50000, 16, 40000, 16, wide)
    b, panel, colsum = rng.integers(-127, 128, (64, n)).astype(np.int8), np.zeros(1 << 18, np.int8), np.zeros(64, np.int32)
    nr, fnr = v.s8_nr, v.f32_nr
    left = rng.integers(-127, 128, (v.s8_mr, n)).astype(np.int8)
    yield timed("ew_pack_a_s8", v.s8_mr * n, left, n, v.s8_mr, n, panel)
    yield timed("ew_pack_b_s8, n contiguous", 64 * nr, b, 1, n, nr, 64, panel, colsum)
    yield timed("ew_pack_b_s8, k contiguous", 64 * nr, b, 64, 1, nr, 64, panel, colsum)
    f, fpanel = rng.normal(size=(64, n)).astype(np.float32), aligned((1 << 16,), np.float32)
    yield timed("ew_pack_b_f32, n contiguous", 64 * fnr, f, 1, n, fnr, 64, fpanel)
    yield timed("ew_pack_b_f32, k contiguous", 64 * fnr, f, 64, 1, fnr, 64, fpanel)
    for channels, pixels, side in ((256, 28, 3), (1024, 7, 3), (96, 14, 7)):
        taps, across = side * side, pixels + side - 1
        offsets = np.array([(y * across + x) * channels for y in range(side) for x in range(side)])
        image = rng.integers(-127, 128, side * across * channels).astype(np.int8)
        weights, start = rng.integers(-127, 128, (taps, channels)).astype(np.int8), np.zeros(channels, np.int32)
        line, macs = np.zeros(pixels * channels, np.int32), pixels * channels * taps
        label = f"{side} x {side}, {pixels} pixels of {channels}"
        arguments = (offsets, taps, channels)
        yield timed(f"ew_depthwise_line_s8, {label}", macs, image, *arguments, weights, start, channels, pixels, line)
        floats = (image.astype(np.float32), *arguments, weights.astype(np.float32), start.astype(np.float32))
        yield timed(f"ew_depthwise_line_f32, {label}", macs, *floats, channels, pixels, line.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", action="append")
    parser.add_argument("--function", default="")
    chosen = parser.parse_args()
    for variant in runnable(host_arch(), host_features()):
        if chosen.variant and variant.name not in chosen.variant:
            continue
        kernels = load(variant)
        print(f"{variant.name}: {variant.f32_mr} x {variant.f32_nr} floats, {variant.s8_mr} x {variant.s8_nr} bytes")
        for part in (products, small, rows):
            for label, value, unit in part(kernels):
                if chosen.function in label or label.startswith("peak"):
                    print(f"  {label:<44} {value:9.3f} {unit}")


if __name__ == "__main__":
    main()
