"""Rows that go past the array: changes of scale, sums and products of two stored values, LayerNorm alone, copies in any order,
sums over rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import Excess, Fields, Integers, Piece, Product, largest, row_fields, row_list, tiles
from edgewright.hw.operations.rows import exceeding_norm, norm_fields, norm_params
from edgewright.hw.views import StoredView
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT16


@dataclass(frozen=True, slots=True)
class SummedRows:
    """Each row of a result is the sum of ``count`` rows of a view, ``step`` apart: the first one from row ``first`` on, the
    next ones ``apart``."""

    first: int
    apart: int
    count: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectProduct(Product):
    """Rows of a stored value as they are, or normalised by ``layer_norm``, or ``summed``. ``factors``: the elementwise product
    of which they are one factor."""

    kind: ClassVar[str] = "direct"
    passes: ClassVar[bool] = True
    layer_norm: Node | None = None
    summed: SummedRows | None = None
    factors: Node | None = None
    selects: bool = True

    @property
    def read_in_order(self) -> tuple[StoredView, ...]:
        return (self.source,) if self.summed is None else ()

    @property
    def norm(self) -> Node | None:
        return self.layer_norm

    @property
    def depth(self) -> int:
        return 0

    def widest(self, config: EngineConfig) -> int:
        return largest("param_entries") * config.lanes

    def pieces(self, shape: tuple[int, int], config: EngineConfig) -> Iterator[Piece]:
        """Yield as few pieces as the engine's parameters of channels allow."""
        width = config.param_window * config.lanes
        yield from (Piece(0, shape[0], first, min(width, shape[1] - first)) for first in range(0, shape[1], width))

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        element_bytes = storage.layouts[self.source.root].element_bytes
        view = self.source
        if self.layer_norm is None:
            view = replace(view, column=view.column + piece.column, columns=piece.columns)
        words = tiles(piece.columns, config.lanes)
        fields = row_fields(storage, view) | norm_fields(self.layer_norm, 2 * tiles(view.columns, WORD_BYTES), config)
        fields |= {
            "direct": 1,
            "single": 1,
            "direct_tiles": piece.rows * words,
            "direct_taps": 1,
            "direct_wide": int(element_bytes == 2 and self.layer_norm is None),
        }
        if self.layer_norm is not None:
            fields["norm_wide"] = int(self.layer_norm.elem == INT16)
        if (summed := self.summed) is not None:  # a word of channels after the other, of each all rows
            fields |= {
                "act_address": storage.address(view) + summed.first * storage.pitch(view),
                "stride_row": summed.apart * storage.pitch(view),
                "act_planes": words,
                "stride_plane": element_bytes * config.lanes,
                "act_rows": summed.count,
                "stride_line": summed.step * storage.pitch(view),
                "act_beats": element_bytes,
                "act_words": piece.rows * summed.count * words * element_bytes,
                "direct_taps": summed.count,
            }
        return fields

    def listed(self, storage: Storage, piece: Piece) -> bytes:
        return row_list(storage, self.source)

    def block_rows(self, first: int, end: int) -> Integers:
        if (summed := self.summed) is None:
            return self.source.row_numbers[first:end]
        begins = summed.first + summed.apart * np.arange(first, end)
        rows: Integers = self.source.row_numbers[(begins[:, None] + summed.step * np.arange(summed.count)).reshape(-1)]
        return rows

    def fetched(self, fields: Mapping[str, int], piece: Piece, config: EngineConfig) -> list[Integers]:
        if self.summed is not None:
            return super(DirectProduct, self).fetched(fields, piece, config)
        return list(self.source.row_numbers[piece.row : piece.row + piece.rows, None])

    def norm_params(self, config: EngineConfig) -> bytes:
        return norm_params(self.layer_norm, config)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        yield from exceeding_norm(self.layer_norm, config)
        if self.layer_norm is not None and self.layer_norm.shape[-1] > config.param_window * config.lanes:
            yield f"LayerNorm over {self.layer_norm.shape[-1]} channels", "use a narrower layer"
        if self.summed is not None and self.summed.count > (most := largest("act_rows")):
            yield f"it sums {self.summed.count:,} rows, the engine up to {most:,}", "use fewer tokens, or compile for a CPU"

    def bias_of(self, first: int, columns: int) -> Integers:
        return np.zeros(columns, np.int64)
