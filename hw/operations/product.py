"""The product at the core of a fused operation: what one descriptor of it computes, reads, needs and may not exceed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS, WEIGHT_PORTS
from edgewright.hw.blocks.weights import ROW_BITS
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.views import Index, StoredView, rows_columns
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import Constant
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Fields = dict[str, int]
"""Values of a descriptor's fields."""
Excess = tuple[str, str]
"""What exceeds which limit, and what to do instead."""
FEWER_TOKENS = "use fewer tokens, or compile for a CPU"
ENTRIES = WEIGHT_PORTS * WORD_BYTES * 8 // ROW_BITS
"""Entries of a list of rows that come at a time."""
IDENTITY = (1 << 15, 15)
"""Multiplier and shift of a requantisation by 1."""


@dataclass(frozen=True, slots=True)
class Access:
    """``rows`` runs of ``size`` bytes, ``pitch`` apart, from ``address`` on. ``owner``: the value that must contain them."""

    what: str
    owner: Node
    address: int
    rows: int
    pitch: int
    size: int

    @property
    def words(self) -> int:
        """Memory words of all runs."""
        return self.rows * -(-self.size // WORD_BYTES)

    @property
    def end(self) -> int:
        """First address after the last run."""
        return self.address + (self.rows - 1) * self.pitch + self.size


@dataclass(frozen=True, slots=True)
class Piece:
    """What one descriptor computes of a result: ``rows`` from ``row`` on, ``columns`` from ``column`` on."""

    row: int
    rows: int
    column: int
    columns: int


@dataclass(frozen=True, slots=True)
class Scale:
    """The factors, one per channel, that requantise a product; ``node`` holds them in the graph."""

    node: Node
    multiplier: Integers
    shift: Integers
    zero_point: int = 0

    @classmethod
    def one(cls, node: Node, count: int) -> Scale:
        """Return a factor of 1 for each of ``count`` channels."""
        return cls(node, np.full(count, IDENTITY[0], np.int64), np.full(count, IDENTITY[1], np.int64))

    @classmethod
    def of(cls, node: Node, columns: Index, zero_point: int) -> Scale:
        """Return the factors of a Requantise ``node`` for some of its channels; 0 for channels that are zeros (-1)."""
        factors = []
        for operand in node.inputs[1:]:
            values = constant(operand).reshape(-1)
            full = np.full(len(columns), values[0]) if len(values) == 1 else values[columns]
            factors.append(np.where(columns < 0, 0, full))
        return cls(node, factors[0], factors[1], zero_point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(ABC):
    """What the array computes of one operation.

    ``node``: the graph's product. ``source``: the value whose rows (or patches) are its tokens. ``selects``: it has no products
    of the model itself. ``copies``: it is a copy of words; ``passes``: rows go past the array.
    """

    kind: ClassVar[str]
    copies: ClassVar[bool] = False
    passes: ClassVar[bool] = False
    node: Node
    source: StoredView
    scale: Scale
    selects: bool = False

    @property
    def streamed(self) -> tuple[StoredView, ...]:
        """The views that the activations port reads."""
        return (self.source,)

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        """The stored values that the operands port reads."""
        return ()

    @property
    def read_in_order(self) -> tuple[StoredView, ...]:
        """The views whose row is read before the same row of the result is stored, whatever is read besides."""
        return ()

    @property
    def constants(self) -> tuple[Node, ...]:
        """The constants that it reads besides its blob."""
        return ()

    @property
    def norm(self) -> Node | None:
        """The LayerNorm before the array."""
        return None

    @property
    @abstractmethod
    def depth(self) -> int:
        """Channels (for sums, tokens) that one output adds up, padding included."""

    def widest(self, config: EngineConfig) -> int:
        """Return the number of channels that one descriptor can compute."""
        parameters = config.param_window * config.lanes // config.outs
        return config.outs * max(1, min(config.weight_window // tiles(self.depth, config.ins), parameters))

    def pieces(self, shape: tuple[int, int], config: EngineConfig) -> Iterator[Piece]:
        """Yield what each descriptor computes of a result (rows, channels): as few as can be, and of one size, so that each
        takes as long to multiply as the rows that it reads again take to come."""
        rows, columns = shape
        width = widest = self.widest(config)
        if not self.loaded:
            count = tiles(columns, widest)
            width = tiles(tiles(columns, config.outs), count) * config.outs
        yield from (Piece(0, rows, first, min(width, columns - first)) for first in range(0, columns, width))

    @abstractmethod
    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        """Return the fields of the descriptor that computes a piece."""

    def row_tokens(self, rows: int) -> Integers:
        """Return the token of each of ``rows`` rows of the result."""
        return np.arange(rows)

    def block_rows(self, first: int, end: int) -> Integers:
        """Return the rows of ``source`` that the tokens from ``first`` to ``end`` of the result read."""
        return self.source.row_numbers[first:end]

    def fetched(self, fields: Mapping[str, int], piece: Piece, config: EngineConfig) -> list[Integers]:
        """Return the rows of ``source`` that each block of requests reads for a piece."""
        size, end = 1 if fields["single"] else config.tokens, piece.row + piece.rows
        begins = (piece.row + b * size for b in range(fields["n_blocks"]))
        return [self.block_rows(begin, min(begin + size, end)) for begin in begins]

    def loaded_part(self, view: StoredView, piece: Piece) -> StoredView:
        """Return the part of a view that the operands port reads for a piece."""
        return view

    def weight_tiles(self, config: EngineConfig, piece: Piece) -> bytes:
        """Return the constant tiles of a piece."""
        return b""

    def listed(self, storage: Storage, piece: Piece) -> bytes:
        """Return the list of rows of a piece, in bytes from its first row."""
        return b""

    def norm_params(self, config: EngineConfig) -> bytes:
        """Return the parameters of the LayerNorm before the array."""
        return b""

    def bias_of(self, first: int, columns: int) -> Integers:
        """Return the bias of these channels."""
        return np.zeros(columns, np.int64)

    @abstractmethod
    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        """Yield the sizes that exceed the engine's, in the model's terms."""

    def accesses(self, fields: Mapping[str, int]) -> Iterator[Access]:
        """Yield the accesses of a descriptor to computed operands; what the activations port reads is in `fetches`."""
        yield from ()


def tiles(count: int, side: int) -> int:
    """Return how many tiles of ``side`` hold ``count``."""
    return -(-count // side)


def block_fields(rows: int, config: EngineConfig) -> Fields:
    """Return the fields of the blocks of ``ins`` rows in which the operands port brings keys and values."""
    blocks = tiles(rows, config.ins)
    return {"n_keys": rows, "value_blocks": blocks, "last_keys": rows - (blocks - 1) * config.ins}


@dataclass(frozen=True, slots=True)
class Taps:
    """What a token consists of, besides the row that it begins with: ``planes x lines`` rows, so many rows apart."""

    planes: int = 1
    lines: int = 1
    plane_step: int = 0
    line_step: int = 0

    @property
    def count(self) -> int:
        """Rows of a token."""
        return self.planes * self.lines

    @property
    def offsets(self) -> Integers:
        """The distance of each from the first, in rows."""
        return (np.arange(self.planes)[:, None] * self.plane_step + np.arange(self.lines) * self.line_step).reshape(-1)


ONE_ROW = Taps()


def packed_fields(storage: Storage, view: StoredView, config: EngineConfig) -> Fields:
    """Return the fields that ask for all tokens of a block in one run, where they follow each other in memory."""
    layout = storage.layouts[view.root]
    words = tiles(view.columns, WORD_BYTES) * layout.element_bytes
    most = config.tokens * words
    if view.order is not None or view.row_step != 1 or layout.pitch_bytes != words * WORD_BYTES or most > largest("act_beats"):
        return {}
    last = view.rows - (tiles(view.rows, config.tokens) - 1) * config.tokens
    return {"act_packed": 1, "act_beats": most, "act_last": last * words}


def row_fields(storage: Storage, view: StoredView, taps: Taps = ONE_ROW) -> Fields:
    """Return the fields of activations that are rows of a stored value, or several together."""
    layout = storage.layouts[view.root]
    words = tiles(view.columns, WORD_BYTES) * layout.element_bytes
    listed = view.order is not None
    return {
        "act_address": storage.address(replace(view, row=0, order=None) if listed else view),
        "listed": int(listed),
        "row_entries": tiles(view.rows, ENTRIES) if listed else 0,
        "act_planes": taps.planes,
        "act_rows": taps.lines,
        "act_beats": words,
        "grid_recip": reciprocal(1),
        "grid_width": 1,
        "stride_row": 0 if listed else storage.pitch(view),
        "stride_plane": taps.plane_step * layout.pitch_bytes,
        "stride_line": taps.line_step * layout.pitch_bytes,
        "act_words": view.rows * words * taps.count,
    }


def row_list(storage: Storage, view: StoredView) -> bytes:
    """Return the list of a view's rows, in bytes from the first row of its root; nothing where they are evenly spaced."""
    if view.order is None:
        return b""
    entries = np.zeros(tiles(view.rows, ENTRIES) * ENTRIES, "<i4")
    entries[: view.rows] = view.row_numbers * storage.layouts[view.root].pitch_bytes
    return entries.tobytes()


def reciprocal(grid: int) -> int:
    """Return the factor from which a token's row on a grid of ``grid`` columns is computed."""
    return -(-(1 << RECIPROCAL_BITS) // grid)


def largest(field: str) -> int:
    """Return the largest value of a descriptor's field."""
    return (1 << FIELDS[field].bits) - 1


def constant(node: Node) -> Integers:
    """Return the array of a ``Constant`` node, as int64."""
    if not isinstance(node.op, Constant):
        raise TypeError(f"{node!r} is not a constant")
    return np.asarray(node.op.value, dtype=np.int64)


def whole(node: Node) -> StoredView:
    """Return a view of all of a value."""
    return StoredView(node, 0, 0, *rows_columns(node))
