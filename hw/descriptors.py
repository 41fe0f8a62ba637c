"""Fused operations -> descriptors: the fields and the blob of each, once every stored value has an address."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from edgewright.hw import blobs
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.operation import FIELDS
from edgewright.hw.fused import Operation, constant
from edgewright.hw.memory import WORD_BYTES, Layout
from edgewright.hw.views import StoredView, rows_columns
from edgewright.passes.ir.graph import Node
from edgewright.passes.ir.types import INT16
from edgewright.passes.ops import Attention, LayerNormalization, PatchEmbed

Fields = dict[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """One descriptor: its fields, its blob, and which part of which value it stores.

    ``columns`` are the channels of ``operation.result`` that this descriptor computes, from ``first_column`` on.
    """

    operation: Operation
    fields: Fields
    blob: bytes
    first_column: int
    columns: int
    macs: int


def groups(operation: Operation, config: EngineConfig) -> Iterator[tuple[int, int]]:
    """(first channel, channels) of each descriptor of an operation: heads, or as many outputs as a bank holds."""
    columns = rows_columns(operation.result)[1]
    if operation.kind == "attention":
        width = columns // heads(operation)
    else:
        tiles = min(config.weight_tiles // depth(operation), config.param_tiles)
        if operation.kind == "pool":  # its tokens are values, whose tiles a field counts
            tiles = min(tiles, (1 << FIELDS["value_depth"].bits) - 1)
        width = max(1, tiles) * 16
    yield from ((first, min(width, columns - first)) for first in range(0, columns, width))


def depth(operation: Operation) -> int:
    """Tiles of inputs (of tokens for pooling) that one output needs."""
    if operation.kind == "patch":
        patch, channels = patch_and_channels(operation)
        return channels * patch
    source = operation.source
    return -(-(source.rows if operation.kind == "pool" else source.columns) // 16)


def heads(operation: Operation) -> int:
    """Heads of an attention."""
    op = operation.product.op
    assert isinstance(op, Attention)
    return op.heads


def patch_and_channels(operation: Operation) -> tuple[int, int]:
    """(patch size, image channels) of a patch embedding."""
    op = operation.product.op
    assert isinstance(op, PatchEmbed)
    return op.patch, operation.source.root.shape[1]


def patch_grid(operation: Operation) -> tuple[int, int]:
    """(rows, columns) of patches."""
    patch, _ = patch_and_channels(operation)
    height, width = operation.source.root.shape[2:]
    return height // patch, width // patch


def reciprocal(grid: int) -> int:
    """The factor by which a token's row on a grid of ``grid`` columns is found."""
    return -(-(1 << RECIPROCAL_BITS) // grid)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Writes descriptors of placed operations. ``address``: of a view's first element."""

    config: EngineConfig
    layouts: Mapping[Node, Layout]
    address: Callable[[StoredView], int]

    def steps(self, operation: Operation) -> Iterator[Step]:
        """The descriptors of one operation."""
        computed = operation.computed
        for first, columns in groups(operation, self.config):
            fields = dict.fromkeys(FIELDS, 0) | self.output_fields(operation, first, columns)
            norm = tiles = b""
            if computed.kind == "attention":
                fields |= self.attention_fields(operation, first, columns)
            elif computed.kind == "pool":
                fields |= self.pool_fields(operation, first, columns)
            else:
                assert computed.weight is not None
                weight = computed.weight[first : first + columns]
                if computed.kind == "patch":
                    fields |= self.patch_fields(operation)
                    patch, channels = patch_and_channels(operation)
                    weight = blobs.patch_weight(weight, channels, patch)
                else:
                    fields |= self.row_fields(operation, computed.source)
                packed = blobs.weight_tiles(weight, 16, 16)
                tiles = packed.tobytes()
                outs, ins = packed.shape[:2]
                fields |= {
                    "const_tiles": outs * ins,
                    "tile_words": outs * ins * 16,
                    "n_jobs": fields["n_blocks"],
                    "outs0": outs,
                    "depth0": ins,
                }
                if computed.norm is not None:
                    norm = blobs.norm_params(*(constant(n) for n in computed.norm.inputs[1:]))
            blob = tiles + blobs.table_bytes(operation.table) + norm + self.params(operation, first, columns)
            whole = math.prod(rows_columns(computed.node))
            macs = 0 if computed.selects else computed.node.work.macs * fields["n_tokens"] * columns // whole
            yield Step(operation, fields, blob, first, columns, macs)

    def params(self, operation: Operation, first: int, columns: int) -> bytes:
        """Channel parameters of some outputs. Attention's bias comes from its values."""
        computed, part = operation.computed, slice(first, first + columns)
        bias = np.zeros(columns, np.int64) if computed.bias is None else computed.bias[part]
        return blobs.channel_params(bias, computed.multiplier[part], computed.shift[part])

    def output_fields(self, operation: Operation, first: int, columns: int) -> Fields:
        """Where results go and how they are made from accumulators."""
        rows = rows_columns(operation.result)[0]
        place = operation.place
        target = StoredView(place.target, place.first_row, place.first_column + first, rows, columns)
        fields = {
            "n_tokens": rows,
            "n_blocks": -(-rows // self.config.tokens),
            "out_tiles": -(-columns // 16),
            "param_entries": -(-columns // 16),
            "out16": int(operation.result.elem == INT16),
            "table": int(operation.table is not None),
            "out_address": self.address(target),
            "out_pitch": self.layouts[place.target].pitch_bytes * place.row_step,
            "zero_point": operation.computed.zero_point & 0xFF,
        }
        if operation.residual is not None:
            view = operation.residual.source
            fields |= {
                "residual": 1,
                "res_multiplier": operation.residual.multiplier,
                "res_shift": operation.residual.shift,
                "res_address": self.address(replace(view, column=view.column + first)),
                "res_pitch": self.pitch(view),
            }
        return fields

    def pitch(self, view: StoredView) -> int:
        """Bytes from one row of a view to its next."""
        return self.layouts[view.root].pitch_bytes * view.row_step

    def row_fields(self, operation: Operation, view: StoredView) -> Fields:
        """Activations that are rows of a stored value, normalised or not."""
        words = -(-view.columns * self.layouts[view.root].element_bytes // WORD_BYTES)
        fields = {
            "act_address": self.address(view),
            "act_planes": 1,
            "act_rows": 1,
            "act_beats": words,
            "grid_recip": 1 << RECIPROCAL_BITS,
            "grid_width": 1,
            "stride_row": self.pitch(view),
            "act_words": view.rows * words,
        }
        if operation.norm is not None:
            op = operation.norm.op
            assert isinstance(op, LayerNormalization)
            fields |= {
                "norm": 1,
                "norm_row_words": words,
                "norm_n": view.columns,
                "norm_eps": op.eps_term,
                "norm_shift": op.shift,
                "norm_entries": view.columns // 8,
            }
        return fields

    def patch_fields(self, operation: Operation) -> Fields:
        """Activations that are patches of an image."""
        patch, channels = patch_and_channels(operation)
        root = operation.source.root
        pitch = self.layouts[root].pitch_bytes
        rows, grid = patch_grid(operation)
        straddle = any((column * patch) % WORD_BYTES + patch > WORD_BYTES for column in range(grid))
        return {
            "patch": 1,
            "straddle": int(straddle),
            "act_address": self.address(operation.source),
            "act_planes": channels,
            "act_rows": patch,
            "act_beats": 1 + straddle,
            "grid_recip": reciprocal(grid),
            "grid_width": grid,
            "stride_row": patch * pitch,
            "stride_col": patch,
            "stride_plane": root.shape[2] * pitch,
            "stride_line": pitch,
            "act_words": rows * grid * channels * patch * (1 + straddle),
        }

    def attention_fields(self, operation: Operation, first: int, columns: int) -> Fields:
        """One head."""
        computed = operation.computed
        query, key, value = computed.source, computed.key, computed.value
        op = computed.node.op
        assert key is not None and value is not None and isinstance(op, Attention)
        head = first // columns
        width = query.columns // op.heads
        rows = self.row_fields(operation, replace(query, column=query.column + head * width, columns=width))
        blocks = -(-key.rows // 16)
        depth_tiles, value_tiles = width // 16, columns // 16
        return rows | {
            "attention": 1,
            "n_keys": key.rows,
            "key_pitch": self.pitch(key),
            "key_address": self.address(replace(key, column=key.column + head * width)),
            "value_address": self.address(replace(value, column=value.column + first)),
            "key_blocks": blocks,
            "key_depth": depth_tiles,
            "value_blocks": blocks,
            "value_depth": value_tiles,
            "tile_words": key.rows * (depth_tiles + value_tiles),
            "n_jobs": 2 * -(-query.rows // self.config.tokens),
            "outs0": blocks,
            "depth0": depth_tiles,
            "outs1": value_tiles,
            "depth1": blocks,
            "base1": blocks * depth_tiles,
            "score_multiplier": op.score_multiplier,
            "score_shift": op.score_shift,
        }

    def pool_fields(self, operation: Operation, first: int, columns: int) -> Fields:
        """A sum over tokens: a row of ones times the transposed rows."""
        view = operation.source
        blocks, tiles = -(-view.rows // 16), -(-columns // 16)
        return {
            "ones": 1,
            "n_keys": view.rows,
            "key_pitch": self.pitch(view),
            "value_address": self.address(replace(view, column=view.column + first)),
            "value_blocks": blocks,
            "value_depth": tiles,
            "tile_words": view.rows * tiles,
            "n_jobs": 1,
            "outs0": tiles,
            "depth0": blocks,
        }
