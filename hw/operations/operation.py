"""Fused operations: a product with what is fused around it, and the descriptors that compute it.

An operation is asked for everything that depends on what it is: the planner for descriptors, operands and limits, the
scoreboard for the words that each descriptor stores and the values that they must have.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS, WEIGHT_PORTS
from edgewright.hw.blocks.weights import table_rows
from edgewright.hw.fetches import Requests, requests
from edgewright.hw.memory import WORD_BYTES, Storage, layout
from edgewright.hw.operations.copy import CopyProduct
from edgewright.hw.operations.product import (
    ENTRIES,
    FEWER_TOKENS,
    Access,
    Excess,
    Fields,
    Integers,
    Piece,
    Product,
    largest,
    tiles,
)
from edgewright.hw.padding import HeadPadding, Strip, Turned
from edgewright.hw.views import StoredView, matrix, rows_columns
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT16, Array
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Residual:
    """The second operand: it is added to the result after a factor that brings it to the result's scale, or, ``multiplies``,
    multiplied by what the product gives, or, ``subtracts``, taken from it.

    ``packed``: a constant that is stored in the order in which it is added: blocks of tokens, tiles of outputs, tokens.
    """

    source: StoredView
    multiplier: int
    shift: int
    packed: bool = False
    multiplies: bool = False
    subtracts: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where results go: row r to row ``first_row + r * row_step`` of ``target``, channels from ``first_column`` on."""

    target: Node
    first_row: int = 0
    row_step: int = 1
    first_column: int = 0


@dataclass(frozen=True, slots=True)
class StoredPart:
    """Some rows of a value, and ``columns`` channels from ``column`` on."""

    rows: tuple[int, ...]
    column: int
    columns: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One fused operation: it stores the value of ``result`` at ``place``, or ``part`` of it. ``table``: 256 entries, for the
    values -128 to 127. ``rectified``: what is below 0 becomes 0. ``in_strips``: the
    operations that store the rest of the value read no rows of others than those that they store."""

    product: Product
    result: Node
    place: Place
    table: Integers | None = None
    residual: Residual | None = None
    rectified: bool = False
    part: StoredPart | None = None
    in_strips: bool = False

    @property
    def name(self) -> str:
        """The ONNX name that a report shows for this operation."""
        return (self.result if self.product.selects or self.product.copies else self.product.node).name

    @property
    def kind(self) -> str:
        """The kind of its product."""
        return self.product.kind

    @property
    def target(self) -> Node:
        """The stored value that results are written to."""
        return self.place.target

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, channels) that it stores."""
        return rows_columns(self.result) if self.part is None else (len(self.part.rows), self.part.columns)

    @property
    def loaded(self) -> tuple[StoredView, ...]:
        """The stored values that the weights side waits for."""
        return self.product.loaded

    @property
    def streamed(self) -> tuple[StoredView, ...]:
        """The stored values that the activations side waits for, the residual first."""
        return (*(() if self.residual is None else (self.residual.source,)), *self.product.streamed)

    def replaces(self, last_use: Mapping[Node, int], last_write: Mapping[Node, int]) -> Node | None:
        """Return a value in whose place the result may be stored: nobody reads it later, and each of its rows is read before
        that row of the result is stored. ``last_use`` and ``last_write``: positions of the last operation that reads, or
        stores, a value."""
        place = self.place
        whole = place == Place(self.target) and self.part is None and self.shape == rows_columns(self.target)
        if not self.in_strips and not whole:
            return None
        views = [*self.product.read_in_order]
        if self.residual is not None and not self.residual.packed:
            views.append(self.residual.source)
        read = [view.root for view in operands(self)]
        for view in views:
            root = view.root
            same_rows = view.order is None and view.row_step == 1 and view.row == place.first_row and view.column == 0
            fits = same_rows and layout(root) == layout(self.target) and read.count(root) == 1
            if fits and last_use.get(root) == last_write[self.target]:
                return root
        return None

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        """Yield the sizes that exceed the engine's, in the model's terms."""
        most = min(largest("n_tokens"), largest("n_blocks") * (1 if self.product.passes else config.tokens))
        if self.shape[0] > most:
            yield f"it has {self.shape[0]:,} tokens, the engine counts up to {most:,}", FEWER_TOKENS
        yield from self.product.exceeding(config)

    def pieces(self, config: EngineConfig) -> Iterator[Piece]:
        """Yield what each descriptor computes."""
        return self.product.pieces(self.shape, config)

    def steps(self, storage: Storage, config: EngineConfig) -> Iterator[Step]:
        """Yield the descriptors, once every stored value has an address."""
        product, scale = self.product, self.product.scale
        for piece in self.pieces(config):
            first, columns = piece.column, piece.columns
            part = slice(first, first + columns)
            fields = dict.fromkeys(FIELDS, 0) | self.output_fields(storage, config, piece)
            fields |= product.fields(storage, config, piece)
            blob = b""
            if not product.copies:
                params = blobs.channel_params(
                    product.bias_of(first, columns), scale.multiplier[part], scale.shift[part], config.lanes
                )
                weights = product.weight_tiles(config, piece)
                blob = product.norm_params(config) + params + blobs.table_bytes(self.table) + weights
                blob += product.listed(storage, piece)
            whole = math.prod(rows_columns(product.node))
            macs = 0 if product.selects or product.copies else product.node.work.macs * piece.rows * columns // whole
            yield Step(self, config, fields, blob, piece, macs)

    def output_fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        """Return the fields of the epilogue, of the second operand and of the results."""
        rows, columns, place = piece.rows, piece.columns, self.place
        first_row = place.first_row + piece.row * place.row_step
        target = StoredView(place.target, first_row, place.first_column + piece.column, rows, columns, place.row_step)
        size = 1 if self.product.passes else config.tokens
        fields = {
            "n_tokens": rows,
            "n_blocks": (blocks := tiles(rows, size)),
            "last_tokens": rows - (blocks - 1) * size,
            "out_tiles": tiles(columns, config.lanes),
            "param_entries": tiles(columns, config.lanes),
            "out16": int(self.result.elem == INT16),
            "rectified": int(self.rectified),
            "table": int(self.table is not None),
            "table_rows": 0 if self.table is None else table_rows(config),
            "out_address": storage.address(target),
            "out_pitch": storage.pitch(target),
            "zero_point": self.product.scale.zero_point & 0xFF,
        }
        if not self.product.copies:
            fields |= run_fields(fields, config, single=self.product.passes)
        if self.residual is not None:
            view = self.residual.source.part(piece.row, rows)
            fields |= {
                "residual": 1,
                "multiplied": int(self.residual.multiplies),
                "subtracted": int(self.residual.subtracts),
                "res_multiplier": self.residual.multiplier,
                "res_shift": self.residual.shift,
                "res_address": storage.address(replace(view, column=view.column + piece.column)),
                "res_pitch": storage.pitch(view),
                "res_narrow": int(storage.layouts[view.root].element_bytes == 1),
            }
            if self.residual.packed:
                row = 2 * fields["out_tiles"]
                fields |= {
                    "res_packed": 1,
                    "res_pitch": config.tokens * row * WORD_BYTES,
                    "res_beats": config.tokens * row,
                    "res_last": (rows - (fields["n_blocks"] - 1) * config.tokens) * row,
                }
        return fields


