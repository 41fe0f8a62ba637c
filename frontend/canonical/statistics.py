"""What a node computes of a value, however it is spelled: a multiple, a sum with a number, a mean, a square, a variance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Add, Clip, Div, Mul, Pow, Reciprocal, ReduceMean, Relu, Sqrt, Sub, scalar_of, value_of

Mean = tuple[Node, tuple[int, ...]]  # what is averaged, over which axes (kept, 1 long)


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """factor * (mean square or variance of x over `axes` + epsilon)."""

    x: Node
    axes: tuple[int, ...]
    epsilon: float
    factor: float = 1.0


def times_number(node: Node) -> tuple[Node, float] | None:
    """Return (x, c) where node is c * x for a number c."""
    if isinstance(node.op, Mul):
        for x, c in (node.inputs, node.inputs[::-1]):
            factor = scalar_of(c)
            if factor is not None and x.shape == node.shape:
                return x, factor
    if isinstance(node.op, Div) and node.inputs[0].shape == node.shape and (divisor := scalar_of(node.inputs[1])):
        return node.inputs[0], 1.0 / divisor
    return None


def plus_number(node: Node) -> tuple[Node, float] | None:
    """Return (x, c) where node is x + c for a number c."""
    if isinstance(node.op, Add):
        for x, c in (node.inputs, node.inputs[::-1]):
            number = scalar_of(c)
            if number is not None and value_of(x) is None:
                return x, number
    return None


def vector_along(node: Node, axis: int, width: int) -> Array | None:
    """Return a constant that varies along one axis (counted from the end) only, as (width,), or None."""
    value = value_of(node)
    if value is None or value.size not in (1, width):
        return None
    if value.size == width and value.size > 1 and (value.ndim < -axis or value.shape[axis] != width):
        return None
    return np.broadcast_to(value.reshape(-1), (width,)).astype(np.float32)


def mean_of(node: Node) -> Mean | None:
    """Return what node averages, with the axes kept."""
    if not isinstance(node.op, ReduceMean) or not node.op.keepdims:
        return None
    (x,) = node.inputs
    return x, tuple(sorted(axis % x.type.rank for axis in node.op.axes))


def centred(node: Node, negated: bool = False) -> Mean | None:
    """Return (x, axes) where node is x - mean(x), or mean(x) - x if `negated`."""
    if not isinstance(node.op, Sub):
        return None
    x, mean = node.inputs[::-1] if negated else node.inputs
    averaged = mean_of(mean)
    return averaged if averaged is not None and averaged[0] is x else None


def sum_of(node: Node, axis: int) -> Node | None:
    """Return x where node is its sum over one axis that stays: a mean times the count, as sums are read."""
    mean, count = times_number(node) or (node, 1.0)
    averaged = mean_of(mean)
    if averaged is None or averaged[1] != (axis % averaged[0].type.rank,) or count != averaged[0].shape[axis]:
        return None
    return averaged[0]


def square_of(node: Node) -> Node | None:
    """Return x where node is x^2."""
    is_square = isinstance(node.op, Mul) and node.inputs[0] is node.inputs[1]
    return node.inputs[0] if is_square or _is_power(node, 2.0) else None


def root_of(node: Node) -> Node | None:
    """Return x where node is sqrt(x)."""
    return node.inputs[0] if isinstance(node.op, Sqrt) or _is_power(node, 0.5) else None


def inverse_root_of(node: Node) -> Node | None:
    """Return x where node is 1 / sqrt(x)."""
    if isinstance(node.op, Reciprocal):
        return root_of(node.inputs[0])
    if isinstance(node.op, Div) and scalar_of(node.inputs[0]) == 1.0:
        return root_of(node.inputs[1])
    if isinstance(node.op, Sqrt) and isinstance(node.inputs[0].op, Reciprocal):
        return node.inputs[0].inputs[0]
    return node.inputs[0] if _is_power(node, -0.5) else None


def _is_power(node: Node, exponent: float) -> bool:
    return isinstance(node.op, Pow) and scalar_of(node.inputs[1]) == exponent


def _without_epsilon(node: Node) -> tuple[Node, float] | None:
    """Return (value, epsilon) where node is value + epsilon, epsilon >= 0."""
    shifted = plus_number(node)
    return shifted if shifted is not None and shifted[1] >= 0 else None


def mean_square(node: Node, epsilon_needed: bool = True) -> Statistic | None:
    """Read mean(x^2) + epsilon; without `epsilon_needed` also a multiple of the mean, with or without it."""
    inner, epsilon = _without_epsilon(node) or (node, None)
    if epsilon is None and epsilon_needed:
        return None
    factor = 1.0
    if not epsilon_needed and isinstance(inner.op, Mul):
        for mean, number in (inner.inputs, inner.inputs[::-1]):
            value = scalar_of(number)
            if value is not None and value > 0 and mean.shape == inner.shape:
                inner, factor = mean, value
                break
    squared = mean_of(inner)
    base = None if squared is None else square_of(squared[0])
    return None if squared is None or base is None else Statistic(base, squared[1], (epsilon or 0.0) / factor, factor)


def variance(node: Node) -> Statistic | None:
    """Read mean((x - mean(x))^2) + epsilon, or mean(x^2) - mean(x)^2 + epsilon, which may be kept from 0."""
    inner, epsilon = _without_epsilon(node) or (node, None)
    if epsilon is None:
        return None
    squared = mean_of(inner)
    if squared is not None:
        base = square_of(squared[0])
        middle = None if base is None else centred(base) or centred(base, negated=True)
        return None if middle is None or middle[1] != squared[1] else Statistic(middle[0], middle[1], epsilon)
    if isinstance(inner.op, Relu) or (isinstance(inner.op, Clip) and inner.op.low <= 0):
        inner = inner.inputs[0]
    if not isinstance(inner.op, Sub):
        return None
    whole, part = mean_of(inner.inputs[0]), square_of(inner.inputs[1])
    base, mean = None if whole is None else square_of(whole[0]), None if part is None else mean_of(part)
    if whole is None or base is None or mean is None or mean != (base, whole[1]):
        return None
    return Statistic(base, whole[1], epsilon)
