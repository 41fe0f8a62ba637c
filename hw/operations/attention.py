"""Attention, a descriptor for each head and window: the operands port reads its keys and values, the activations port its
queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.weights import BIAS_ROWS
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import (
    Access,
    Excess,
    Fields,
    Integers,
    Piece,
    Product,
    block_fields,
    largest,
    row_fields,
    row_list,
    tiles,
)
from edgewright.hw.views import StoredView
from edgewright.passes.ops import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionProduct(Product):
    """Heads side by side, in ``windows`` of tokens one after the other; ``source`` holds the queries.

    ``bias`` (kinds, heads, queries, keys): what is added to scores, of each kind of window, in ``kind_of`` (windows,). None:
    nothing.
    """

    kind: ClassVar[str] = "attention"
    key: StoredView
    value: StoredView
    windows: int = 1
    bias: Integers | None = None
    kind_of: tuple[int, ...] = ()

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

    @property
    def width(self) -> int:
        """Channels of one head's values."""
        return self.value.columns // self.op.heads

    @property
    def queries(self) -> int:
        """Queries of a window."""
        return self.source.rows // self.windows

    @property
    def keys(self) -> int:
        """Keys of a window."""
        return self.key.rows // self.windows

    def loaded_part(self, view: StoredView, piece: Piece) -> StoredView:
        return view.part(piece.row // self.queries * self.keys, self.keys)

    def widest(self, config: EngineConfig) -> int:
        return self.width

    def pieces(self, shape: tuple[int, int], config: EngineConfig) -> Iterator[Piece]:
        """Yield a piece for each head and window; windows that share score biases follow each other."""
        order = range(self.windows) if self.bias is None else np.argsort(self.kind_of, kind="stable").tolist()
        for head in range(self.op.heads):
            for window in order:
                yield Piece(window * self.queries, self.queries, head * self.width, self.width)

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        depth, head, window = self.depth, piece.column // self.width, piece.row // self.queries
        query, key, value = (
            view.part(window * rows, rows)
            for view, rows in ((self.source, self.queries), (self.key, self.keys), (self.value, self.keys))
        )
        query, key = (replace(view, column=view.column + head * depth, columns=depth) for view in (query, key))
        value = replace(value, column=value.column + piece.column)
        key_tiles, key_depth = tiles(key.rows, config.outs), tiles(depth, config.ins)
        value_blocks, value_depth = tiles(value.rows, config.ins), tiles(piece.columns, config.lanes)
        return row_fields(storage, query) | {
            "attention": 1,
            "computed": 1,
            **self.group_fields(config, head),
            "opd_column": WORD_BYTES,
            "opd_beats": 1,
            "key_pitch": storage.pitch(key),
            "value_pitch": storage.pitch(value),
            "key_address": storage.address(key),
            "value_address": storage.address(value),
            **block_fields(key.rows, config),
            "key_depth": key_depth,
            "value_depth": value_depth,
            **jobs.order_fields(tiles(query.rows, config.tokens), config),
            "outs0": key_tiles,
            "depth0": key_depth,
            "outs1": tiles(piece.columns, config.outs),
            "depth1": value_blocks,
            "base1": key_tiles * key_depth,
            "score_multiplier": self.op.score_multiplier,
            "score_shift": self.op.score_shift,
            **self.bias_fields(config, window),
        }

    def group_fields(self, config: EngineConfig, head: int) -> Fields:
        """Return the fields that say whether a head's descriptor brings the operands of several: as many as a bank holds where
        they take longer to bring than to multiply, so that all come while they are computed; one head where it starts sooner.
        """
        keys, width = self.keys, self.width
        depth, values = tiles(self.depth, config.ins), tiles(width, config.lanes)
        each = self.head_tiles(config)
        few = tiles(self.queries, config.tokens) * each < keys * (depth + values)
        grouped = few and self.depth == width and self.windows == 1
        together = max(1, min(config.operand_tiles // each, self.op.heads)) if grouped else 1
        if head % together:
            return {}
        heads = min(together, self.op.heads - head)
        words = heads * keys * (depth + values)
        return {"leads": 1, "opd_heads": heads, "head_bytes": width, "head_tiles": each, "opd_words": words}

    def head_tiles(self, config: EngineConfig) -> int:
        """Return the tiles of one head's keys and of its values."""
        keys = self.keys
        return tiles(keys, config.outs) * tiles(self.depth, config.ins) + tiles(self.width, config.outs) * tiles(
            keys, config.ins
        )

    # ---- score biases

    def bias_tiles(self, config: EngineConfig) -> int:
        """Return the entries of the score biases of a head and window."""
        return tiles(self.queries, config.tokens) * (config.tokens // BIAS_ROWS) * tiles(self.keys, config.outs)

    def keeps_biases(self, config: EngineConfig) -> bool:
        """Return whether the engine keeps the biases of one head for all windows of a kind."""
        return self.bias_tiles(config) <= config.bias_window

    def bias_fields(self, config: EngineConfig, window: int) -> Fields:
        """Return the fields of score biases: windows of one kind share them where the engine can keep them."""
        if self.bias is None:
            return {}
        alike = [w for w in range(self.windows) if self.kind_of[w] == self.kind_of[window]]
        kept = self.keeps_biases(config)
        fresh, free = not kept or window == alike[0], not kept or window == alike[-1]
        entries = self.bias_tiles(config) if fresh else 0
        return {
            "biased": 1,
            "bias_kept": int(kept),
            "bias_fresh": int(fresh),
            "bias_free": int(free),
            "bias_entries": entries,
        }

    def biases(self, config: EngineConfig, piece: Piece) -> bytes:
        """Return biases in the order in which scores come: blocks of queries, tiles of keys, ``BIAS_ROWS`` queries."""
        if self.bias is None or not self.bias_fields(config, window := piece.row // self.queries)["bias_fresh"]:
            return b""
        table = self.bias[self.kind_of[window], piece.column // self.width]
        blocks, outs = tiles(self.queries, config.tokens), tiles(self.keys, config.outs)
        full = np.zeros((blocks * config.tokens, outs * config.outs), "<i4")
        full[: self.queries, : self.keys] = table
        split = full.reshape(blocks, config.tokens // BIAS_ROWS, BIAS_ROWS, outs, config.outs)
        return np.ascontiguousarray(split.transpose(0, 3, 1, 2, 4)).tobytes()

    def listed(self, storage: Storage, piece: Piece) -> bytes:
        return row_list(storage, self.source.part(piece.row, piece.rows))

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        each = self.head_tiles(config)
        if tiles(self.keys, config.outs) > config.key_tiles:
            because = f"{self.keys:,} keys exceed {config.key_tiles * config.outs:,}"
            yield because, "use fewer tokens, or a board with more `key_tiles`"
        elif each > config.operand_tiles:
            because = f"keys and values of one head take {each:,} tiles, a bank of operands holds"
            yield f"{because} {config.operand_tiles:,}", "use narrower heads"
        elif self.bias is not None and self.bias_tiles(config) > largest("bias_entries"):
            because = f"the score biases of one head take {self.bias_tiles(config):,} entries, the engine counts up to"
            yield f"{because} {largest('bias_entries'):,}", "use fewer tokens"

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        keys = fields["n_keys"]
        for what, view in (("key", self.key), ("value", self.value)):
            size = fields[f"{what}_depth"] * WORD_BYTES
            yield Access(f"{what}s", view.root, fields[f"{what}_address"], keys, fields[f"{what}_pitch"], size)
