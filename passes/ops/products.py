"""Products of matrices, and what those with a constant weight share in integers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT32, Allowed, Array, Op, TensorType, expect, fixed
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_a_product
from edgewright.passes.ops.arith import exact_matmul, int64, product_bound
from edgewright.passes.ops.numeric import accumulated, expect_count, float32


class Weighted(Op):
    """Operands (x, weight of one filter per channel, bias (channels,) or none); on integers int8, int8, int32."""

    __slots__ = ()

    def check(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> Iterator[Allowed]:
        yield fixed("weight", values[1], -127, 127)

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return product_bound(types[1].shape, values[1], values[2:])


@dataclass(frozen=True, slots=True)
class Linear(Weighted):
    """Linear(x (..., K), w (O, K), b (O,)) = x w^T + b. On integers: int8, int8, int32 -> int32."""

    facts = of_a_product(per_token=True, weighted=True, levels=BOTH_LEVELS, instructions=ONE_OPERATION)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        x, w, b = types
        expect(w.rank == 2 and x.rank >= 1, f"weight {w.shape} is no matrix")
        expect(x.shape[-1] == w.shape[1], f"x {x.shape} does not fit weight {w.shape}")
        expect(b.shape == (w.shape[0],), f"bias {b.shape} does not fit weight {w.shape}")
        expect(x.is_float == w.is_float == b.is_float, f"mixed float and integer: {x}, {w}, {b}")
        return TensorType((*x.shape[:-1], w.shape[0]), F32 if x.is_float else INT32)

    def eval(self, *arrays: Array) -> Array:
        x, w, b = arrays
        rows = x.reshape(-1, x.shape[-1])  # one product of matrices, not one per sample
        is_float = x.dtype.kind == "f"
        out = float32(np.matmul(rows, w.T) + b) if is_float else exact_matmul(rows, w.T) + int64(b)
        return out.reshape(*x.shape[:-1], w.shape[0])

    def macs(self, *types: TensorType) -> int:
        x, w, _ = types
        return math.prod(x.shape[:-1]) * math.prod(w.shape)


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """(..., M, K) x (..., K, N) -> (..., M, N), leading axes broadcast; both operands may be activations.

    Integers: int8 operands, both with zero point 0, into int32.
    """

    facts = of_a_product(per_token=False, weighted=False, levels=BOTH_LEVELS, instructions=ONE_OPERATION)

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2)
        elem = accumulated(*types)
        a, b = types
        expect(a.rank >= 2 and b.rank >= 2, f"needs matrices, got {a.shape} and {b.shape}")
        expect(a.shape[-1] == b.shape[-2], f"{a.shape} and {b.shape} do not chain")
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        return TensorType((*lead, a.shape[-2], b.shape[-1]), elem)

    def eval(self, *arrays: Array) -> Array:
        a, b = arrays
        return exact_matmul(a, b) if a.dtype.kind in "iu" else float32(np.matmul(a, b))

    def macs(self, *types: TensorType) -> int:
        return math.prod(self.infer(*types).shape) * types[0].shape[-1]

    def accumulator_bound(self, types: Sequence[TensorType], values: Sequence[Array | None]) -> int:
        return types[0].shape[-1] * 127 * 127


@dataclass(frozen=True, slots=True)
class PatchEmbed(Weighted):
    """PatchEmbed(x (1, C, H, W), w (D, C * P * P), b (D,)) -> (1, N, D): one Linear per P x P patch, patches
    row-major, weight columns in (channel, row, column) order. On integers as Linear."""

    facts = of_a_product(per_token=False, weighted=True, levels=BOTH_LEVELS, instructions=ONE_OPERATION)

    patch: int

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 3)
        x, w, b = types
        expect(x.rank == 4, f"the image {x.shape} is not (1, C, H, W)")
        _, channels, height, width = x.shape
        expect(
            self.patch > 0 and height % self.patch == 0 and width % self.patch == 0,
            f"{height} x {width} does not divide into patches of {self.patch}",
        )
        expect(
            w.rank == 2 and w.shape[1] == channels * self.patch**2 and b.shape == (w.shape[0],),
            f"weight {w.shape} and bias {b.shape} do not fit {channels} channels, patch {self.patch}",
        )
        expect(x.is_float == w.is_float == b.is_float, f"mixed float and integer: {x}, {w}, {b}")
        tokens = (height // self.patch) * (width // self.patch)
        return TensorType((x.shape[0], tokens, w.shape[0]), F32 if x.is_float else INT32)

    def eval(self, *arrays: Array) -> Array:
        x, w, b = arrays
        return Linear().eval(patches(x, self.patch), w, b)

    def macs(self, *types: TensorType) -> int:
        out = self.infer(*types)
        return out.size * types[1].shape[1]


def patches(x: Array, patch: int) -> Array:
    """Rearrange (B, C, H, W) to (B, patches row-major, C * patch * patch)."""
    batch, channels, height, width = x.shape
    rows, columns = height // patch, width // patch
    split = x.reshape(batch, channels, rows, patch, columns, patch).transpose(0, 2, 4, 1, 3, 5)
    return np.ascontiguousarray(split).reshape(batch, rows * columns, math.prod((channels, patch, patch)))
