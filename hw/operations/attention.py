"""Attention, one head per descriptor: the operands port reads its keys and values, the activations port its queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import Access, Excess, Fields, Product, block_fields, row_fields, tiles
from edgewright.hw.views import StoredView
from edgewright.passes.ops import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionProduct(Product):
    """Heads side by side; ``source`` holds the queries."""

    kind: ClassVar[str] = "attention"
    key: StoredView
    value: StoredView

    @property
    def op(self) -> Attention:
        """The operator in the graph."""
        assert isinstance(self.node.op, Attention)
        return self.node.op

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        return self.key, self.value

    @property
    def depth(self) -> int:
        return self.source.columns // self.op.heads

    def widest(self, config: EngineConfig) -> int:
        """Return the width of one head's values."""
        return self.value.columns // self.op.heads

    def fields(self, storage: Storage, config: EngineConfig, first: int, columns: int) -> Fields:
        width = self.depth
        column = first // columns * width
        query, key = (replace(view, column=view.column + column, columns=width) for view in (self.source, self.key))
        value = replace(self.value, column=self.value.column + first)
        key_tiles, key_depth = tiles(key.rows, config.outs), tiles(width, config.ins)
        value_blocks, value_depth = tiles(value.rows, config.ins), tiles(columns, config.lanes)
        return row_fields(storage, query) | {
            "attention": 1,
            "computed": 1,
            **self.group_fields(config, first // columns, columns),
            "opd_column": WORD_BYTES,
            "opd_beats": 1,
            "key_pitch": storage.pitch(key),
            "key_address": storage.address(key),
            "value_address": storage.address(value),
            **block_fields(key.rows, config),
            "key_depth": key_depth,
            "value_depth": value_depth,
            **jobs.order_fields(tiles(query.rows, config.tokens), config),
            "outs0": key_tiles,
            "depth0": key_depth,
            "outs1": tiles(columns, config.outs),
            "depth1": value_blocks,
            "base1": key_tiles * key_depth,
            "score_multiplier": self.op.score_multiplier,
            "score_shift": self.op.score_shift,
        }

    def group_fields(self, config: EngineConfig, head: int, width: int) -> Fields:
        """Return the fields that say whether a head's descriptor brings the operands of several: as many as a bank holds where
        they take longer to bring than to multiply, so that all come while they are computed; one head where it starts sooner.
        """
        keys = self.key.rows
        depth, values = tiles(self.depth, config.ins), tiles(width, config.lanes)
        each = self.head_tiles(config, width)
        few = tiles(self.source.rows, config.tokens) * each < keys * (depth + values)
        together = max(1, min(config.operand_tiles // each, self.op.heads)) if few and self.depth == width else 1
        if head % together:
            return {}
        heads = min(together, self.op.heads - head)
        words = heads * keys * (depth + values)
        return {"leads": 1, "opd_heads": heads, "head_bytes": width, "head_tiles": each, "opd_words": words}

    def head_tiles(self, config: EngineConfig, width: int) -> int:
        """Return the tiles of one head's keys and of its values, ``width`` channels."""
        keys = self.key.rows
        return tiles(keys, config.outs) * tiles(self.depth, config.ins) + tiles(width, config.outs) * tiles(keys, config.ins)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        width = self.widest(config)
        each = self.head_tiles(config, width)
        if tiles(self.key.rows, config.outs) > config.key_tiles:
            because = f"{self.key.rows:,} keys exceed {config.key_tiles * config.outs:,}"
            yield because, "use fewer tokens, or a board with more `key_tiles`"
        elif each > config.operand_tiles:
            because = f"keys and values of one head take {each:,} tiles, a bank of operands holds"
            yield f"{because} {config.operand_tiles:,}", "use narrower heads"

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        yield from super(AttentionProduct, self).accesses(fields)
        keys, pitch = fields["n_keys"], fields["key_pitch"]
        for what, view in (("key", self.key), ("value", self.value)):
            size = fields[f"{what}_depth"] * WORD_BYTES
            yield Access(f"{what}s", view.root, fields[f"{what}_address"], keys, pitch, size)
