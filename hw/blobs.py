"""Pack the constants of one descriptor (its blob): tiles, table, LayerNorm parameters, channel parameters, in that order."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir.types import Array
from numpy.typing import NDArray

IDENTITY_TABLE = np.arange(-128, 128, dtype=np.int64)


def weight_tiles(weight: Array, outs: int, ins: int) -> NDArray[np.int8]:
    """Tile a weight (O, K) as (O/outs, K/ins, outs, ins), padded with zeros."""
    rows, depth = weight.shape
    padded = np.zeros((-(-rows // outs) * outs, -(-depth // ins) * ins), dtype=np.int8)
    padded[:rows, :depth] = weight
    split = padded.reshape(padded.shape[0] // outs, outs, padded.shape[1] // ins, ins)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3))


def patch_weight(weight: Array, channels: int, patch: int) -> NDArray[np.int64]:
    """Pad each line of a patch to one word: (D, C * P * P) -> (D, C * P * 16)."""
    rows = weight.shape[0]
    padded = np.zeros((rows, channels * patch, 16), dtype=np.int64)
    padded[:, :, :patch] = weight.reshape(rows, channels * patch, patch)
    return padded.reshape(rows, -1)


def channel_params(bias: Array, multiplier: Array, shift: Array) -> bytes:
    """Pack one 128-byte entry per 16 channels: int32 bias, uint16 multiplier, uint8 shift, all of equal length."""
    entries = -(-len(bias) // 16)
    packed = np.zeros((entries, 128), dtype=np.uint8)
    for source, kind, start in ((bias, "<i4", 0), (multiplier, "<u2", 64), (shift, "u1", 96)):
        full = np.zeros(entries * 16, dtype=kind)
        full[: len(source)] = source
        size = full.dtype.itemsize * 16
        packed[:, start : start + size] = full.view(np.uint8).reshape(entries, size)
    return packed.tobytes()


def norm_params(multiplier: Array, offset: Array) -> bytes:
    """Pack one 128-byte entry per eight channels: int32 multiplier, int64 offset."""
    entries = -(-len(multiplier) // 8)
    packed = np.zeros((entries, 128), dtype=np.uint8)
    for source, kind, start in ((multiplier, "<i4", 0), (offset, "<i8", 32)):
        full = np.zeros(entries * 8, dtype=kind)
        full[: len(source)] = source
        size = full.dtype.itemsize * 8
        packed[:, start : start + size] = full.view(np.uint8).reshape(entries, size)
    return packed.tobytes()


def table_bytes(table: Array | None) -> bytes:
    """Pack 256 int8 entries, entry i for value i - 128; None: the identity."""
    return (IDENTITY_TABLE if table is None else table).astype(np.int8).tobytes()
