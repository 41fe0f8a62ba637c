"""Register tiles and panels of one variant, and the calls of the micro-kernels that fill and multiply them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array
from edgewright.targets.cpu.tir import address, loop, run, scratch
from edgewright.targets.cpu.variants import Variant
from edgewright.targets.lowering.tir import Expr, i64


@dataclass(frozen=True, slots=True)
class Geometry:
    """Of one element type: tiles of mr x nr accumulators; see `Variant` for ka, kb and the panels."""

    dtype: str
    accumulator: str
    mr: int
    nr: int
    ka: int
    kb: int
    a_bytes: int

    @property
    def suffix(self) -> str:
        """The end of the micro-kernels' names."""
        return "s8" if self.dtype == "int8" else "f32"

    def depth(self, k: int) -> int:
        """Return k with the padding that panels have."""
        whole = max(self.ka, self.kb)
        return -(-k // whole) * whole

    def panels(self, n: int) -> int:
        """Return how many panels of B hold n columns."""
        return -(-n // self.nr)

    def panel(self, k: int) -> int:
        """Return the elements of one panel of B."""
        return self.depth(k) * self.nr

    def a_panel(self, k: int) -> int:
        """Return the bytes of one packed block of int8 rows."""
        return self.depth(k) * self.mr * self.a_bytes

    def pack(self, weight: Array) -> Array:
        """Return a weight (N, K) as (panels, depth / kb, nr, kb), zero where there is no weight."""
        n, k = weight.shape
        full = np.zeros((self.panels(n) * self.nr, self.depth(k)), self.dtype)
        full[:n, :k] = weight
        split = full.reshape(self.panels(n), self.nr, self.depth(k) // self.kb, self.kb)
        return np.ascontiguousarray(split.transpose(0, 2, 1, 3))

    def pack_right(self, source: Expr, strides: tuple[int, int], many: Expr, k: int, panel: Expr, sums: Expr) -> None:
        """Emit the packing of `many` columns from the address `source`, with strides of (column, k), into a panel of B;
        of integers the sums over k too."""
        extra = [sums] if self.dtype == "int8" else []
        run(f"ew_pack_b_{self.suffix}", source, i64(strides[0]), i64(strides[1]), many, i64(k), panel, *extra)

    def packed_left(self, rows: Expr, pitch: Expr, many: Expr, k: int) -> Expr:
        """Emit the packing of int8 rows into scratch memory; return where the left side of a product is."""
        if self.dtype != "int8":
            return rows
        panel = scratch(self.a_panel(k), "int8")
        run("ew_pack_a_s8", rows, pitch, many, i64(k), address(panel, 0))
        return address(panel, 0)

    def multiply(self, left: Expr, pitch: Expr, panel: Expr, k: int, result: Expr, ld: int, many: Expr) -> None:
        """Emit result[r, c] = sum_k left[r, k] * panel[c, k] for `many` rows; the pitch is that of rows of floats."""
        rows = [left] if self.dtype == "int8" else [left, pitch]
        run(f"ew_gemm_{self.suffix}", *rows, panel, i64(k), result, i64(ld), many)


def geometry(variant: Variant, dtype: str) -> Geometry:
    """Return the geometry of a variant for float32 or int8 operands."""
    if dtype == "float32":
        return Geometry(dtype, "float32", variant.f32_mr, variant.f32_nr, 1, 1, 4)
    return Geometry(dtype, "int32", variant.s8_mr, variant.s8_nr, variant.ka, variant.kb, variant.a_bytes)


def each_panel(columns: int, width: int, emit: Callable[[Expr, int], None], parallel: bool = False) -> None:
    """Emit a loop over panels of `width` columns, and what is left: emit(panel, its columns)."""
    whole, rest = divmod(columns, width)
    if whole:
        with loop(whole, parallel=parallel and whole > 1) as panel:
            emit(panel, width)
    if rest:
        emit(whole, rest)
