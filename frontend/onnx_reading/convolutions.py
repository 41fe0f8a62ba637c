"""Readers of convolutions: two-dimensional ones, and one-dimensional ones as images of height 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.frontend.onnx_reading.site import Results, Site, Unsupported, reads
from edgewright.passes.ir import Node
from edgewright.passes.ops import Conv, ConvTranspose, value_of


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over an image (height, width): its attributes in two dimensions; `flat`: ONNX's has only one."""

    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, left, bottom, right
    flat: bool

    @staticmethod
    def of(site: Site, x: Node, kernel: tuple[int, ...]) -> Window:
        """Return the window of a node by its strides, dilations and explicit or automatic padding."""
        rank = len(x.shape) - 2
        if rank not in (1, 2) or len(kernel) != rank:
            raise Unsupported(f"only one- and two-dimensional ones are read, not {len(kernel)}-dimensional ones")
        strides = site.ints("strides") or (1,) * rank
        dilations = site.ints("dilations") or (1,) * rank
        pads = site.ints("pads") or (0,) * (2 * rank)
        mode = site.text("auto_pad", "NOTSET")
        if mode == "VALID":
            pads = (0,) * (2 * rank)
        elif mode in ("SAME_UPPER", "SAME_LOWER"):
            total = [
                max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
                for n, s, d, k in zip(x.shape[2:], strides, dilations, kernel, strict=True)
            ]
            small, large = [t // 2 for t in total], [t - t // 2 for t in total]
            pads = tuple(small + large) if mode == "SAME_UPPER" else tuple(large + small)
        if min(pads) < 0:
            raise Unsupported(f"negative padding {pads}")
        if not len(strides) == len(dilations) == rank or len(pads) != 2 * rank or min((*strides, *dilations)) < 1:
            raise Unsupported(f"strides {strides}, dilations {dilations} and pads {pads} do not fit {x.shape}")
        if rank == 1:
            return Window((1, strides[0]), (1, dilations[0]), (0, pads[0], 0, pads[1]), True)
        return Window((strides[0], strides[1]), (dilations[0], dilations[1]), (pads[0], pads[1], pads[2], pads[3]), False)


def raised(site: Site, x: Node) -> Node:
    """Return (batch, channels, length), or a kernel of that rank, as an image of height 1; images as they are."""
    return x if len(x.shape) != 3 else site.reshape(x, (*x.shape[:2], 1, x.shape[2]))


def lowered(site: Site, image: Node, flat: bool) -> Node:
    """Return the image without the height that `raised` added."""
    return site.reshape(image, (*image.shape[:2], image.shape[3])) if flat else image


@reads("Conv")
def read_conv(site: Site) -> Results:
    """Read Conv with explicit or automatic padding."""
    x, w = site.input(0), site.input(1)
    window = Window.of(site, x, w.shape[2:])
    op = Conv(window.strides, window.pads, window.dilations, site.integer("group", 1))
    return lowered(site, site.make(op, raised(site, x), raised(site, w), *_bias(site)), window.flat)


def _bias(site: Site) -> list[Node]:
    return [site.input(2)] if site.has(2) else []


@reads("ConvTranspose")
def read_conv_transpose(site: Site) -> Results:
    """Read ConvTranspose whose result's sides are multiples of the strides."""
    x, w = site.input(0), site.input(1)
    if any(d != 1 for d in site.ints("dilations") or ()):
        raise Unsupported("its kernel is dilated")
    if value_of(w) is None:
        raise Unsupported("its weights are computed at run time")
    if site.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or site.ints("output_shape") is not None:
        raise Unsupported("it asks for automatic padding", "export the model with explicit padding")
    window = Window.of(site, x, w.shape[2:])
    padding = site.ints("output_padding") or (0,) * (len(x.shape) - 2)
    extra = (0, padding[0]) if window.flat else padding
    image, kernel, pads = raised(site, x), raised(site, w), window.pads
    sides = zip(image.shape[2:], window.strides, kernel.shape[2:], extra, pads[:2], pads[2:], strict=True)
    size = [(n - 1) * stride + k + more - before - after for n, stride, k, more, before, after in sides]
    if min(size) < 1 or any(n % stride for n, stride in zip(size, window.strides, strict=True)):
        raise Unsupported(f"its result of {size[0]} x {size[1]} is not a multiple of its strides {window.strides}")
    op = ConvTranspose((size[0], size[1]), window.strides, (pads[0], pads[1]), site.integer("group", 1))
    return lowered(site, site.make(op, image, kernel, *_bias(site)), window.flat)


@reads("Col2Im")
def read_col2im(site: Site) -> Results:
    """Read Col2Im (torch's fold) as a ConvTranspose: each tap of a block is a channel whose kernel is 1 at that tap."""
    x, image, block = site.input(0), site.integers(1, "image shape"), site.integers(2, "block shape")
    if len(image) != 2 or len(block) != 2 or any(d != 1 for d in site.ints("dilations") or ()):
        raise Unsupported("only images are read, and blocks without dilation")
    strides, pads = site.ints("strides") or (1, 1), site.ints("pads") or (0, 0, 0, 0)
    taps = block[0] * block[1]
    ends = zip(image, pads[:2], pads[2:], block, strides, strict=True)
    places = [(n + before + after - k) // stride + 1 for n, before, after, k, stride in ends]
    if min((*image, *block, *strides)) < 1 or min(places) < 1 or min(pads) < 0:
        raise Unsupported(f"blocks of {block[0]} x {block[1]} do not fit an image of {image[0]} x {image[1]}")
    if x.type.rank != 3 or x.shape[1] % taps or x.shape[2] != places[0] * places[1]:
        raise Unsupported(f"its operand {x.shape} is not {places[0]} x {places[1]} blocks of {block[0]} x {block[1]}")
    kernel = np.tile(np.eye(taps, dtype=np.float32).reshape(taps, 1, *block), (x.shape[1] // taps, 1, 1, 1))
    whole = [-(-n // stride) * stride for n, stride in zip(image, strides, strict=True)]
    op = ConvTranspose((whole[0], whole[1]), (strides[0], strides[1]), (pads[0], pads[1]), x.shape[1] // taps)
    y = site.make(op, site.reshape(x, (*x.shape[:2], *places)), site.value(kernel))
    return site.slice(site.slice(y, 2, 0, image[0]), 3, 0, image[1])
