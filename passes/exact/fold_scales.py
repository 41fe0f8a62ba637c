from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.exact.channel_affine import SCALABLE, channel_affine, inputs_scaled, outputs_scaled
from edgewright.passes.exact.residual_stream import carried_from
from edgewright.passes.ir import Node, make
from edgewright.passes.ops import Add, BatchNormalization, Conv, ConvTranspose, Div, Linear, Mul, Reshape, Sub, Transpose
from edgewright.passes.rewriting import Rule, Uses


@dataclass(frozen=True, slots=True)
class FoldScales(Rule):
    """Fold a constant factor and offset per channel into the weights of a product.

    Before: BatchNormalization, or Mul, Div, Add, Sub with a constant per output channel (layer scale, a bias), of a
    Linear, PatchEmbed, Conv or ConvTranspose; a Linear, PatchEmbed or Conv of BatchNormalization. Between product and
    BatchNormalization there may be moves (Transpose, Reshape) that nothing else reads. After: other weights and bias.
    Not done before a Conv that pads, unless the BatchNormalization has no offset: zeros would have to become it;
    nor where float32 cannot hold the new weights.
    Exact: within float rounding (computed in float64). Source: the usual folding of BatchNorm.
    """

    on = (Add, BatchNormalization, Div, Mul, Sub, *SCALABLE)
    event = "folded"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        return _before(node, uses) if isinstance(node.op, SCALABLE) else _after(node, uses)


def _after(node: Node, uses: Uses) -> Node | None:
    """Fold factor * product + offset into the product's outputs."""
    if isinstance(node.op, BatchNormalization) and not isinstance(node.inputs[0].op, SCALABLE):
        return _after_moves(node, uses)
    for position, product in enumerate(node.inputs[:2]):
        if isinstance(product.op, SCALABLE) and product.shape == node.shape:
            affine = channel_affine(node, position, product.type.rank + _channels(product))
            scaled = None if affine is None or uses(product) != 1 else outputs_scaled(product, node, *affine)
            if scaled is not None:
                return scaled
    return None


def _after_moves(node: Node, uses: Uses) -> Node | None:
    """Fold BatchNormalization(moves(product)) into the product's outputs."""
    product, moves, channels = _through_moves(node.inputs[0], 1 - node.type.rank)
    affine = channel_affine(node, 0, 1)
    if affine is None or not isinstance(product.op, SCALABLE) or channels != _channels(product):
        return None
    if any(uses(value) != 1 for value in (product, *moves)):
        return None
    scaled = outputs_scaled(product, node, *affine)
    return None if scaled is None else _moved(scaled, moves)


def _before(node: Node, uses: Uses) -> Node | None:
    """Fold product(moves(BatchNormalization(x))) into the product's inputs."""
    norm, moves, channels = _through_moves(node.inputs[0], -1 if isinstance(node.op, Linear) else -3)
    affine = channel_affine(norm, 0, 1) if isinstance(norm.op, BatchNormalization) else None
    if affine is None or channels != 1 - norm.type.rank or any(uses(value) != 1 for value in (norm, *moves)):
        return None
    if isinstance(node.op, Conv) and any(node.op.pads) and bool(np.any(affine[1])):
        return None  # what pads a map gets no offset
    return inputs_scaled(node, _moved(norm.inputs[0], moves), norm, *affine)


def _channels(product: Node) -> int:
    """Return the axis of the channels that a product gives, from the end."""
    return -3 if isinstance(product.op, (Conv, ConvTranspose)) else -1


def _through_moves(node: Node, channels: int) -> tuple[Node, list[Node], int]:
    """Return (what is moved, the moves, its axis of channels from the end), as far as the channels stay together."""
    moves = []
    while isinstance(node.op, (Transpose, Reshape)) and (places := carried_from(node, channels)) is not None:
        moves.append(node)
        ((node, channels),) = places
    return node, moves, channels


def _moved(x: Node, moves: list[Node]) -> Node:
    for move in reversed(moves):
        x = make(move.op, x, origin=move.origin)
    return x
