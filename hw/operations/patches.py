"""Patches of the input image times constant weights: each line of a patch is fetched by its address, padded to one word."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import Excess, Fields, Integers, Piece, largest, reciprocal, tiles
from edgewright.hw.operations.rows import WeightProduct
from edgewright.passes.ops import PatchEmbed


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchProduct(WeightProduct):
    """Square patches of an image, whose planes are stored as the host writes them, or, ``copied``, of a copy that has the lines
    of one row of patches together."""

    kind: ClassVar[str] = "patch"
    copied: bool = False

    @property
    def patch(self) -> int:
        """Pixels along one side of a patch."""
        assert isinstance(self.node.op, PatchEmbed)
        return self.node.op.patch

    @property
    def channels(self) -> int:
        """Planes of the image."""
        return self.source.root.shape[1]

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of patches."""
        height, width = self.source.root.shape[2:]
        return height // self.patch, width // self.patch

    @property
    def depth(self) -> int:
        return self.channels * self.patch * WORD_BYTES

    def weight_of(self, first: int, columns: int) -> Integers:
        return blobs.patch_weight(self.weight[first : first + columns], self.channels, self.patch)

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        patch, (rows, grid) = self.patch, self.grid
        pitch = storage.pitch(self.source)
        straddle = any((column * patch) % WORD_BYTES + patch > WORD_BYTES for column in range(grid))
        return {
            "patch": 1,
            "straddle": int(straddle),
            "act_address": storage.address(self.source),
            "act_planes": self.channels,
            "act_rows": patch,
            "act_beats": 1 + straddle,
            "grid_recip": reciprocal(grid),
            "grid_width": grid,
            "stride_row": patch * pitch * (self.channels if self.copied else 1),
            "stride_col": patch,
            "stride_plane": (patch if self.copied else self.source.root.shape[2]) * pitch,
            "stride_line": pitch,
            "act_words": rows * grid * self.channels * patch * (1 + straddle),
        } | self.tile_fields(config, piece.columns, rows * grid)

    def block_rows(self, first: int, end: int) -> Integers:
        height, grid = self.source.root.shape[2], self.grid[1]
        begin, lines = first // grid * self.patch, tiles(min(end, self.grid[0] * grid), grid) * self.patch
        return (np.arange(self.channels)[:, None] * height + np.arange(begin, lines)).reshape(-1)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        patch, channels, (rows, grid) = self.patch, self.channels, self.grid
        if patch > WORD_BYTES:
            yield f"patches are {patch} wide", f"the engine cuts patches of up to {WORD_BYTES} x {WORD_BYTES}"
        if channels > largest("act_planes"):
            yield f"its image has {channels} planes, the engine reads up to {largest('act_planes')}", "use fewer planes"
        elif channels * patch > config.activation_tiles:
            yield (
                f"the lines of one patch take {channels * patch} tiles, the activation buffer holds {config.activation_tiles}",
                "use smaller patches or fewer planes",
            )
        else:
            yield from self.exceeding_weights(config)
        if grid > largest("grid_width"):
            yield f"it has {grid:,} patches in a row, the engine up to {largest('grid_width'):,}", "use larger patches"
        elif rows * grid > (exact := exact_tokens(grid)):
            yield (
                f"its image has {rows} x {grid} patches, and with {grid} in a row the engine locates the first {exact:,} only",
                "use larger patches or a smaller image, or compile for a CPU",
            )


@cache
def exact_tokens(grid: int) -> int:
    """Return how many tokens of a grid, from the first one on, the reciprocal assigns to their row."""
    token = np.arange(largest("n_tokens") + 2)
    wrong = (token * reciprocal(grid)) >> RECIPROCAL_BITS != token // grid
    return int(wrong.argmax()) if wrong.any() else len(token)