@dataclass(frozen=True, slots=True)
class Step:
    """One descriptor: it stores a ``piece`` of ``operation.result``.

    ``fields``: the descriptor's. ``blob``: its constants.
    """

    operation: Operation
    config: EngineConfig
    fields: Fields
    blob: bytes
    piece: Piece
    macs: int

    @property
    def first_column(self) -> int:
        """The first channel that it stores."""
        return self.piece.column

    @property
    def columns(self) -> int:
        """Channels that it stores."""
        return self.piece.columns

    @property
    def rows(self) -> int:
        """Rows that it stores."""
        return self.fields["n_tokens"]

    @property
    def listed(self) -> NDArray[np.int32]:
        """Its list of rows, in bytes from its first row."""
        size = self.fields["row_entries"] * ENTRIES * 4
        return np.frombuffer(self.blob[len(self.blob) - size :], "<i4")

    @property
    def requests(self) -> Requests:
        """What the activations port reads, in order."""
        return requests(self.fields, self.listed, self.config)

    @property
    def row_words(self) -> int:
        """Words of ``lanes`` outputs of one row: one of int8, two of int16."""
        return 1 + self.fields["out16"]

    @property
    def stored_words(self) -> int:
        """Words that it stores."""
        return self.rows * self.fields["out_tiles"] * self.row_words

    @property
    def moved_bytes(self) -> int:
        """Bytes that it moves between the engine and external memory, except for itself."""
        words = (self.fields["blob_beats"] + self.fields["bias_beats"]) * WEIGHT_PORTS
        words += sum(access.words for access in self.accesses() if access.address >= self.config.on_chip_bytes)
        fetched = self.requests
        words += int(fetched[fetched[:, 0] >= self.config.on_chip_bytes, 1].sum())
        return words * WORD_BYTES

    def accesses(self) -> Iterator[Access]:
        """Yield every access to a stored value, except for ``requests``."""
        operation, fields = self.operation, self.fields
        row = fields["out_tiles"] * WORD_BYTES
        results = fields["out_address"], self.rows, fields["out_pitch"], row * self.row_words
        yield Access("results", operation.target, *results)
        if operation.residual is not None:
            root = operation.residual.source.root
            runs = (self.rows, fields["res_pitch"], row * (2 - fields["res_narrow"]))
            if operation.residual.packed:
                runs = (1, 0, self.rows * row * 2)
            yield Access("the residual", root, fields["res_address"], *runs)
        yield from operation.product.accesses(fields)

    def expected(self, values: Mapping[Node, Array]) -> Integers:
        """Return what it must store, (rows, channels); ``values`` holds every node's value."""
        if isinstance(copy := self.operation.product, CopyProduct):
            return copy.expected(values)
        result = self.operation.result
        of_the_engine = isinstance(result.op, HeadPadding | Turned | Strip)
        value = result.op.eval(values[result.inputs[0]]) if of_the_engine else values[result]
        full = np.asarray(matrix(result, value), dtype=np.int64)
        piece, part = self.piece, self.operation.part
        if part is not None:
            full = full[list(part.rows), part.column : part.column + part.columns]
        return full[piece.row : piece.row + piece.rows, piece.column : piece.column + piece.columns]

    def addresses(self) -> NDArray[np.uint64]:
        """Return the address of every word that it stores, in order: blocks of tokens, tiles of outputs, tokens; of a copy, and
        where whole rows are stored, rows."""
        fields = self.fields
        if fields["copy"]:
            rows, words = np.arange(self.rows)[:, None] * fields["out_pitch"], np.arange(fields["out_tiles"]) * WORD_BYTES
            return (fields["out_address"] + rows + words).reshape(-1).astype(np.uint64)
        tile, word = np.arange(fields["out_tiles"])[:, None, None], np.arange(self.row_words)
        order = []
        for token in self.blocks():
            grid = token[:, None] * fields["out_pitch"] + (tile * self.row_words + word) * WORD_BYTES
            order.append((grid.transpose(1, 0, 2) if fields["by_rows"] else grid).reshape(-1))
        return (np.concatenate(order) + fields["out_address"]).astype(np.uint64)

    def integers(self, words: NDArray[np.uint8]) -> Integers:
        """Return the integers of the words that it stored, (rows, channels); ``words`` (n, WORD_BYTES) are in its order."""
        if isinstance(copy := self.operation.product, CopyProduct):
            return copy.integers(words)
        lanes, stored, position = self.config.lanes, [], 0
        for token in self.blocks():
            shape = self.fields["out_tiles"], len(token), lanes
            count = math.prod(shape[:2]) * self.row_words
            block = words[position : position + count].copy().view(f"<i{self.row_words}")
            by_rows = block if self.fields["by_rows"] else block.reshape(shape).transpose(1, 0, 2)
            stored.append(by_rows.reshape(len(token), -1))
            position += count
        return np.concatenate(stored).astype(np.int64)[:, : self.columns]

    def blocks(self) -> Iterator[NDArray[np.int64]]:
        """Yield the tokens of each block."""
        size = 1 if self.fields["single"] else self.config.tokens
        for start in range(0, self.rows, size):
            yield np.arange(start, min(start + size, self.rows))


def run_fields(fields: Fields, config: EngineConfig, *, single: bool) -> Fields:
    """Return the fields of how results are requested, given the other ones of the output: a row that is a block of its own is a
    run of words; a block of several is one in external memory, where short requests cost the most, if its rows follow each
    other and wait together."""
    tiles_, row = fields["out_tiles"], fields["out_tiles"] * (1 + fields["out16"])
    rows, last = (1, 1) if single else (config.tokens, fields["last_tokens"])
    external = fields["out_address"] >= config.on_chip_bytes
    by_rows = not single and external and tiles_ > 1 and fields["out_pitch"] == row * WORD_BYTES
    by_rows = by_rows and rows * tiles_ <= config.turned_rows
    if not single and not by_rows:
        return {}
    return {"in_runs": 1, "by_rows": int(by_rows), "run_words": rows * row, "run_last": last * row}


def operands(operation: Operation) -> tuple[StoredView, ...]:
    """Return every view that an operation reads, in the order in which they are stored."""
    constants = (StoredView(node, 0, 0, *rows_columns(node)) for node in operation.product.constants)
    return (*operation.streamed, *operation.loaded, *constants)
