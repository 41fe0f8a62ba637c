"""Convolutions of maps, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import F32, INT32, Array, Op, TensorType, expect
from edgewright.passes.ir.facts import BOTH_LEVELS, FLOAT_ONLY, ONE_OPERATION, of_a_product
from edgewright.passes.ops.arith import exact_matmul, int64
from edgewright.passes.ops.numeric import accumulated, expect_count, expect_float, float32
from edgewright.passes.ops.products import Weighted
from numpy.lib.stride_tricks import sliding_window_view


@dataclass(frozen=True, slots=True)
class Conv(Weighted):
    """Conv(x (B, C, H, W), w (O, C / groups, KH, KW), b (O,) or none); pads top, left, bottom, right.

    Padding holds pad_value: 0 in float, the operand's zero point on integers.
    Integers: int8 x and w, int32 b, into int32.
    """

    facts = of_a_product(per_token=False, weighted=True, levels=BOTH_LEVELS, instructions=ONE_OPERATION)

    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    pad_value: int = 0

    def infer(self, *types: TensorType) -> TensorType:
        expect_count(types, 2, 3)
        x, w = types[:2]
        elem = accumulated(x, w)
        expect(all(t.elem == elem for t in types[2:]), f"the bias of {x} and {w} is {types[-1]}")
        expect(elem == INT32 or self.pad_value == 0, f"float maps padded with {self.pad_value}")
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
        return TensorType((x.shape[0], w.shape[0], *size), elem)

    def eval(self, *arrays: Array) -> Array:
        x, w = arrays[:2]
        outs, ins, kh, kw = w.shape
        top, left, bottom, right = self.pads
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=self.pad_value)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, (kh, kw), strict=True)]
        windows = sliding_window_view(x, reach, axis=(2, 3))
        windows = windows[
            :, :, :: self.strides[0], :: self.strides[1], :: self.dilations[0], :: self.dilations[1]
        ]  # (B, C, OH, OW, KH, KW)
        whole = x.dtype.kind in "iu"
        if ins == 1 and outs == self.groups:  # depthwise: a product per channel would be all overhead
            out = _depthwise(windows, w)
        else:
            out = _grouped(windows, w, self.groups, exact_matmul if whole else np.matmul)
        if len(arrays) == 3:
            out = out + arrays[2][:, None, None]
        return int64(out) if whole else float32(np.ascontiguousarray(out))

    def macs(self, *types: TensorType) -> int:
        return self.infer(*types).size * math.prod(types[1].shape[1:])


def _depthwise(windows: Array, w: Array) -> Array:
    total = np.zeros(windows.shape[:4], np.int64 if windows.dtype.kind in "iu" else np.float32)
    for row, column in np.ndindex(*windows.shape[4:]):
        total += windows[..., row, column] * w[:, 0, row, column, None, None].astype(total.dtype)
    return total


def _grouped(windows: Array, w: Array, groups: int, product: Callable[[Array, Array], Array]) -> Array:
    batch, channels, height, width, kh, kw = windows.shape
    outs = w.shape[0]
    split = windows.reshape(batch, groups, channels // groups, height, width, kh, kw)
    columns = split.transpose(1, 0, 3, 4, 2, 5, 6).reshape(groups, -1, w[0].size)
    weights = w.reshape(groups, outs // groups, -1).swapaxes(1, 2)
    out = product(columns, weights).reshape(groups, batch, height, width, outs // groups)
    return out.transpose(1, 0, 4, 2, 3).reshape(batch, outs, height, width)


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
