"""The C kernels of a variant as a shared library, called on numpy arrays through ctypes."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from edgewright.passes import cache
from edgewright.passes.ir.types import Array
from edgewright.targets.cpu.compile_c import kernels_object, link_shared
from edgewright.targets.cpu.variants import Variant

ALIGNMENT = 64


def pointer(x: Array) -> ctypes.c_void_p:
    return ctypes.c_void_p(x.ctypes.data)


def aligned(shape: tuple[int, ...], dtype: type) -> Array:
    """Zeros at a multiple of 64 bytes."""
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(count + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count].view(dtype).reshape(shape)


class Kernels:
    """Every function of ew_kernels.h; the packing methods return panels."""

    def __init__(self, variant: Variant, path: Path) -> None:
        self.variant = variant
        self.library = ctypes.CDLL(str(path))

    def call(self, name: str, *arguments: object, result: type | None = None) -> int:
        """Arrays go as pointers, ints as int64 (callees that take int32 read the lower half), floats as float."""
        function = self.library[name]
        function.restype = result
        converted = [
            pointer(one)
            if isinstance(one, np.ndarray)
            else ctypes.c_float(one)
            if isinstance(one, float)
            else ctypes.c_int64(one)
            if isinstance(one, int)
            else one
            for one in arguments
        ]
        return function(*converted) or 0

    def pack_b_f32(self, b: Array) -> Array:
        """b: (k, n) of any strides, n <= nr."""
        k, n = b.shape
        panel = aligned((k, self.variant.f32_nr), np.float32)
        panel[:] = np.nan
        self.call("ew_pack_b_f32", b, b.strides[1] // 4, b.strides[0] // 4, n, k, panel)
        return panel

    def gemm_f32(self, a: Array, panel: Array, acc: Array) -> None:
        """a: (m, k), acc: (m, nr), of any row strides."""
        lda, ldacc = a.strides[0] // 4, acc.strides[0] // 4
        self.call("ew_gemm_f32", a, lda, panel, a.shape[1], acc, ldacc, a.shape[0])

    def pack_a(self, a: Array) -> Array:
        """a: (m, k) of int8 or uint8."""
        v = self.variant
        m, k = a.shape
        panel = aligned((-(-k // v.ka), v.s8_mr, v.ka * v.a_bytes), np.int8)
        panel[:] = 77
        self.call("ew_pack_a_s8" if a.dtype == np.int8 else "ew_pack_a_u8", a, a.strides[0], m, k, panel)
        return panel

    def pack_b_s8(self, b: Array) -> tuple[Array, Array]:
        """b: (k, n) of any strides, n <= nr. The panel and the sums of its columns."""
        v = self.variant
        k, n = b.shape
        panel, colsum = aligned((-(-k // v.kb), v.s8_nr, v.kb), np.int8), np.full(v.s8_nr, 99, np.int32)
        panel[:] = 77
        self.call("ew_pack_b_s8", b, b.strides[1], b.strides[0], n, k, panel, colsum)
        return panel, colsum

    def gemm_s8(self, a_panel: Array, b_panel: Array, k: int, acc: Array) -> None:
        """acc: (m, nr) int32 of any row stride."""
        self.call("ew_gemm_s8", a_panel, b_panel, k, acc, acc.strides[0] // 4, acc.shape[0])


@functools.cache
def load(variant: Variant, defines: Sequence[str] = ()) -> Kernels:
    """The library of a variant, built through the cache."""
    made = kernels_object(variant, exported=True, defines=defines)

    def link(folder: Path) -> None:
        link_shared([made], folder / "kernels.so", variant.arch)

    return Kernels(variant, cache.entry("kernels-test", made.parent.name, link) / "kernels.so")
