"""Weights and constants of a product as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Quant
from edgewright.passes.ops.arith import ACCUMULATOR_LIMIT

WEIGHT_LEVELS = 127
CLIPS = (1.0, 0.97, 0.94, 0.91, 0.88, 0.85, 0.8, 0.75)  # fractions of the largest weight tried by "mse"


@dataclass(frozen=True, slots=True, eq=False)
class IntegerProduct:
    """weight int8 (O, K); bias int32 (O,), the operand's zero point folded in; real value of an accumulator's LSB
    per output channel."""

    weight: Array
    bias: Array
    scale: Array


def integer_product(weight: Array, bias: Array, operand: Quant, clip: str = "minmax") -> IntegerProduct:
    """Per-channel symmetric weights for an int8 operand; clip "minmax" or "mse" (per channel, on the weights).

    A channel whose weights are tiny beside its bias gets a coarser scale, so that the bias fits the accumulator.
    """
    w, b = weight.astype(np.float64), bias.astype(np.float64)
    assert isinstance(operand.scale, float)
    scale = np.abs(w).max(axis=1) / WEIGHT_LEVELS
    if clip == "mse":
        scale = scale * _best_clip(w, scale)
    floor = np.abs(b) / (operand.scale * (ACCUMULATOR_LIMIT / 4))
    scale = np.maximum(np.maximum(scale, floor), 1e-30)
    q = _rounded(w, scale)
    accumulator = operand.scale * scale
    integer_bias = np.floor(b / accumulator + 0.5) - operand.zero_point * q.sum(axis=1)
    info = np.iinfo(np.int32)
    return IntegerProduct(q.astype(np.int8), np.clip(integer_bias, info.min, info.max).astype(np.int32), accumulator)


def _rounded(w: Array, scale: Array) -> Array:
    return np.clip(np.floor(w / scale[:, None] + 0.5), -WEIGHT_LEVELS, WEIGHT_LEVELS)


def _best_clip(w: Array, scale: Array) -> Array:
    positive = np.maximum(scale, 1e-30)
    errors = [((_rounded(w, positive * clip) * (positive * clip)[:, None] - w) ** 2).sum(axis=1) for clip in CLIPS]
    return np.asarray(np.array(CLIPS)[np.argmin(errors, axis=0)])
