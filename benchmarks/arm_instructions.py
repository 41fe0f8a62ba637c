"""Instructions that the aarch64 kernels execute, counted under QEMU: per multiply-accumulate and per element.

    python -m benchmarks.arm_instructions [VARIANT ...]

A count says how much work the processor is given, not how long it takes: that depends on which of its units an
instruction needs. What a call costs by itself is included, as a compiled model pays it too.
"""

from __future__ import annotations

import sys

import numpy as np
from edgewright.targets.cpu import qemu, variants

from tests.targets.cpu.emulated_kernels import EmulatedKernels

DEPTHS = (64, 192, 384, 768)
WIDTH = 768


class Counter:
    """Calls of one variant, each with a name and what its count is divided by."""

    def __init__(self, variant: variants.Variant) -> None:
        self.kernels = EmulatedKernels(variant, qemu.CPUS[variant.name], count=True)
        self.names: dict[int, tuple[str, float]] = {}
        self.made = 1

    def __call__(self, label: str, work: float, name: str, *arguments: object) -> None:
        self.names[self.made] = label, work
        self.kernels.call(name, *arguments)
        self.made += 1

    def figures(self) -> dict[str, float]:
        empty = self.kernels.instructions[0]
        return {label: (self.kernels.instructions[i] - empty) / work for i, (label, work) in self.names.items()}


def count(variant: variants.Variant) -> dict[str, float]:
    """Label -> instructions per multiply-accumulate, byte or element."""
    counter = Counter(variant)
    with counter.kernels.batch():
        counter.kernels.call("nothing")
        for k in DEPTHS:
            products(counter, k)
        rows(counter)
        floats(counter)
    return counter.figures()


