"""Transposition of a stored value: rows of ones select its channels, which meet its rows as computed operands.

One times q requantises to q, so the result is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import Access, Excess, Fields, Piece, Product, block_fields, row_fields, tiles
from edgewright.hw.views import StoredView


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposedProduct(Product):
    """Row r, channel c: the channel of row c of ``value`` that row r of ``source``, a constant, selects."""

    kind: ClassVar[str] = "transpose"
    value: StoredView
    selects: bool = True

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        return (self.value,)

    def loaded_part(self, view: StoredView, piece: Piece) -> StoredView:
        return view.part(piece.column, piece.columns)

    @property
    def depth(self) -> int:
        return self.source.columns

    def widest(self, config: EngineConfig) -> int:
        """Return how many rows of the value a bank of operands holds."""
        return config.operand_tiles // tiles(self.depth, config.ins) * config.outs

    def pieces(self, shape: tuple[int, int], config: EngineConfig) -> Iterator[Piece]:
        width = self.widest(config)
        yield from (Piece(0, shape[0], first, min(width, shape[1] - first)) for first in range(0, shape[1], width))

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        value, depth = self.loaded_part(self.value, piece), tiles(self.depth, config.ins)
        return row_fields(storage, self.source) | {
            "computed": 1,
            "leads": 1,
            "opd_heads": 1,
            "opd_column": WORD_BYTES,
            "opd_beats": 1,
            "opd_words": value.rows * depth,
            "key_pitch": storage.pitch(value),
            "key_address": storage.address(value),
            **block_fields(value.rows, config),
            "key_depth": depth,
            "n_jobs": jobs.count(tiles(piece.rows, config.tokens)),
            "outs0": tiles(value.rows, config.outs),
            "depth0": depth,
        }

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        if (depth := tiles(self.depth, config.ins)) > min(config.activation_tiles, config.operand_tiles):
            because = f"it transposes {self.depth:,} channels, which take {depth} tiles, the engine keeps"
            yield f"{because} {min(config.activation_tiles, config.operand_tiles)}", "use fewer channels, or compile for a CPU"

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        size = fields["key_depth"] * WORD_BYTES
        yield Access("keys", self.value.root, fields["key_address"], fields["n_keys"], fields["key_pitch"], size)
