"""Windows of an image that the host writes side by side: a convolution of it then multiplies rows.

A stem reads each pixel of a few bytes several times; fetched by address, every line of a window would take a word or two of
its own. The host quantises the image pixel by pixel in any case, so it writes each pixel where the windows need it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array, TensorType
from edgewright.passes.ops import Conv
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class HostWindows:
    """The windows of ``image`` (1, C, H, W) under the kernel of ``conv``: a row for each pixel of the result, which holds the
    lines of its window, pixel by pixel, channels together."""

    image: Node
    conv: Node
    kernel: tuple[int, int]

    @property
    def result(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self.conv.shape[2], self.conv.shape[3]

    def values(self, image: Array) -> Array:
        """Return the windows of an image as it was quantised, (1, pixels of the result, bytes of a window)."""
        op = self.conv.op
        assert isinstance(op, Conv)
        top, left, bottom, right = op.pads
        full = np.asarray(image).reshape(self.image.shape)
        padded = np.pad(full, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=op.pad_value)
        reach = [d * (k - 1) + 1 for d, k in zip(op.dilations, self.kernel, strict=True)]
        windows = sliding_window_view(padded[0], reach, axis=(1, 2))  # (C, OH, OW, KH, KW)
        windows = windows[:, :: op.strides[0], :: op.strides[1], :: op.dilations[0], :: op.dilations[1]]
        return windows.transpose(1, 2, 3, 4, 0).reshape(1, math.prod(self.result), -1)


class HoldsWindows(Protocol):
    """What is being fused."""

    windows: dict[Node, HostWindows]


def host_windows(fused: HoldsWindows, conv: Node, image: Node, kernel: NDArray[np.int64]) -> tuple[Node, NDArray[np.int64]]:
    """Return the value that holds the windows of an image, and the weights of a convolution in their order, (O, bytes)."""
    outs, channels, height, width = kernel.shape
    shape = (1, math.prod(conv.shape[2:]), channels * height * width)
    root = replace(image, type=TensorType(shape, image.elem, image.quant), origin=(f"windows of {image.name}",))
    fused.windows[root] = HostWindows(image, conv, (height, width))
    return root, kernel.transpose(0, 2, 3, 1).reshape(outs, -1)


def host_values(windows: Mapping[Node, HostWindows], values: Mapping[Node, Array]) -> dict[Node, Array]:
    """Return what the host writes of the windows. ``values``: by node of the graph."""
    return {root: window.values(values[window.image]) for root, window in windows.items()}
