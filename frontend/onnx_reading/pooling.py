"""Readers of pooling by windows: the largest value by comparing moved images, the mean by a convolution of each channel."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.onnx_reading.convolutions import Window, lowered, raised
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Conv, Gather, Max, Mul

_LARGEST_WINDOW = 1 << 12  # positions


def _window(site: Site, x: Node) -> tuple[Window, tuple[int, int], tuple[int, int]]:
    """The window, its kernel, and how many places it takes along each side."""
    kernel = site.ints("kernel_shape") or ()
    window = Window.of(site, x, kernel)
    sides: tuple[int, int] = (1, kernel[0]) if window.flat else (kernel[0], kernel[1])
    image = (1, x.shape[2]) if window.flat else (x.shape[2], x.shape[3])
    if sides[0] * sides[1] > _LARGEST_WINDOW:
        raise Unsupported(f"its window is {sides[0]} x {sides[1]}")
    up = bool(site.integer("ceil_mode", 0)) and not site.text("auto_pad", "NOTSET").startswith("SAME")
    places = []
    for n, k, s, d, before, after in zip(
        image, sides, window.strides, window.dilations, window.pads[:2], window.pads[2:], strict=True
    ):
        room = n + before + after - d * (k - 1) - 1
        count = (-(-room // s) if up else room // s) + 1
        if up and (count - 1) * s >= n + before:  # a window that starts behind the image does not count
            count -= 1
        if room < 0 or count < 1:
            raise Unsupported(f"its window of {k} does not fit a side of {n}")
        places.append(count)
    return window, sides, (places[0], places[1])


@reads("MaxPool")
def read_max_pool(site: Site) -> Results:
    """One side after the other: the maximum of the image's rows (columns) that each tap of the window sees. A tap that is
    outside sees what another tap of its window sees."""
    x = site.input(0)
    site.only_first_output()
    window, sides, places = _window(site, x)
    image = raised(site, x)
    for axis in (2, 3):
        n, k, count = image.shape[axis], sides[axis - 2], places[axis - 2]
        taps = np.arange(count) * window.strides[axis - 2] - window.pads[axis - 2]
        seen = taps[:, None] + np.arange(k) * window.dilations[axis - 2]  # (places, taps)
        inside = (seen >= 0) & (seen < n)
        if not inside.any(axis=1).all():
            raise Unsupported("a window lies outside the image")
        instead = np.take_along_axis(seen, inside.argmax(axis=1)[:, None], axis=1)
        image = _largest(site, image, axis, np.where(inside, seen, instead))
    return lowered(site, image, window.flat)


def _largest(site: Site, image: Node, axis: int, seen: Array) -> Node:
    parts = []
    for rows in dict.fromkeys(tuple(column) for column in seen.T.tolist()):
        steps = set(np.diff(rows).tolist())
        if len(steps) <= 1 and min(steps, default=1) > 0:
            parts.append(site.slice(image, axis, rows[0], rows[-1] + 1, min(steps, default=1)))
        else:
            parts.append(site.make(Gather(axis), image, site.value(np.array(rows, np.int64))))
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [site.make(Max(), *pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return parts[0]


@reads("AveragePool")
def read_average_pool(site: Site) -> Results:
    """A convolution with equal weights; where a window reaches beyond what counts, the sum is over fewer values."""
    x = site.input(0)
    window, sides, places = _window(site, x)
    image = raised(site, x)
    pads, padded = list(window.pads), bool(site.integer("count_include_pad", 0))
    counts = []
    for side in (0, 1):
        n, k, s, d = image.shape[side + 2], sides[side], window.strides[side], window.dilations[side]
        before, after, count = pads[side], pads[side + 2], places[side]
        seen = np.arange(count)[:, None] * s - before + np.arange(k) * d
        low, high = (-before, n + after) if padded else (0, n)
        counts.append(((seen >= low) & (seen < high)).sum(axis=1))
        pads[side + 2] = max(after, (count - 1) * s + d * (k - 1) + 1 - n - before)
    each = np.outer(counts[0], counts[1])
    if each.min() < 1:
        raise Unsupported("a window lies outside the image")
    channels, most = image.shape[1], int(each.max())
    kernel = np.full((channels, 1, *sides), 1 / most, np.float32)
    op = Conv(window.strides, (pads[0], pads[1], pads[2], pads[3]), window.dilations, channels)
    result = site.make(op, image, site.value(kernel))
    if result.shape[2:] != places:
        result = site.slice(site.slice(result, 2, 0, places[0]), 3, 0, places[1])
    if (each != most).any():
        result = site.make(Mul(), result, site.value((most / each).astype(np.float32)[None, None]))
    return lowered(site, result, window.flat)
