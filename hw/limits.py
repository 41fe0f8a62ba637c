"""What of a fused operation exceeds the engine: its buffers by name, and the width of every descriptor field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

import numpy as np
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.blocks.engine import VALUE_SUMS
from edgewright.hw.blocks.operation import FIELDS
from edgewright.hw.descriptors import depth, heads, patch_and_channels, patch_grid, reciprocal
from edgewright.hw.fused import Operation
from edgewright.hw.views import rows_columns

Excess = tuple[str, str]
"""What exceeds which limit, and the way out."""
FEWER_TOKENS = "use fewer tokens, or compile for a CPU"


def largest(field: str) -> int:
    """The largest value of a descriptor's field."""
    return (1 << FIELDS[field].bits) - 1


def exceeding(operation: Operation, config: EngineConfig) -> Iterator[Excess]:
    """Sizes of an operation beyond the engine's, in the model's terms."""
    computed = operation.computed
    tokens = min(largest("n_tokens"), largest("n_blocks") * config.tokens)
    if (rows := rows_columns(operation.result)[0]) > tokens:
        yield f"it has {rows:,} tokens, the engine counts up to {tokens:,}", FEWER_TOKENS
    if computed.kind == "attention":
        yield from attention(operation, config)
    elif computed.kind == "patch":
        yield from patches(operation, config)
    elif computed.kind == "pool":
        keys = min(largest("n_keys"), 16 * min(largest("value_blocks"), config.activation_tiles, largest("depth0")))
        if computed.source.rows > keys:
            yield f"it adds {computed.source.rows:,} tokens up, the engine up to {keys:,}", FEWER_TOKENS
    elif (tiles := depth(operation)) > config.activation_tiles:
        yield (
            f"its inputs take {tiles} tiles of 16 channels, the activation buffer holds {config.activation_tiles}",
            "make the layer narrower, or use a board with more `activation_tiles`",
        )
    width = computed.source.columns
    if computed.norm is not None and (width % 16 or width > config.norm_width):
        yield f"LayerNorm over {width} channels", f"widths are multiples of 16 up to {config.norm_width}"


def attention(operation: Operation, config: EngineConfig) -> Iterator[Excess]:
    """Sizes of one head."""
    key, value = operation.computed.key, operation.computed.value
    assert key is not None and value is not None
    width = value.columns // heads(operation)
    key_tiles = -(-key.rows // 16)
    if key_tiles > config.key_tiles:
        yield (
            f"{key.rows:,} keys exceed {config.key_tiles * 16:,}",
            "use fewer tokens, or a board with more `key_tiles`",
        )
    elif key_tiles * 2 * -(-width // 16) > config.weight_tiles:
        yield (
            f"keys and values of one head take {key_tiles * 2 * -(-width // 16):,} tiles, a weight bank holds "
            f"{config.weight_tiles:,}",
            "use narrower heads",
        )
    if width > (widest := 16 * (VALUE_SUMS + 1)):
        because = f"its heads are {width} wide, and the engine keeps the sums of a head's values for {widest} channels"
        yield because, f"use more heads, of up to {widest} channels"


def patches(operation: Operation, config: EngineConfig) -> Iterator[Excess]:
    """Sizes of a patch embedding."""
    patch, channels = patch_and_channels(operation)
    rows, grid = patch_grid(operation)
    if patch > 16:
        yield f"patches are {patch} wide", "the engine cuts patches of up to 16 x 16"
    if channels > largest("act_planes"):
        yield f"its image has {channels} planes, the engine reads up to {largest('act_planes')}", "use fewer planes"
    elif channels * patch > config.activation_tiles:
        yield (
            f"the lines of one patch take {channels * patch} tiles, the activation buffer holds {config.activation_tiles}",
            "use smaller patches or fewer planes",
        )
    if grid > largest("grid_width"):
        yield f"it has {grid:,} patches in a row, the engine up to {largest('grid_width'):,}", "use larger patches"
    elif rows * grid > (exact := exact_tokens(grid)):
        yield (
            f"its image has {rows} x {grid} patches, and with {grid} in a row the engine finds the first {exact:,} only",
            "use larger patches or a smaller image, or compile for a CPU",
        )


@cache
def exact_tokens(grid: int) -> int:
    """How many tokens of a grid, from the first one on, the reciprocal assigns to their row."""
    token = np.arange(largest("n_tokens") + 2)
    wrong = (token * reciprocal(grid)) >> RECIPROCAL_BITS != token // grid
    return int(wrong.argmax()) if wrong.any() else len(token)


def too_wide(fields: Mapping[str, int]) -> Iterator[Excess]:
    """Fields of a descriptor whose value does not fit."""
    for name, value in fields.items():
        if not 0 <= value <= largest(name):
            yield f"the descriptor's field {name} would be {value:,}, it holds up to {largest(name):,}", "use a smaller model"
