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
from edgewright.hw.blocks.operation import WEIGHT_PORTS
from edgewright.hw.blocks.weights import BIAS_ROWS, bias_words
from edgewright.hw.host_part import bias_bytes
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
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionProduct(Product):
    """Heads side by side, in ``windows`` of tokens one after the other; ``source`` holds the queries.

    ``bias`` (kinds, heads, queries, keys): what is added to scores, of each kind of window, in ``kind_of`` (windows,). None:
    nothing. ``mask``: instead of it, biases (keys,) that the host computes, for all windows, heads and queries. ``tables``: the
    stored biases of each kind and head.
    """

    kind: ClassVar[str] = "attention"
    key: StoredView
    value: StoredView
    windows: int = 1
    bias: Integers | None = None
    kind_of: tuple[int, ...] = ()
    mask: Node | None = None
    tables: tuple[tuple[Node, ...], ...] = ()

    @property
    def op(self) -> Attention:
        """The operator in the graph."""
        assert isinstance(self.node.op, Attention)
        return self.node.op

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        return self.key, self.value

    @property
    def constants(self) -> tuple[Node, ...]:
        return tuple(dict.fromkeys(node for heads in self.tables for node in heads))

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
        for head in range(self.op.heads):
            for window in self.window_order:
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
            **self.bias_fields(storage, config, head, window),
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

    def shares_biases(self, kind: int, head: int) -> bool:
        """Return whether all queries have the same biases."""
        return self.bias is None or bool((self.bias[kind, head] == self.bias[kind, head, :1]).all())

    def bias_tiles(self, config: EngineConfig, kind: int, head: int) -> int:
        """Return the entries of the score biases of a kind of window and head."""
        blocks = 1 if self.shares_biases(kind, head) else tiles(self.queries, config.tokens) * (config.tokens // BIAS_ROWS)
        return blocks * tiles(self.keys, config.outs)

    def bias_of_scores(self, config: EngineConfig, kind: int, head: int) -> Integers:
        """Return the bytes of the biases of a kind of window and head."""
        assert self.bias is not None
        table = self.bias[kind, head]
        table = table[:1] if self.shares_biases(kind, head) else table
        return bias_bytes(table, BIAS_ROWS, config.outs, config.tokens // BIAS_ROWS if len(table) > 1 else 1)

    def bias_fields(self, storage: Storage, config: EngineConfig, head: int, window: int) -> Fields:
        """Return the fields of score biases. Those that one descriptor after the other reads are loaded once, if they fit."""
        if not self.tables:
            return {}
        order = [(h, w) for h in range(self.op.heads) for w in self.window_order]
        position = order.index((head, window))
        table = self.table_of(head, window)
        kind = self.kind_of[window]
        entries = self.bias_tiles(config, kind, head)
        kept = entries <= config.bias_window
        before, after = position - 1, position + 1
        fresh = not kept or position == 0 or self.table_of(*order[before]) is not table
        free = not kept or after == len(order) or self.table_of(*order[after]) is not table
        fields = {
            "biased": 1,
            "bias_shared": int(self.shares_biases(kind, head)),
            "bias_kept": int(kept),
            "bias_fresh": int(fresh),
            "bias_free": int(free),
        }
        if fresh:
            fields |= {
                "bias_address": storage.addresses[table],
                "bias_beats": entries * bias_words(config) // WEIGHT_PORTS,
                "bias_entries": entries,
            }
        return fields

    def table_of(self, head: int, window: int) -> Node:
        """Return the stored biases of a head and window."""
        return self.tables[self.kind_of[window]][head]

    @property
    def window_order(self) -> list[int]:
        """The windows, those that share score biases one after the other."""
        return list(range(self.windows)) if self.bias is None else np.argsort(self.kind_of, kind="stable").tolist()

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
        elif self.tables and (most := self.bias_tiles(config, 0, 0)) > largest("bias_entries"):
            because = f"the score biases of one head take {most:,} entries, the engine counts up to"
            yield f"{because} {largest('bias_entries'):,}", "use fewer tokens"

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        keys = fields["n_keys"]
        for what, view in (("key", self.key), ("value", self.value)):
            size = fields[f"{what}_depth"] * WORD_BYTES
            yield Access(f"{what}s", view.root, fields[f"{what}_address"], keys, fields[f"{what}_pitch"], size)
