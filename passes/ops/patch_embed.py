from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import BOTH_LEVELS, ONE_OPERATION, of_a_product
from edgewright.passes.ir.op import expect
from edgewright.passes.ir.types import F32, INT32, Array, TensorType
from edgewright.passes.ops.linear import Linear
from edgewright.passes.ops.numeric import expect_count
from edgewright.passes.ops.weighted import Weighted


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
