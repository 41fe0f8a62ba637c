"""A sum over all tokens: a row of ones times the transposed rows, which the operands port reads as attention's values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import FEWER_TOKENS, Access, Excess, Fields, Piece, Product, block_fields, largest, tiles
from edgewright.hw.views import StoredView


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolProduct(Product):
    """The sum of all rows of ``source``."""

    kind: ClassVar[str] = "pool"

    @property
    def streamed(self) -> tuple[StoredView, ...]:
        return ()

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        return (self.source,)

    @property
    def depth(self) -> int:
        return self.source.rows

    def widest(self, config: EngineConfig) -> int:
        """See ``Product``; a field counts the tiles of values."""
        words = largest("value_depth") * config.lanes // config.outs
        return config.outs * max(1, min(config.operand_tiles // tiles(self.depth, config.ins), words))

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        view = replace(self.source, column=self.source.column + piece.column)
        blocks, words = tiles(view.rows, config.ins), tiles(piece.columns, config.lanes)
        return {
            "ones": 1,
            "computed": 1,
            "leads": 1,
            "opd_heads": 1,
            "opd_column": WORD_BYTES,
            "opd_beats": 1,
            "opd_words": view.rows * words,
            "value_pitch": storage.pitch(view),
            "value_address": storage.address(view),
            **block_fields(view.rows, config),
            "value_depth": words,
            "n_jobs": jobs.count(1),
            "outs0": tiles(piece.columns, config.outs),
            "depth0": blocks,
        }

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        blocks = min(largest("value_blocks"), config.activation_tiles, largest("depth0"))
        most = min(largest("n_keys"), config.ins * blocks)
        if self.source.rows > most:
            yield f"it sums {self.source.rows:,} tokens, the engine up to {most:,}", FEWER_TOKENS

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        size = fields["value_depth"] * WORD_BYTES
        yield Access("values", self.source.root, fields["value_address"], fields["n_keys"], fields["value_pitch"], size)
