"""int8 scales per channel for values that only weights read: a scale moves into the columns of the weights.

Rescaling per channel costs nothing where a value is rescaled anyhow: after convolutions and sums. Ranges that differ
from channel to channel (LayerNorms, depthwise filters) then cost no bits. Source: the idea of RepQ-ViT (ICCV 2023) and
SmoothQuant (ICML 2023); here the exponent is chosen per value, by the noise it predicts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from edgewright.passes.ir import Array, Node, Quant
from edgewright.passes.ops import Conv, Linear, Relu, Slice, array_of
from edgewright.passes.ops.groups import NORMS
from edgewright.passes.quantisation.calibrate import ENOUGH, LEVELS, Channels, positive
from edgewright.passes.quantisation.lowering_structure import SUMS, channel_axis, is_part, is_wide

if TYPE_CHECKING:
    from edgewright.passes.quantisation.lowering import IntegerLowering

EXPONENTS = (0.25, 0.5, 0.75, 1.0)  # how much of a channel's range goes into its scale
WORTH = 0.8  # of the noise of one scale: more is not worth scales per channel
LOWEST = -LEVELS


def per_channel(lowering: IntegerLowering, node: Node, by_tensor: Quant) -> Quant:
    """Return the scales of a value's channels; `by_tensor`, one scale, where readers or the step before need that, or gain
    nothing."""
    readers = lowering.narrow_readers(node)
    kinds = {type(reader.op) for reader in readers}
    if node in lowering.graph.outputs or kinds not in ({Linear}, {Conv}) or any(r.inputs[0] is not node for r in readers):
        return by_tensor
    if node in lowering.hosted:  # the host quantises by one number
        return by_tensor
    axis = channel_axis(readers[0])  # of operand and result alike
    if not _is_rescaled(lowering, node, axis):
        return by_tensor
    seen = lowering.calibration.channels(node, axis)
    rectified = isinstance(node.op, Relu) and by_tensor.zero_point == LOWEST
    reach = _believed(seen) if not rectified else _believed(seen) / 2
    best, least = by_tensor, WORTH * _noise(readers, np.full(len(reach), by_tensor.scales), seen.square)
    for exponent in EXPONENTS:
        scale = reach.max() / LEVELS * (reach / reach.max()) ** exponent
        noise = _noise(readers, scale, seen.square)
        if noise < least:
            quant = Quant(tuple(positive(float(s)) for s in scale), LOWEST if rectified else 0, axis)
            best, least = quant, noise
    return best


def weighed(reader: Node, weight: Array, scale: Array) -> Array:
    """Return weights for an operand in units of its scales per channel."""
    if isinstance(reader.op, Conv):
        share = len(weight) // reader.op.groups
        columns = scale.reshape(reader.op.groups, 1, weight.shape[1], 1, 1)
        by_group = weight.reshape(reader.op.groups, share, *weight.shape[1:])
        return np.asarray(by_group * columns).reshape(weight.shape)
    return weight * scale


def _is_rescaled(lowering: IntegerLowering, node: Node, axis: int) -> bool:
    """Return whether the value's int8 form comes from a Requantise of its own shape, whose factors vary along no other
    axis."""
    if isinstance(node.op, NORMS):
        return lowering.is_read_wide(node)
    source = node.inputs[0] if isinstance(node.op, Relu) else node
    if isinstance(source.op, Conv):
        return axis == channel_axis(source)
    return isinstance(source.op, SUMS) or (isinstance(node.op, Slice) and is_wide(node) and not is_part(node))


def _believed(seen: Channels) -> Array:
    """Return the magnitude each channel may reach: further than seen, and not much less than others for few samples."""
    reach: Array = np.maximum(np.maximum(-seen.low, seen.high), 0.0).astype(np.float64)
    trust = min(1.0, 4 / math.sqrt(max(seen.each, 1.0)))
    widening = max(1.0, math.sqrt(math.log(ENOUGH) / math.log(max(seen.each, 2.0))))
    return np.asarray(np.maximum(np.maximum(reach, trust * np.median(reach)), 1e-6 * reach.max() + 1e-30) * widening)


def _noise(readers: list[Node], scale: Array, square: Array) -> float:
    """Return squared error of all products, from rounding values and weights to 8 bits, up to a constant factor."""
    total = 0.0
    for reader in readers:
        weight = array_of(reader.inputs[1])
        groups = reader.op.groups if isinstance(reader.op, Conv) else 1
        w = weight.astype(np.float64).reshape(groups, len(weight) // groups, weight.shape[1], -1)  # (G, O/G, I/G, taps)
        s = scale.reshape(groups, 1, weight.shape[1], 1)
        step = np.abs(w * s).max(axis=(2, 3)) / LEVELS  # (G, O/G)
        values = (square.reshape(groups, -1) / s[:, 0, :, 0] ** 2).sum(axis=1) * w.shape[3]  # (G,)
        total += float(((w * s) ** 2).sum()) + float((step**2 * values[:, None]).sum())
    return total
