"""Where a network turns tokens into an image, what follows pixel by pixel stays token-major.

`PUSH` moves Transposes of channels, and Reshapes between (tokens) and (rows, columns), down through operators that
treat pixels one by one, until an operator needs an image or they meet their opposite. A 1x1 convolution on the way
is a Linear. Convolutional networks without tokens stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from edgewright.frontend.canonical.axes import CHANNELS_FIRST, CHANNELS_LAST
from edgewright.passes.ir import Node, make
from edgewright.passes.ops import Concat, Constant, Conv, Linear, ReduceMean, Reshape, Slice, Transpose, constant, value_of
from edgewright.passes.ops.groups import BROADCASTING
from edgewright.passes.rewriting import Rule, RuleGroup, Uses


@dataclass(frozen=True, slots=True)
class PushTransposes(Rule):
    """Compute pixel by pixel where the channels are last.

    Before: an operator on Transpose(x) to an image, x (B, H, W, C); or Transpose(Slice(image)) back to that. After: the
    Transpose of the operator on x; a Conv of 1 x 1 is then a Linear.
    Exact: up to the order of float sums. Source: none of these operators mixes pixels.
    """

    event = "pushed"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op, operands = node.op, node.inputs
        if isinstance(op, Transpose) and op.perm == CHANNELS_LAST:
            return _above(operands[0], uses(operands[0]) == 1)
        first = next((last for last in map(_last, operands) if last is not None), None)
        if first is None:
            return None
        if op.facts.unary:
            return _to_first(make(op, first, origin=node.origin))
        if isinstance(op, Conv):
            pixels = _pointwise(node, op, first)
            return None if pixels is None else _to_first(pixels)
        if isinstance(op, Slice):
            return _to_first(make(replace(op, axis=CHANNELS_LAST.index(op.axis % 4)), first, origin=node.origin))
        if isinstance(op, ReduceMean) and {axis % 4 for axis in op.axes} == {2, 3}:
            mean = make(ReduceMean((1, 2), op.keepdims), first, origin=node.origin)
            return _to_first(mean) if op.keepdims else mean
        if isinstance(op, BROADCASTING) and len(node.shape) == 4:
            moved = [last for operand in operands if (last := _operand_last(operand)) is not None]
            return _to_first(make(op, *moved, origin=node.origin)) if len(moved) == len(operands) else None
        if isinstance(op, Concat):
            parts = [_last(operand) or _to_last(operand) for operand in operands]
            return _to_first(make(Concat(CHANNELS_LAST.index(op.axis % 4)), *parts, origin=node.origin))
        return None


@dataclass(frozen=True, slots=True)
class PushReshapes(Rule):
    """Compute pixel by pixel on tokens.

    Before: an operator on Reshape(x) to (B, H, W, C), x (B, N, C). After: the Reshape of the operator on x.
    Exact: yes. Source: none of these operators mixes pixels.
    """

    event = "pushed"

    def replace(self, node: Node, uses: Uses) -> Node | None:
        op, operands = node.op, node.inputs
        tokens = next((t for t in map(_tokens_of, operands) if t is not None), None)
        if isinstance(op, Reshape) and len(operands[0].shape) == 4:
            return _above_reshape(node)
        if tokens is None or len(node.shape) != 4:
            return None

        def grid(result: Node) -> Node:
            return make(Reshape(node.shape), result, origin=node.origin)

        if op.facts.per_token and _tokens_of(operands[0]) is not None:
            return grid(make(op, tokens, *operands[1:], origin=node.origin))
        if isinstance(op, Slice) and op.axis % 4 == 3:
            return grid(make(replace(op, axis=2), tokens, origin=node.origin))
        flat = [view for operand in operands if (view := _operand_tokens(operand, node)) is not None]
        if len(flat) < len(operands):
            return None
        if isinstance(op, BROADCASTING):
            return grid(make(op, *flat, origin=node.origin))
        return grid(make(Concat(2), *flat, origin=node.origin)) if isinstance(op, Concat) and op.axis % 4 == 3 else None


PUSH = RuleGroup("push moves of channels down", (PushTransposes(), PushReshapes()))


def _last(image: Node) -> Node | None:
    """Return the (B, H, W, C) value that an image is a view of."""
    return image.inputs[0] if isinstance(image.op, Transpose) and image.op.perm == CHANNELS_FIRST else None


def _to_last(image: Node) -> Node:
    value = value_of(image)
    if value is not None:
        return constant(value.transpose(CHANNELS_LAST), image.origin)
    return make(Transpose(CHANNELS_LAST), image, origin=image.origin)


def _to_first(pixels: Node) -> Node:
    return make(Transpose(CHANNELS_FIRST), pixels, origin=pixels.origin)


def _above(image: Node, alone: bool) -> Node | None:
    """Cancel Transpose(image) to channels last, or move it before a Slice, so that all parts share one, or before a 1x1
    convolution that nothing else reads."""
    last = _last(image)
    if last is not None:
        return last
    if isinstance(image.op, Slice):
        part = replace(image.op, axis=CHANNELS_LAST.index(image.op.axis % 4))
        return make(part, _to_last(image.inputs[0]), origin=image.origin)
    return _pointwise(image, image.op, _to_last(image.inputs[0])) if isinstance(image.op, Conv) and alone else None


def _operand_last(operand: Node) -> Node | None:
    """Return an operand of an elementwise operator with its channels last; None for a constant that does not say where."""
    last = _last(operand)
    if last is not None:
        return last
    rank = len(operand.shape)
    if operand.type.size == 1 and rank < 4:
        return operand
    if rank == 4:
        return _to_last(operand)
    value = value_of(operand)
    return None if value is None else constant(value.reshape((1,) * (4 - rank) + value.shape).transpose(CHANNELS_LAST))


def _pointwise(node: Node, op: Conv, last: Node) -> Node | None:
    """Return a 1x1 convolution as a Linear over pixels, channels last."""
    kernel = node.inputs[1]
    weight = value_of(kernel)
    if weight is None or weight.shape[2:] != (1, 1) or op != Conv():
        return None
    rows = constant(weight.reshape(weight.shape[:2]), kernel.origin)
    bias = node.inputs[2] if len(node.inputs) == 3 else constant(np.zeros(len(weight), np.float32))
    return make(Linear(), last, rows, bias, origin=node.origin)


def _tokens_of(pixels: Node) -> Node | None:
    """Return the (B, N, C) value that (B, H, W, C) is a view of."""
    if not isinstance(pixels.op, Reshape) or len(pixels.shape) != 4 or isinstance(pixels.inputs[0].op, Constant):
        return None
    tokens = pixels.inputs[0]
    fits = len(tokens.shape) == 3 and tokens.shape[0] == pixels.shape[0] and tokens.shape[2] == pixels.shape[3]
    return tokens if fits else None


def _operand_tokens(operand: Node, node: Node) -> Node | None:
    """Return an operand of `node` (B, H, W, C) as tokens (B, N, C); None when it varies along only one of H and W."""
    tokens = _tokens_of(operand)
    if tokens is not None and operand.shape[1:3] == node.shape[1:3]:
        return tokens
    if (operand.type.size == 1 and len(operand.shape) < 4) or operand.shape == node.shape[3:]:
        return operand
    if len(operand.shape) != 4 or operand.shape[1:3] not in (node.shape[1:3], (1, 1)):
        return None
    batch, height, width, channels = operand.shape
    shape = (batch, height * width, channels)
    value = value_of(operand)
    if value is not None:
        return constant(value.reshape(shape), operand.origin)
    return make(Reshape(shape), operand, origin=operand.origin)


def _above_reshape(node: Node) -> Node | None:
    """Move Reshape((B, H, W, C) -> (B, N, C)) before a Slice of channels, so that all parts share one."""
    inner = node.inputs[0]
    if not isinstance(inner.op, Slice) or inner.op.axis % 4 != 3:
        return None
    batch, height, width, channels = inner.shape
    if node.shape != (batch, height * width, channels):
        return None
    whole = inner.inputs[0]
    tokens = make(Reshape((batch, height * width, whole.shape[3])), whole, origin=whole.origin)
    return make(replace(inner.op, axis=2), tokens, origin=inner.origin)
