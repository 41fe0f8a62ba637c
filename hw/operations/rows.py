"""Products of rows with constant weights: linear layers, and what one of them can express (LayerNorm alone, a copy)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from edgewright.hw import blobs
from edgewright.hw.blocks import jobs
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import Storage
from edgewright.hw.operations.product import Excess, Fields, Integers, Product, constant, row_fields, tiles
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

    def weight_tiles(self, config: EngineConfig, first: int, columns: int) -> bytes:
        return blobs.weight_tiles(self.weight_of(first, columns), config.outs, config.ins).tobytes()

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
    """Rows of a stored value, normalised by ``layer_norm`` if there is one, times constant weights."""

    kind: ClassVar[str] = "linear"
    layer_norm: Node | None = None

    @property
    def norm(self) -> Node | None:
        return self.layer_norm

    @property
    def depth(self) -> int:
        return self.source.columns

    def fields(self, storage: Storage, config: EngineConfig, first: int, columns: int) -> Fields:
        rows = row_fields(storage, self.source)
        norm: Fields = {}
        if self.layer_norm is not None:
            op = self.layer_norm.op
            assert isinstance(op, LayerNormalization)
            norm = {
                "norm": 1,
                "norm_row_words": rows["act_beats"],
                "norm_n": self.source.columns,
                "norm_eps": op.eps_term,
                "norm_shift": op.shift,
                "norm_entries": self.source.columns // config.norm_lanes,
            }
        return rows | norm | self.tile_fields(config, columns, self.source.rows)

    def norm_params(self, config: EngineConfig) -> bytes:
        if self.layer_norm is None:
            return b""
        multiplier, offset = (constant(n) for n in self.layer_norm.inputs[1:])
        return blobs.norm_params(multiplier, offset, config.norm_lanes)

    def exceeding(self, config: EngineConfig) -> Iterator[Excess]:
        if (depth := tiles(self.depth, config.ins)) > config.activation_tiles:
            because = f"its inputs take {depth} tiles of {config.ins} channels, the activation buffer holds"
            help_text = "make the layer narrower, or use a board with more `activation_tiles`"
            yield f"{because} {config.activation_tiles}", help_text
        else:
            yield from self.exceeding_weights(config)
        width = self.source.columns
        if self.layer_norm is not None and (width % config.ins or width > config.norm_width):
            yield f"LayerNorm over {width} channels", f"widths are multiples of {config.ins} up to {config.norm_width}"
