from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir.op import Op, expect
from edgewright.passes.ir.types import F32, Array, TensorType
from edgewright.passes.ops.numeric import expect_count, expect_float, float32
from numpy.lib.stride_tricks import sliding_window_view


@dataclass(frozen=True, slots=True)
class Conv(Op):
    """Conv(x (1, C, H, W), w (O, C / groups, KH, KW), b (O,) or none); zero pads top, left, bottom, right."""

    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2, 3)
        expect_float(*types)
        x, w = types[:2]
        expect(x.rank == 4 and w.rank == 4, f"needs (1, C, H, W) and (O, C, KH, KW), got {x.shape}, {w.shape}")
        expect(
            x.shape[1] == w.shape[1] * self.groups and w.shape[0] % self.groups == 0,
            f"{x.shape[1]} channels do not fit weight {w.shape} in {self.groups} groups",
        )
        expect(len(types) == 2 or types[2].shape == (w.shape[0],), f"bias does not fit weight {w.shape}")
        size = [
            (n + before + after - dilation * (k - 1) - 1) // stride + 1
            for n, before, after, dilation, k, stride in zip(
                x.shape[2:],
                self.pads[:2],
                self.pads[2:],
                self.dilations,
                w.shape[2:],
                self.strides,
                strict=True,
            )
        ]
        expect(min(size) > 0, f"the kernel {w.shape} is larger than the padded image {x.shape}")
        return TensorType((x.shape[0], w.shape[0], *size), F32)

    def eval(self, *arrays: Array) -> Array:
        x, w = arrays[:2]
        outs, ins, kh, kw = w.shape
        top, left, bottom, right = self.pads
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, (kh, kw), strict=True)]
        windows = sliding_window_view(x, reach, axis=(2, 3))
        windows = windows[
            :, :, :: self.strides[0], :: self.strides[1], :: self.dilations[0], :: self.dilations[1]
        ]  # (B, C, OH, OW, KH, KW)
        batch, _, height, width = windows.shape[:4]
        split = windows.reshape(batch, self.groups, ins, height, width, kh, kw)
        columns = split.transpose(1, 0, 3, 4, 2, 5, 6).reshape(self.groups, -1, ins * kh * kw)
        weights = w.reshape(self.groups, outs // self.groups, -1).swapaxes(1, 2)
        out = np.matmul(columns, weights).reshape(self.groups, batch, height, width, outs // self.groups)
        out = out.transpose(1, 0, 4, 2, 3).reshape(batch, outs, height, width)
        if len(arrays) == 3:
            out = out + arrays[2][:, None, None]
        return float32(np.ascontiguousarray(out))

    def macs(self, *types: TensorType) -> int:
        return self.infer(*types).size * math.prod(types[1].shape[1:])
