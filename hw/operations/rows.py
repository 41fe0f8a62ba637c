"""Products of rows with constant weights: linear layers, and what one of them can express (LayerNorm alone, a copy)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES, Storage
from edgewright.hw.operations.product import (
    ONE_ROW,
    Excess,
    Fields,
    Integers,
    Piece,
    Product,
    Taps,
    constant,
    largest,
    packed_fields,
    row_fields,
    row_list,
    tiles,
)
from edgewright.passes.ir.graph import Node
from edgewright.passes.ops import LayerNormalization


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightProduct(Product):
    """A product with constants: ``weight`` (outputs, inputs), ``bias`` (outputs,)."""

    weight: Integers
    bias: Integers

    def weight_of(self, first: int, columns: int) -> Integers:
        """Return the weights of some outputs as the array reads them, (outputs, depth)."""
        return self.weight[first : first + columns]

    def weight_tiles(self, config: EngineConfig, piece: Piece) -> bytes:
        return blobs.weight_tiles(self.weight_of(piece.column, piece.columns), config.outs, config.ins).tobytes()

    def bias_of(self, first: int, columns: int) -> Integers:
        return self.bias[first : first + columns]

    def exceeding_weights(self, config: EngineConfig) -> Iterator[Excess]:
        """Yield an excess of what the weights of ``outs`` outputs take over what the engine keeps of one descriptor."""
        if (depth := tiles(self.depth, config.ins)) > config.weight_window:
            because = f"the weights of {config.outs} outputs take {depth:,} tiles, the engine keeps {config.weight_window:,}"
            yield because, "make the layer narrower, or use a board with more `weight_tiles`"

    def tile_fields(self, config: EngineConfig, columns: int, rows: int) -> Fields:
        """Return the fields of constant tiles and of the products of ``rows`` rows with them."""
        outs, depth = tiles(columns, config.outs), tiles(self.depth, config.ins)
        return {
            "const_tiles": outs * depth,
            "n_jobs": jobs.count(tiles(rows, config.tokens)),
            "outs0": outs,
            "depth0": depth,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RowProduct(WeightProduct):
    """Rows of a stored value, or ``taps`` of them side by side, normalised by ``layer_norm`` if there is one, times constant
    weights."""

    kind: ClassVar[str] = "linear"
    layer_norm: Node | None = None
    taps: Taps = ONE_ROW

    @property
    def norm(self) -> Node | None:
        return self.layer_norm

    @property
    def depth(self) -> int:
        return self.taps.count * tiles(self.source.columns, WORD_BYTES) * WORD_BYTES

    def fields(self, storage: Storage, config: EngineConfig, piece: Piece) -> Fields:
        rows = row_fields(storage, self.source, self.taps)
        norm = norm_fields(self.layer_norm, self.taps.count * rows["act_beats"], config)
        if self.taps == ONE_ROW:
            rows |= packed_fields(storage, self.source, config)
        return rows | norm | self.tile_fields(config, piece.columns, self.source.rows)

    def listed(self, storage: Storage, piece: Piece) -> bytes:
        return row_list(storage, self.source)

    def block_rows(self, first: int, end: int) -> Integers:
        return (self.source.row_numbers[first:end, None] + self.taps.offsets).reshape(-1)

    def norm_params(self, config: EngineConfig) -> bytes:
        return norm_params(self.layer_norm, config, self.taps.count)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        if (depth := tiles(self.depth, config.ins)) > config.activation_tiles:
            because = f"its inputs take {depth} tiles of {config.ins} channels, the activation buffer holds"
            help_text = "make the layer narrower, or use a board with more `activation_tiles`"
            yield f"{because} {config.activation_tiles}", help_text
        else:
            yield from self.exceeding_weights(config)
        yield from exceeding_norm(self.layer_norm, config)
        yield from exceeding_taps(self.taps)


def norm_fields(norm: Node | None, words: int, config: EngineConfig) -> Fields:
    """Return the fields of a LayerNorm over rows of so many words."""
    if norm is None:
        return {}
    op, width = norm.op, norm.shape[-1]
    assert isinstance(op, LayerNormalization)
    return {
        "norm": 1,
        "norm_row_words": words,
        "norm_n": width,
        "norm_eps": op.eps_term,
        "norm_shift": op.shift,
        "norm_entries": words,
    }


def norm_params(norm: Node | None, config: EngineConfig, taps: int = 1) -> bytes:
    """Return the parameters of a LayerNorm over as many rows side by side: those of padding are 0."""
    if norm is None:
        return b""
    split = (constant(n).reshape(taps, -1) for n in norm.inputs[1:])
    multiplier, offset = (np.pad(n, ((0, 0), (0, -n.shape[1] % config.ins))).reshape(-1) for n in split)
    return blobs.norm_params(multiplier, offset, config.norm_lanes)


def exceeding_norm(norm: Node | None, config: EngineConfig) -> Iterator[Excess]:
    """Yield the width of a LayerNorm if it exceeds the engine's."""
    if norm is not None and (width := norm.shape[-1]) > config.norm_width:
        yield f"LayerNorm over {width:,} channels", f"the board's engine has parameters for {config.norm_width:,}"
    elif norm is not None and isinstance(norm.op, LayerNormalization) and norm.op.eps_term > largest("norm_eps"):
        because = f"its epsilon is {norm.op.epsilon:g}, which beside values as small as its own exceeds the engine's register"
        yield because, "use a smaller epsilon, or compile for a CPU"


def exceeding_taps(taps: Taps) -> Iterator[Excess]:
    """Yield the number of taps if it exceeds what a command says."""
    if taps.planes > largest("act_planes") or taps.lines > largest("act_rows"):
        yield f"a token of it consists of {taps.count:,} rows", f"the engine joins up to {largest('act_rows'):,}"
