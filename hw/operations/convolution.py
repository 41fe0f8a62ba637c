"""Convolutions of stored maps: each token of the result is a pixel, its taps are pixels of the operand under the kernel.

A map is stored as rows of channels, a pixel a row. Pixels outside of it are read from a row of the padding's value. A group of
channels, or a few of them together, is a piece of its own, so that the array sees little more than the channels that meet.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.patches import exact_tokens
from edgewright.hw.operations.product import Excess, Fields, Integers, Piece, Taps, constant, largest, reciprocal, tiles
from edgewright.hw.operations.rows import WeightProduct, exceeding_taps
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Conv, PatchEmbed


@dataclass(frozen=True, slots=True)
class MapGeometry:
    """Of a convolution: kernel, strides, pads (top, left) and dilations along (y, x), and the sizes of the maps before and
    after.

    ``images``: maps one after the other. ``image_step``, ``line_step``, ``pixel_step``: rows of the stored value from one to
    the next."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int]
    dilations: tuple[int, int]
    size: tuple[int, int]
    result: tuple[int, int]
    images: int
    image_step: int
    line_step: int
    pixel_step: int

    @property
    def pixels(self) -> int:
        """Pixels of one map of the result."""
        return math.prod(self.result)

    @property
    def padded(self) -> bool:
        """Whether taps lie outside of the map."""
        reach = [
            (n - 1) * stride + (k - 1) * dilation - pad >= size
            for n, stride, k, dilation, pad, size in zip(
                self.result, self.strides, self.kernel, self.dilations, self.pads, self.size, strict=True
            )
        ]
        return any(self.pads) or any(reach)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvProduct(WeightProduct):
    """``weight`` (O, C / groups, KH, KW); ``source``: the map's first row and its channels; ``padding``: the constant row that
    stands for pixels outside, if there are any."""

    kind: ClassVar[str] = "conv"
    geometry: MapGeometry
    groups: int = 1
    padding: Node | None = None

    @property
    def constants(self) -> tuple[Node, ...]:
        return () if self.padding is None else (self.padding,)

    @property
    def group_outs(self) -> int:
        """Outputs of a group."""
        return len(self.weight) // self.groups

    def channels(self, piece: Piece) -> tuple[int, int]:
        """Return the first channel and the number of words of those that a piece reads."""
        ins = self.weight.shape[1]
        begin = piece.column // self.group_outs * ins
        end = ((piece.column + piece.columns - 1) // self.group_outs + 1) * ins
        low = begin // WORD_BYTES * WORD_BYTES
        return low, tiles(end - low, WORD_BYTES)

    @property
    def depth(self) -> int:
        words = max(self.channels(piece)[1] for piece in self.columns_of(len(self.weight), 0))
        return math.prod(self.geometry.kernel) * words * WORD_BYTES

    def columns_of(self, columns: int, widest: int) -> Iterator[Piece]:
        """Yield the pieces of the channels of one map: of groups, as few as fill ``lanes`` channels or ``outs``."""
        width = widest
        if self.groups > 1:
            width = math.lcm(self.group_outs, WORD_BYTES) if self.group_outs >= WORD_BYTES else 2 * WORD_BYTES
        yield from (Piece(0, 0, first, min(width or columns, columns - first)) for first in range(0, columns, width or columns))

    def pieces(self, shape: tuple[int, int], config: EngineConfig) -> Iterator[Piece]:
        pixels, columns = self.geometry.pixels, shape[1]
        widest = self.widest(config)
        width = tiles(tiles(columns, config.outs), tiles(columns, widest)) * config.outs
        for image in range(self.geometry.images):
            for part in self.columns_of(columns, width):
                yield Piece(image * pixels, pixels, part.column, part.columns)

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        shape, pitch = self.geometry, storage.layouts[self.source.root].pitch_bytes
        low, words = self.channels(piece)
        image = piece.row // shape.pixels
        line, pixel = shape.line_step * pitch, shape.pixel_step * pitch
        begin = storage.address(self.source) + low + image * shape.image_step * pitch
        (kh, kw), (top, left) = shape.kernel, shape.pads
        fields = {
            "act_address": (begin - top * line - left * pixel) % ADDRESSES,
            "act_planes": kh,
            "act_rows": kw,
            "act_beats": words,
            "grid_recip": reciprocal(shape.result[1]),
            "grid_width": shape.result[1],
            "stride_row": shape.strides[0] * line,
            "stride_col": shape.strides[1] * pixel,
            "stride_plane": shape.dilations[0] * line,
            "stride_line": shape.dilations[1] * pixel,
            "act_words": piece.rows * kh * kw * words,
        }
        if self.padding is not None:
            fields |= {
                "padded": 1,
                "pad_address": storage.addresses[self.padding],
                "pad_top": top,
                "pad_left": left,
                "step_y": shape.strides[0].bit_length() - 1,
                "step_x": shape.strides[1].bit_length() - 1,
                "in_height": shape.size[0],
                "in_width": shape.size[1],
            }
        depth = kh * kw * tiles(words * WORD_BYTES, config.ins)
        outs = tiles(piece.columns, config.outs)
        rows = tiles(piece.rows, config.tokens)
        return fields | {"const_tiles": outs * depth, "n_jobs": rows, "outs0": outs, "depth0": depth}

    def weight_tiles(self, config: EngineConfig, piece: Piece) -> bytes:
        low, words = self.channels(piece)
        kernel = math.prod(self.geometry.kernel)
        ins = self.weight.shape[1]
        dense = np.zeros((piece.columns, kernel, words * WORD_BYTES), np.int64)
        outputs = np.arange(piece.columns)
        first = (piece.column + outputs) // self.group_outs * ins - low
        taps = self.weight[piece.column : piece.column + piece.columns].reshape(piece.columns, ins, kernel)
        for channel in range(ins):
            dense[outputs, :, first + channel] = taps[:, channel]
        return blobs.weight_tiles(dense.reshape(piece.columns, -1), config.outs, config.ins).tobytes()

    def block_rows(self, first: int, end: int) -> Integers:
        shape = self.geometry
        image, pixel = divmod(np.arange(first, min(end, shape.images * shape.pixels)), shape.pixels)
        top = pixel // shape.result[1] * shape.strides[0] - shape.pads[0]
        taps = np.arange(shape.kernel[0]) * shape.dilations[0]
        lines = np.unique(image[:, None] * shape.size[0] + np.clip(top[:, None] + taps, 0, shape.size[0] - 1))
        begin = self.source.row + lines // shape.size[0] * shape.image_step + lines % shape.size[0] * shape.line_step
        rows: Integers = (begin[:, None] + np.arange(shape.size[1]) * shape.pixel_step).reshape(-1)
        return rows

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        shape = self.geometry
        if (depth := tiles(self.depth, config.ins)) > config.activation_tiles:
            because = f"the pixels under its kernel take {depth} tiles of {config.ins} channels, the activation buffer holds"
            yield f"{because} {config.activation_tiles}", "use a smaller kernel or fewer channels, or compile for a CPU"
        else:
            yield from self.exceeding_weights(config)
        yield from exceeding_taps(Taps(*shape.kernel))
        if shape.result[1] > largest("grid_width"):
            yield f"its result is {shape.result[1]:,} pixels wide, the engine counts up to {largest('grid_width'):,}", SMALLER
        elif shape.pixels > (exact := exact_tokens(shape.result[1])):
            yield f"its result has {shape.pixels:,} pixels, and the engine locates the first {exact:,} only", SMALLER
        if self.padding is not None and max(shape.pads) > largest("pad_top"):
            yield f"it pads by {max(shape.pads)} pixels, the engine by up to {largest('pad_top')}", SMALLER


ADDRESSES = 1 << 40
"""Addresses wrap: the first tap of a padded map may lie before all memory."""
SMALLER = "use smaller maps, or compile for a CPU"


def kernel_of(node: Node) -> Integers:
    """Return the weights of a convolution, or of patches, as (O, C / groups, KH, KW)."""
    weight = constant(node.inputs[1])
    if isinstance(node.op, PatchEmbed):
        return weight.reshape(len(weight), -1, node.op.patch, node.op.patch)
    return weight


def geometry_of(node: Node, x: Node, kernel: Integers, rows: Integers) -> MapGeometry | None:
    """Return the geometry of a convolution of ``x`` whose pixels are ``rows`` of a stored value; None if these are not evenly
    spaced along each axis."""
    images, _, height, width = x.shape
    numbers = rows.reshape(images, height, width)
    steps = [int(numbers.take(1, axis).flat[0] - numbers.flat[0]) if numbers.shape[axis] > 1 else 0 for axis in range(3)]
    even = numbers.flat[0] + sum(step * at for step, at in zip(steps, np.indices(numbers.shape), strict=True))
    if min(steps) < 0 or not np.array_equal(numbers, even):
        return None
    size = height, width
    op = node.op
    if isinstance(op, PatchEmbed):
        patch = op.patch, op.patch
        result = height // op.patch, width // op.patch
        return MapGeometry(patch, patch, (0, 0), (1, 1), size, result, images, *steps)
    assert isinstance(op, Conv)
    result = node.shape[2], node.shape[3]
    return MapGeometry(kernel.shape[2:], op.strides, op.pads[:2], op.dilations, size, result, images, *steps)
