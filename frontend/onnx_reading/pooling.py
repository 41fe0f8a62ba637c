"""Readers of pooling by windows: the maximum by comparing shifted images, the mean by a convolution of each channel."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.onnx_reading.convolutions import Window, lowered, raised
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Conv, Gather, Max, Mul

_LARGEST_WINDOW = 1 << 12  # positions


def _window(site: Site, x: Node) -> tuple[Window, tuple[int, int], tuple[int, int]]:
    """Return the window, its kernel, and its number of positions along each side."""
    kernel = site.ints("kernel_shape") or ()
    window = Window.of(site, x, kernel)
    sides: tuple[int, int] = (1, kernel[0]) if window.flat else (kernel[0], kernel[1])
    image = (1, x.shape[2]) if window.flat else (x.shape[2], x.shape[3])
    if sides[0] * sides[1] > _LARGEST_WINDOW:
        raise Unsupported(f"its window is {sides[0]} x {sides[1]}")
    up = bool(site.integer("ceil_mode", 0)) and not site.text("auto_pad", "NOTSET").startswith("SAME")
    places = []
    pads = window.pads
    for n, k, s, d, before, after in zip(image, sides, window.strides, window.dilations, pads[:2], pads[2:], strict=True):
        travel = n + before + after - d * (k - 1) - 1
        count = (-(-travel // s) if up else travel // s) + 1
        if up and (count - 1) * s >= n + before:  # a window that starts after the image does not count
            count -= 1
        if travel < 0 or count < 1:
            raise Unsupported(f"its window of {k} does not fit a side of {n}")
        places.append(count)
    return window, sides, (places[0], places[1])


@reads("MaxPool")
def read_max_pool(site: Site) -> Results:
    """Read MaxPool, one side after the other: the maximum of the image's rows (columns) at each tap of the window. A tap
    outside the image is replaced by another tap of its window."""
    x = site.input(0)
    site.only_first_output()
    window, sides, places = _window(site, x)
    image = raised(site, x)
    for axis in (2, 3):
        n, k, count = image.shape[axis], sides[axis - 2], places[axis - 2]
        taps = _taps(window, axis - 2, k, count)
        inside = (taps >= 0) & (taps < n)
        if not inside.any(axis=1).all():
            raise Unsupported("a window lies outside the image")
        first_inside = np.take_along_axis(taps, inside.argmax(axis=1)[:, None], axis=1)
        image = _largest(site, image, axis, np.where(inside, taps, first_inside))
    return lowered(site, image, window.flat)


def _taps(window: Window, side: int, kernel: int, count: int) -> Array:
    """Return the index in the image, which may be outside, of each tap of the window at each position: (count, kernel)."""
    starts = np.arange(count) * window.strides[side] - window.pads[side]
    return np.asarray(starts[:, None] + np.arange(kernel) * window.dilations[side])


def _largest(site: Site, image: Node, axis: int, taps: Array) -> Node:
    parts = []
    for rows in dict.fromkeys(tuple(column) for column in taps.T.tolist()):
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
    """Read AveragePool as a convolution with equal weights, scaled where a window has fewer values that count."""
    x = site.input(0)
    window, sides, places = _window(site, x)
    image = raised(site, x)
    pads, padded = list(window.pads), bool(site.integer("count_include_pad", 0))
    counts = []
    for side in (0, 1):
        n, k, s, d = image.shape[side + 2], sides[side], window.strides[side], window.dilations[side]
        before, after, count = pads[side], pads[side + 2], places[side]
        taps = _taps(window, side, k, count)
        low, high = (-before, n + after) if padded else (0, n)
        counts.append(((taps >= low) & (taps < high)).sum(axis=1))
        pads[side + 2] = max(after, (count - 1) * s + d * (k - 1) + 1 - n - before)
    window_counts = np.outer(counts[0], counts[1])
    if window_counts.min() < 1:
        raise Unsupported("a window lies outside the image")
    channels, most = image.shape[1], int(window_counts.max())
    kernel = np.full((channels, 1, *sides), 1 / most, np.float32)
    op = Conv(window.strides, (pads[0], pads[1], pads[2], pads[3]), window.dilations, channels)
    result = site.make(op, image, site.value(kernel))
    if result.shape[2:] != places:
        result = site.slice(site.slice(result, 2, 0, places[0]), 3, 0, places[1])
    if (window_counts != most).any():
        result = site.make(Mul(), result, site.value((most / window_counts).astype(np.float32)[None, None]))
    return lowered(site, result, window.flat)
