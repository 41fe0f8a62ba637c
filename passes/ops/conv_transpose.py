from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.facts import FLOAT_ONLY, of_a_product
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32


@dataclass(frozen=True, slots=True)
class ConvTranspose(Op):
    """ConvTranspose(x (1, C, H, W), w (C, O / groups, KH, KW), b (O,) or none): every pixel of x adds its kernel to
    the result at strides * pixel - pads; `size` is the result's (height, width). Readers split it into Convs."""

    facts = of_a_product(per_token=False, weighted=False, levels=FLOAT_ONLY, instructions=None)

    size: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2, 3)
        expect_float(*types)
        x, w = types[:2]
        expect(x.rank == 4 and w.rank == 4, f"needs (1, C, H, W) and (C, O, KH, KW), got {x.shape}, {w.shape}")
        expect(
            x.shape[1] == w.shape[0] and w.shape[0] % self.groups == 0,
            f"{x.shape[1]} channels do not fit weight {w.shape} in {self.groups} groups",
        )
        outs = w.shape[1] * self.groups
        expect(len(types) == 2 or types[2].shape == (outs,), f"bias does not fit weight {w.shape}")
        expect(min(self.size) > 0, f"the result of {x.shape} and {w.shape} is empty")
        return TensorType((x.shape[0], outs, *self.size), F32)

    def eval(self, *arrays: Array) -> Array:
        x, w = arrays[:2]
        batch, ins, height, width = x.shape
        outs, kh, kw = w.shape[1:]
        (sh, sw), (top, left) = self.strides, self.pads
        rows = max((height - 1) * sh + kh, top + self.size[0])
        columns = max((width - 1) * sw + kw, left + self.size[1])
        split = x.reshape(batch, self.groups, ins // self.groups, height * width).swapaxes(2, 3)
        taps = np.matmul(split, w.reshape(self.groups, ins // self.groups, outs * kh * kw))
        taps = taps.reshape(batch, self.groups, height, width, outs, kh, kw).transpose(0, 1, 4, 2, 3, 5, 6)
        taps = taps.reshape(batch, self.groups * outs, height, width, kh, kw)
        whole = np.zeros((batch, self.groups * outs, rows, columns), np.float32)
        for i in range(kh):
            for j in range(kw):
                whole[:, :, i : i + height * sh : sh, j : j + width * sw : sw][:, :, :height, :width] += taps[..., i, j]
        out = whole[:, :, top : top + self.size[0], left : left + self.size[1]]
        return float32(np.ascontiguousarray(out if len(arrays) == 2 else out + arrays[2][:, None, None]))

    def macs(self, *types: TensorType) -> int:
        return types[0].size * math.prod(types[1].shape[1:])