def products(counter: Counter, k: int) -> None:
    v, rng = counter.kernels.variant, np.random.default_rng(0)
    a, acc = np.zeros((v.f32_mr, k), np.float32), np.zeros((v.f32_mr, v.f32_nr), np.float32)
    panel = np.zeros((k, v.f32_nr), np.float32)
    for m in (v.f32_mr, 1) if k == 192 else (v.f32_mr,):
        counter(f"gemm_f32 {m}x{v.f32_nr}x{k}", m * v.f32_nr * k, "ew_gemm_f32", a, k, panel, k, acc, v.f32_nr, m)
    bytes_a = rng.integers(-127, 128, (v.s8_mr, k)).astype(np.int8)
    a_panel = np.zeros(-(-k // v.ka) * v.ka * v.s8_mr * v.a_bytes, np.int8)
    b_panel, sums = np.zeros(-(-k // v.kb) * v.kb * v.s8_nr, np.int8), np.zeros(v.s8_nr, np.int32)
    whole = np.zeros((v.s8_mr, v.s8_nr), np.int32)
    for m in (v.s8_mr, 1) if k == 192 else (v.s8_mr,):
        work = m * v.s8_nr * k
        counter(f"gemm_s8 {m}x{v.s8_nr}x{k}", work, "ew_gemm_s8", a_panel, b_panel, k, whole, v.s8_nr, m)
    if k not in (64, 192):
        return
    counter(f"pack_a_s8 {k}", v.s8_mr * k, "ew_pack_a_s8", bytes_a, k, v.s8_mr, k, a_panel)
    b = np.zeros((v.s8_nr, k), np.int8)
    counter(f"pack_b_s8 {k} rows of k", v.s8_nr * k, "ew_pack_b_s8", b, k, 1, v.s8_nr, k, b_panel, sums)
    counter(f"pack_b_s8 {k} rows of n", v.s8_nr * k, "ew_pack_b_s8", b, 1, v.s8_nr, v.s8_nr, k, b_panel, sums)
    wide = np.zeros((v.f32_nr, k), np.float32)
    counter(f"pack_b_f32 {k} rows of k", v.f32_nr * k, "ew_pack_b_f32", wide, k, 1, v.f32_nr, k, panel)
    counter(f"pack_b_f32 {k} rows of n", v.f32_nr * k, "ew_pack_b_f32", wide, 1, v.f32_nr, v.f32_nr, k, panel)


def rows(counter: Counter) -> None:
    n, rng = WIDTH, np.random.default_rng(1)
    acc, bias = rng.integers(-(2**20), 2**20, n).astype(np.int32), np.zeros(n, np.int32)
    multiplier, shift = np.full(n, 40000, np.int32), np.full(n, 29, np.int32)
    s8, s16 = np.zeros(n, np.int8), rng.integers(-9000, 9000, n).astype(np.int16)
    counter("requantise_s8", n, "ew_requantise_s8", acc, multiplier, shift, n, 3, s8)
    counter("requantise_bias_s8", n, "ew_requantise_bias_s8", acc, bias, multiplier, shift, n, 3, s8)
    counter("requantise_bias_s16", n, "ew_requantise_bias_s16", acc, bias, multiplier, shift, n, 0, s16.copy())
    tile = np.tile(acc, (8, 1))
    out = np.zeros((8, n), np.int8)
    counter("requantise_tile_s8 8 rows", 8 * n, "ew_requantise_tile_s8", tile, n, 8, bias, multiplier, shift, n, 3, out, n)
    counter("add_requantised_s16", n, "ew_add_requantised_s16", s16, s16, n, 40000, 17, 50000, 16, s16.copy())
    counter("add_requantised_s16 one plain", n, "ew_add_requantised_s16", s16, s16, n, 40000, 17, 1 << 15, 15, s16.copy())
    counter("table_s8", n, "ew_table_s8", s8, np.zeros(256, np.int8), n, s8)
    for m in (197, WIDTH):
        counter(f"attention_weights {m}", m, "ew_attention_weights", acc, m, 40000, 26, np.zeros(m, np.uint8))
    factor, offset = np.full(n, 9000, np.int32), np.zeros(n, np.int64)
    for m in (192, WIDTH):
        counter(f"layer_norm_s16 {m}", m, "ew_layer_norm_s16", s16, factor, offset, m, 1, 20, s8)
    counter("layer_norm_s16_s16", n, "ew_layer_norm_s16_s16", s16, factor, offset, n, 1, 20, s16.copy())
    counter("softmax_s16", n, "ew_softmax_s16", s16, n, 50000, 20, s16.copy())
    channels, pixels = 256, 14
    offsets = np.array([(y * (pixels + 2) + x) * channels for y in range(3) for x in range(3)])
    image, weights, start = np.zeros(48 * channels, np.int8), np.zeros((9, channels), np.int8), np.zeros(channels, np.int32)
    line, macs = np.zeros((pixels, channels), np.int32), 9 * pixels * channels
    arguments = (offsets, 9, channels)
    counter("depthwise_line_s8 3x3", macs, "ew_depthwise_line_s8", image, *arguments, weights, start, channels, pixels, line)
    floats_ = (image.astype(np.float32), *arguments, weights.astype(np.float32), start.astype(np.float32))
    total = line.astype(np.float32)
    counter("depthwise_line_f32 3x3", macs, "ew_depthwise_line_f32", *floats_, channels, pixels, total)


def floats(counter: Counter) -> None:
    n = WIDTH
    x, ones, total = np.zeros(n, np.float32), np.ones(n, np.float32), np.zeros(1, np.float32)
    for m in (197, n):
        counter(f"softmax_f32 {m}", m, "ew_softmax_f32", x, m, total, 0.125)
    for m in (192, n):
        counter(f"layer_norm_f32 {m}", m, "ew_layer_norm_f32", x, ones, ones, m, x, 1e-6)
    for name in ("gelu", "gelu_tanh", "sigmoid", "silu", "tanh", "erf", "exp"):
        counter(f"{name}_f32", n, f"ew_{name}_f32", x, n, x)


def table(names: list[str]) -> str:
    """One line a function, one column a variant; lines are matched by their place, since tiles differ in size."""
    columns = [list(count(variants.variant(name)).items()) for name in names]
    lines = [f"{'':30s}" + "".join(f"{name:>26s}" for name in names)]
    for line in zip(*columns, strict=True):
        tiled = line[0][0].startswith("gemm")
        cells = (f"{label.partition(' ')[2] + '  ' if tiled else ''}{figure:.4g}" for label, figure in line)
        label = line[0][0].partition(" ")[0] if tiled else line[0][0]
        lines.append(f"{label:30s}" + "".join(f"{cell:>26s}" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    chosen = sys.argv[1:] or [one.name for one in variants.VARIANTS if one.arch == "aarch64"]
    print("instructions per multiply-accumulate (gemm, depthwise), per byte (pack) or per element")
    print(table(chosen))
