"""The product at the core of a fused operation: what one descriptor of it computes, reads, needs and may not exceed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS
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
        """Return the factors of a Requantise ``node`` for some of its channels."""
        factors = []
        for operand in node.inputs[1:]:
            values = constant(operand).reshape(-1)
            factors.append(np.full(len(columns), values[0]) if len(values) == 1 else values[columns])
        return cls(node, factors[0], factors[1], zero_point)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(ABC):
    """What the array computes of one operation.

    ``node``: the graph's product. ``source``: the value whose rows (or patches) are its tokens. ``selects``: it has no products
    of the model itself. ``copies``: it goes past the array.
    """

    kind: ClassVar[str]
    copies: ClassVar[bool] = False
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

    @abstractmethod
    def fields(self, storage: Storage, config: EngineConfig, first: int, columns: int) -> Fields:
        """Return the fields of the descriptor that computes ``columns`` channels from ``first`` on."""

    def row_tokens(self, rows: int) -> Integers:
        """Return the token of each of ``rows`` rows of the result."""
        return np.arange(rows)

    def block_rows(self, first: int, end: int) -> Integers:
        """Return the rows of ``source`` that the tokens from ``first`` to ``end`` read."""
        return self.source.row + self.source.row_step * np.arange(first, min(end, self.source.rows))

    def weight_tiles(self, config: EngineConfig, first: int, columns: int) -> bytes:
        """Return the constant tiles of these channels."""
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
        """Yield the accesses of a descriptor to the operands."""
        size = fields["act_beats"] * WORD_BYTES
        rows, pitch = fields["n_tokens"], fields["stride_row"]
        yield Access("activations", self.source.root, fields["act_address"], rows, pitch, size)


def tiles(count: int, side: int) -> int:
    """Return how many tiles of ``side`` hold ``count``."""
    return -(-count // side)


def block_fields(rows: int, config: EngineConfig) -> Fields:
    """Return the fields of the blocks of ``ins`` rows in which the operands port brings keys and values."""
    blocks = tiles(rows, config.ins)
    return {"n_keys": rows, "value_blocks": blocks, "last_keys": rows - (blocks - 1) * config.ins}


def row_fields(storage: Storage, view: StoredView) -> Fields:
    """Return the fields of activations that are rows of a stored value."""
    words = tiles(view.columns * storage.layouts[view.root].element_bytes, WORD_BYTES)
    return {
        "act_address": storage.address(view),
        "act_planes": 1,
        "act_rows": 1,
        "act_beats": words,
        "grid_recip": reciprocal(1),
        "grid_width": 1,
        "stride_row": storage.pitch(view),
        "act_words": view.rows * words,
    }


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
