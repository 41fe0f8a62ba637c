"""What the activations port reads for a descriptor: each request in order, as the unit that makes them computes it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from edgewright.hw.blocks.activations import RECIPROCAL_BITS
from edgewright.hw.blocks.config import EngineConfig
from edgewright.hw.memory import WORD_BYTES
from numpy.typing import NDArray

Requests = NDArray[np.int64]
"""Rows (address, words)."""
ADDRESSES = 1 << 40


def requests(fields: Mapping[str, int], listed: NDArray[np.int32], config: EngineConfig) -> Requests:
    """Return the requests of a descriptor; ``listed``: its list of rows, at least one entry for each token."""
    if fields["copy"] or fields["ones"]:
        return np.zeros((0, 2), np.int64)
    size = 1 if fields["single"] else config.tokens
    tokens = (fields["act_blocks"] - 1) * size + fields["last_tokens"]
    token = np.arange(0, tokens, size if fields["act_packed"] else 1, dtype=np.int64)
    row = token * fields["grid_recip"] >> RECIPROCAL_BITS
    column = token - row * fields["grid_width"]
    begin = row * fields["stride_row"] + column * fields["stride_col"]
    if fields["listed"]:
        begin = listed[:tokens].astype(np.int64)
    plane, line = np.arange(fields["act_planes"])[:, None], np.arange(fields["act_rows"])
    taps = plane * fields["stride_plane"] + line * fields["stride_line"]
    address = (fields["act_address"] + begin[:, None, None] + taps) % ADDRESSES
    if fields["padded"]:
        y = (row << fields["step_y"])[:, None] + plane.reshape(-1) - fields["pad_top"]
        x = (column << fields["step_x"])[:, None] + line - fields["pad_left"]
        inside = ((y >= 0) & (y < fields["in_height"]))[:, :, None] & ((x >= 0) & (x < fields["in_width"]))[:, None, :]
        address = np.where(inside, address, fields["pad_address"])
    words = address.reshape(-1) // WORD_BYTES * WORD_BYTES
    beats = np.full(words.size, fields["act_beats"])
    if fields["act_packed"]:
        beats[-1] = fields["act_last"]
    return np.stack([words, beats], axis=1)
