"""Copies of rows of words: what constants a joined value holds, and inputs that are read piece by piece to on-chip memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage, layout
from edgewright.hw.operations.product import Excess, Fields, Integers, Product, constant, largest, reciprocal, tiles
from edgewright.hw.views import rows_columns
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Constant
from numpy.typing import NDArray

RUN_WORDS = 64
"""Rows without padding between them are copied together, in runs of up to so many words: four bursts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyProduct(Product):
    """All rows of a stored value, as they are, past the array. ``contiguous``: nothing is between the rows where they go."""

    kind: ClassVar[str] = "copy"
    copies: ClassVar[bool] = True
    contiguous: bool = False

    @property
    def depth(self) -> int:
        return 0

    def widest(self, config: EngineConfig) -> int:
        return self.source.columns

    def fields(self, storage: Storage, config: EngineConfig, first: int, columns: int) -> Fields:
        together = self.together
        rows, words = self.source.rows // together, self.row_words * together
        pitch = {"out_pitch": words * WORD_BYTES} if self.contiguous else {}
        return pitch | {
            "copy": 1,
            "n_tokens": rows,
            "n_blocks": tiles(rows, config.tokens),
            "act_address": storage.address(self.source),
            "act_planes": 1,
            "act_rows": 1,
            "act_beats": words,
            "grid_recip": reciprocal(1),
            "grid_width": 1,
            "stride_row": words * WORD_BYTES,
            "act_words": rows * words,
            "out_tiles": words,
            "out16": 0,
            "param_entries": 0,
        }

    @property
    def row_words(self) -> int:
        """Memory words of a row."""
        return layout(self.source.root).pitch_bytes // WORD_BYTES

    @property
    def together(self) -> int:
        """Rows that are copied as one."""
        most = RUN_WORDS // self.row_words if self.contiguous else 1
        return max((n for n in range(1, most + 1) if self.source.rows % n == 0), default=1)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        if self.row_words > (most := largest("out_tiles")):
            yield f"a row of it takes {self.row_words:,} memory words, the engine copies up to {most:,}", "join narrower parts"

    def expected(self, values: Mapping[Node, Array]) -> Integers:
        """Return what is copied, (rows, columns). ``values`` holds every node's value."""
        root = self.source.root
        value = constant(root) if isinstance(root.op, Constant) else np.asarray(values[root], dtype=np.int64)
        return value.reshape(rows_columns(root))

    def integers(self, words: NDArray[np.uint8]) -> Integers:
        """Return the integers, (rows, columns), of words (n, WORD_BYTES) in the order in which they are copied."""
        elements = words.reshape(-1).copy().view(f"<i{layout(self.source.root).element_bytes}").astype(np.int64)
        return elements.reshape(self.source.rows, -1)[:, : self.source.columns]
