"""Windows of an image that the host writes side by side: a convolution of it then multiplies rows.

A stem reads each pixel of a few bytes several times; fetched by address, every line of a window would take a word or two of
its own. The host quantises the image pixel by pixel in any case, so it writes each pixel where the windows need it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from edgewright.hw.padding import Written
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops import Conv, PatchEmbed
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class HostWindows:
    """The windows of an image (1, C, H, W) under the kernel of ``conv``, a Conv: a row for each pixel of the result, which
    holds the lines of its window, pixel by pixel, channels together."""

    source: Node
    conv: Conv
    kernel: tuple[int, int]

    def values(self, array: Array) -> Array:
        """Return the windows of an image as it was quantised, (1, pixels of the result, bytes of a window)."""
        op = self.conv
        top, left, bottom, right = op.pads
        full = np.asarray(array).reshape(self.source.shape)
        padded = np.pad(full, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=op.pad_value)
        reach = [d * (k - 1) + 1 for d, k in zip(op.dilations, self.kernel, strict=True)]
        windows = sliding_window_view(padded[0], reach, axis=(1, 2))  # (C, OH, OW, KH, KW)
        windows = windows[:, :: op.strides[0], :: op.strides[1], :: op.dilations[0], :: op.dilations[1]]
        return windows.transpose(1, 2, 3, 4, 0).reshape(1, windows.shape[1] * windows.shape[2], -1)

    def recipe(self) -> dict[str, Any]:
        """Return sizes along (y, x), ``pads`` as (top, left, bottom, right), and the integer that stands for padding."""
        op = self.conv
        sizes = {"kernel": self.kernel, "strides": op.strides, "pads": op.pads, "dilations": op.dilations}
        lists = {name: list(size) for name, size in {"shape": self.source.shape, **sizes}.items()}
        return {"form": "windows", "of": self.source.name, **lists, "padding": op.pad_value}


def host_windows(conv: Node, image: Node, kernel: NDArray[np.int64]) -> tuple[Node, HostWindows, NDArray[np.int64]]:
    """Return the value that holds the windows of an image, what they are, and the weights of a convolution in their order,
    (O, bytes)."""
    outs, channels, height, width = kernel.shape
    op = conv.op
    if isinstance(op, PatchEmbed):
        op = Conv((op.patch, op.patch))
    assert isinstance(op, Conv)
    pixels = conv.type.size // outs
    shape = (1, pixels, channels * height * width)
    root = replace(image, op=Written(), type=TensorType(shape, image.elem, image.quant), origin=(f"windows of {image.name}",))
    return root, HostWindows(image, op, (height, width)), kernel.transpose(0, 2, 3, 1).reshape(outs, -1)
