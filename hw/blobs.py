"""Pack the constants of one descriptor (its blob): LayerNorm parameters, channel parameters, table, tiles, in that order."""

from __future__ import annotations

import numpy as np
from edgewright.hw.blocks.operation import WEIGHT_PORTS
from edgewright.hw.blocks.weights import ENTRY_WORDS
from edgewright.hw.kernel.types import WORD_BYTES
from edgewright.passes.ir.types import Array
from numpy.typing import NDArray


def weight_tiles(weight: Array, outs: int, ins: int) -> NDArray[np.int8]:
    """Tile a weight (O, K) as (O/outs, K/ins, outs, ins), padded with zeros."""
    rows, depth = weight.shape
    padded = np.zeros((-(-rows // outs) * outs, -(-depth // ins) * ins), dtype=np.int8)
    padded[:rows, :depth] = weight
    split = padded.reshape(padded.shape[0] // outs, outs, padded.shape[1] // ins, ins)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3))


def patch_weight(weight: Array, channels: int, patch: int) -> NDArray[np.int64]:
    """Pad each line of a patch to one word: (D, C * P * P) -> (D, C * P * WORD_BYTES)."""
    rows = weight.shape[0]
    padded = np.zeros((rows, channels * patch, WORD_BYTES), dtype=np.int64)
    padded[:, :, :patch] = weight.reshape(rows, channels * patch, patch)
    return padded.reshape(rows, -1)


def parts(blob: bytes) -> bytes:
    """Return a blob as memory holds it: its words in turn in ``WEIGHT_PORTS`` parts, one part after the other."""
    words = np.frombuffer(blob, np.uint8).reshape(-1, WEIGHT_PORTS, WORD_BYTES)
    return words.transpose(1, 0, 2).tobytes()


def joined(content: bytes) -> bytes:
    """Invert ``parts``."""
    words = np.frombuffer(content, np.uint8).reshape(WEIGHT_PORTS, -1, WORD_BYTES)
    return words.transpose(1, 0, 2).tobytes()


def channel_params(bias: Array, multiplier: Array, shift: Array, lanes: int) -> bytes:
    """Pack one entry per ``lanes`` channels: int32 bias, uint16 multiplier, uint8 shift, all of equal length."""
    return entries(lanes, (bias, "<i4"), (multiplier, "<u2"), (shift, "u1"))


def norm_params(multiplier: Array, offset: Array, lanes: int) -> bytes:
    """Pack one entry per ``lanes`` channels: int32 multiplier, int64 offset."""
    return entries(lanes, (multiplier, "<i4"), (offset, "<i8"))


def entries(lanes: int, *parts: tuple[Array, str]) -> bytes:
    """Pack entries of ``ENTRY_WORDS`` words, each of ``lanes`` values of every part; parts are (values, dtype)."""
    count, start = -(-len(parts[0][0]) // lanes), 0
    packed = np.zeros((count, ENTRY_WORDS * WORD_BYTES), dtype=np.uint8)
    for values, dtype in parts:
        full = np.zeros(count * lanes, dtype)
        full[: len(values)] = values
        end = start + full.dtype.itemsize * lanes
        packed[:, start:end] = full.view(np.uint8).reshape(count, -1)
        start = end
    return packed.tobytes()


def table_bytes(table: Array | None) -> bytes:
    """Pack 256 int8 entries, entry i for value i - 128; None: nothing."""
    return b"" if table is None else table.astype(np.int8).tobytes()
