"""What a softmax over attention scores is taken of: a product, a factor, and what is added to it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from edgewright.frontend.canonical.statistics import times_number
from edgewright.passes.ir import Array, Node, Shape, make
from edgewright.passes.ops import Add, Clip, Constant, MatMul, Mul, Reshape, Softmax, Sub, Where, constant, value_of
from edgewright.passes.rewriting import Uses

NEVER = -1e30  # masks start here; a mask at -1e9 or -1e4 may be above a score that counts, and stays as it is
LOWEST = float(np.finfo(np.float32).min)
_DEEPEST = 64  # operators between a product and its softmax


@dataclass(frozen=True, slots=True)
class _Bias:
    """factor * node, added to scores of shape `scores`."""

    node: Node
    factor: float
    scores: Shape


@dataclass(frozen=True, slots=True)
class Scores:
    """softmax(factor * product + biases)."""

    product: Node
    factor: float
    biases: tuple[_Bias, ...]

    def bias_for(self, windows: int, heads: int) -> Node | None:
        """Return the sum of the biases, broadcastable to (windows, heads, queries, keys); constants added up now.

        None without biases, when one computed at run time does not fit that shape, or when constants forbid all keys of
        a query by minus infinity: such a row is nan.
        """
        known: Array | None = None
        computed: list[Node] = []
        for bias in self.biases:
            value = value_of(bias.node)
            if value is not None:
                term = _four(value, bias.scores, windows, heads).astype(np.float64) * bias.factor
                known = term if known is None else known + term
                continue
            node = _node_four(bias.node, bias.scores, windows, heads)
            if node is None:
                return None
            if bias.factor != 1.0:
                node = make(Mul(), node, constant(np.asarray(bias.factor, np.float32)), origin=node.origin)
            computed.append(node)
        if known is not None:
            if np.isneginf(known).all(axis=-1).any():
                return None
            low = np.maximum(known, LOWEST).astype(np.float32)
            computed.append(constant(_narrowest(low), origin=self.product.origin))
        total = computed[0] if computed else None
        for node in computed[1:]:
            assert total is not None
            total = make(Add(), total, node, origin=node.origin)
        return total


def _padded(shape: Shape, rank: int) -> Shape:
    return (1,) * (rank - len(shape)) + shape


def _four(value: Array, scores: Shape, windows: int, heads: int) -> Array:
    """Return a constant over scores of any leading axes as (windows, heads, queries or 1, keys or 1)."""
    full = _padded(value.shape, len(scores))
    return np.broadcast_to(value.reshape(full), (*scores[:-2], *full[-2:])).reshape(windows, heads, *full[-2:])


def _narrowest(value: Array) -> Array:
    """Return the same under broadcasting: axes along which nothing changes are 1 long."""
    for axis in range(value.ndim):
        first = value.take([0], axis=axis)
        if np.array_equal(np.broadcast_to(first, value.shape), value):
            value = first
    return value


def _node_four(node: Node, scores: Shape, windows: int, heads: int) -> Node | None:
    full = _padded(node.shape, len(scores))
    lead = full[:-2]
    if math.prod(lead) == 1:
        shape: Shape = (1, 1, *full[-2:])
    elif lead == scores[:-2]:
        shape = (windows, heads, *full[-2:])
    elif len(full) == 4 and lead[0] in (1, windows) and lead[1] in (1, heads):
        shape = full
    else:
        return None
    return node if node.shape == shape else make(Reshape(shape), node, origin=node.origin)


def read_scores(weights: Node, uses: Uses) -> Scores | None:
    """Return the scores where `weights` is a softmax over the last axis that nothing else reads."""
    node = weights
    while isinstance(node.op, Reshape) and node.inputs[0].shape[-2:] == node.shape[-2:] and uses(node) == 1:
        node = node.inputs[0]
    if not isinstance(node.op, Softmax) or node.op.axis % len(node.shape) != len(node.shape) - 1 or uses(node) != 1:
        return None
    return _read(node.inputs[0], 1.0, (), uses, _DEEPEST)


def _read(node: Node, factor: float, biases: tuple[_Bias, ...], uses: Uses, left: int) -> Scores | None:
    """Read down from the softmax: factors, sums and reshapes that keep the last two axes, each read once, at most `left`."""
    if not left:
        return None
    if isinstance(node.op, MatMul):
        return Scores(node, factor, biases)
    if uses(node) != 1:
        return None
    if isinstance(node.op, Reshape) and node.inputs[0].shape[-2:] == node.shape[-2:]:
        return _read(node.inputs[0], factor, biases, uses, left - 1)
    if (scaled := times_number(node)) is not None:
        return _read(scaled[0], factor * scaled[1], biases, uses, left - 1)
    if isinstance(node.op, Clip) and node.op.low <= NEVER and node.op.high == math.inf:
        return _read(node.inputs[0], factor, biases, uses, left - 1)  # no weight depends on how low a score is
    if isinstance(node.op, Where):
        return _masked(node, factor, biases, uses, left)
    if not isinstance(node.op, Add | Sub):
        return None
    a, b = node.inputs
    for x, other, sign in ((a, b, -1.0 if isinstance(node.op, Sub) else 1.0), (b, a, 1.0)):
        if x.shape != node.shape or (x is b and isinstance(node.op, Sub)) or isinstance(x.op, Constant):
            continue
        result = _read(x, factor, (*biases, _Bias(other, sign * factor, node.shape)), uses, left - 1)
        if result is not None:
            return result
    return None


def _masked(node: Node, factor: float, biases: tuple[_Bias, ...], uses: Uses, left: int) -> Scores | None:
    """Read Where(keep, x, never), either way round: `never` is added where x is not kept."""
    condition, yes, no = node.inputs
    zero, never = constant(np.zeros((), np.float32)), constant(np.asarray(LOWEST, np.float32))
    for x, other, order in ((yes, no, (zero, never)), (no, yes, (never, zero))):
        level, known = value_of(other), value_of(condition)
        if level is None or not factor > 0 or level.max() * factor > NEVER or x.shape != node.shape:
            continue
        forbidden = None if known is None else (known == 0) == (other is no)
        if not np.isneginf(level).any() or forbidden is None or not forbidden.all(axis=-1).any():
            bias = _Bias(make(Where(), condition, *order, origin=node.origin), 1.0, node.shape)
            return _read(x, factor, (*biases, bias), uses, left - 1)
    return None
