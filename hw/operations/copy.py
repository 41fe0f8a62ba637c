"""Copies of words past the array: rows that constants give a joined value, and images that are read patch by patch.

An image is stored as planes of lines. Its copy has the lines of one row of patches together, so that the first patches can be
read while the rest of the image is still on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage, layout
from edgewright.hw.operations.product import Access, Excess, Fields, Integers, Piece, Product, constant, largest
from edgewright.hw.views import StoredView, matrix
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Constant
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyProduct(Product):
    """All rows of a stored value, as they are, a row a token."""

    kind: ClassVar[str] = "copy"
    copies: ClassVar[bool] = True

    @property
    def depth(self) -> int:
        return 0

    def widest(self, config: EngineConfig) -> int:
        return self.source.columns

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        return self.token_fields(storage, self.source.rows, 1, 1)

    def token_fields(self, storage: Storage, tokens: int, planes: int, lines: int) -> Fields:
        """Return the fields of a copy whose tokens are runs of ``lines`` adjacent rows, one of each of ``planes``."""
        pitch = storage.layouts[self.source.root].pitch_bytes
        words = planes * lines * self.row_words
        return {
            "copy": 1,
            "opd_heads": 1,
            "n_tokens": tokens,
            "n_blocks": tokens,  # each row is a block
            "value_address": storage.address(self.source),
            "value_blocks": tokens,
            "value_depth": planes,
            "value_pitch": lines * pitch,
            "n_keys": tokens,
            "opd_beats": lines * self.row_words,
            "opd_words": tokens * words,
            "out_tiles": words,
            "out16": 0,
            "param_entries": 0,
        }

    @property
    def row_words(self) -> int:
        """Memory words of a row."""
        return layout(self.source.root).pitch_bytes // WORD_BYTES

    @property
    def streamed(self) -> tuple[StoredView, ...]:
        return ()

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        return (self.source,)

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        size = fields["opd_beats"] * WORD_BYTES
        yield Access("values", self.source.root, fields["value_address"], fields["n_keys"], fields["value_pitch"], size)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        if self.source.rows > (most := largest("value_blocks")):
            yield f"it has {self.source.rows:,} rows, the engine copies up to {most:,}", "join fewer rows"
        if self.row_words > (most := largest("out_tiles")):
            yield f"a row of it takes {self.row_words:,} memory words, the engine copies up to {most:,}", "join narrower parts"

    def expected(self, values: Mapping[Node, Array]) -> Integers:
        """Return what is copied, (rows, columns). ``values`` holds every node's value."""
        root = self.source.root
        value = constant(root) if isinstance(root.op, Constant) else np.asarray(values[root], dtype=np.int64)
        return matrix(root, value)

    def integers(self, words: NDArray[np.uint8]) -> Integers:
        """Return the integers, (rows, columns), of words (n, WORD_BYTES) in the order in which they are copied."""
        return self.lines_of(words)[:, : self.source.columns]

    def lines_of(self, words: NDArray[np.uint8]) -> Integers:
        """Return the integers of words, a row a line of the source with its padding."""
        elements = words.reshape(-1).copy().view(f"<i{layout(self.source.root).element_bytes}").astype(np.int64)
        return elements.reshape(-1, self.row_words * WORD_BYTES // layout(self.source.root).element_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageProduct(CopyProduct):
    """The lines of an image that its patches of ``patch`` lines use, a row of patches a token."""

    patch: int

    @property
    def patch_rows(self) -> int:
        """Rows of patches."""
        return self.source.root.shape[2] // self.patch

    @property
    def planes(self) -> int:
        """Planes of the image."""
        return self.source.root.shape[1]

    @property
    def token_words(self) -> int:
        """Memory words of a row of patches."""
        return self.planes * self.patch * self.row_words

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        height, pitch = self.source.root.shape[2], storage.layouts[self.source.root].pitch_bytes
        return self.token_fields(storage, self.patch_rows, self.planes, self.patch) | {
            "opd_column": height * pitch,
            "out_pitch": self.token_words * WORD_BYTES,
        }

    def row_tokens(self, rows: int) -> Integers:
        """Return the row of patches of each line; the last one for lines that no patch uses."""
        line = np.arange(rows) % self.source.root.shape[2]
        return np.minimum(line // self.patch, self.patch_rows - 1)

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        """Yield all lines as one access."""
        size = self.row_words * WORD_BYTES
        yield Access("values", self.source.root, fields["value_address"], self.source.rows, size, size)

    def expected(self, values: Mapping[Node, Array]) -> Integers:
        lines = super(ImageProduct, self).expected(values).reshape(self.planes, -1, self.source.columns)
        return lines[:, : self.patch_rows * self.patch].reshape(-1, self.source.columns)

    def integers(self, words: NDArray[np.uint8]) -> Integers:
        lines = self.lines_of(words)[:, : self.source.columns]
        by_plane = lines.reshape(self.patch_rows, self.planes, self.patch, -1).transpose(1, 0, 2, 3)
        return by_plane.reshape(-1, self.source.columns)
