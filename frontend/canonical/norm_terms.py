"""LayerNormalization multiplied out, as TensorFlow writes it: x k + (beta - mean k) with k = gamma / sqrt(variance)."""

from __future__ import annotations

import numpy as np
from edgewright.frontend.canonical.statistics import Statistic, inverse_root_of, mean_of, root_of, variance, vector_along
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import Add, Constant, Div, Mul, Neg, Sub

_TERMS_MAX = 4
_FACTORS_MAX = 6


def expanded_norm(node: Node) -> tuple[Statistic, Array, Array] | None:
    """Return (variance, gamma, beta) where node is gamma (x - mean(x)) / sqrt(variance + epsilon) + beta, in any order of terms
    and factors; gamma and beta vary along the one axis that is normalised."""
    terms = added(node, _TERMS_MAX)
    if terms is None:
        return None
    products = [_factors(term, sign) for sign, term in terms if not isinstance(term.op, Constant)]
    if len(products) != 2 or any(len(roots) != 1 for _, _, roots in products):
        return None
    (sign_a, factors_a, (root,)), (sign_b, factors_b, (other,)) = products
    spread = variance(root)
    if root is not other or spread is None or len(spread.axes) != 1 or sign_a != -sign_b:
        return None
    axis = spread.axes[0] - spread.x.type.rank
    width = spread.x.shape[axis]
    for sign, factors, rest in ((sign_a, factors_a, factors_b), (sign_b, factors_b, factors_a)):
        means = [f for f in rest if mean_of(f) == (spread.x, spread.axes)]
        if spread.x not in factors or len(means) != 1 or node.shape != spread.x.shape:
            continue
        gamma = _product([f for f in factors if f is not spread.x], axis, width)
        same = _product([f for f in rest if f is not means[0]], axis, width)
        betas = [(s, vector_along(term, axis, width)) for s, term in terms if isinstance(term.op, Constant)]
        if gamma is None or same is None or not np.array_equal(gamma, same) or any(b is None for _, b in betas):
            continue
        beta = sum((np.float32(s) * b for s, b in betas if b is not None), np.zeros(width, np.float32))
        return spread, np.float32(sign) * gamma, np.asarray(beta, np.float32)
    return None


def added(node: Node, most: int) -> list[tuple[float, Node]] | None:
    """Return the terms of a sum, each with its sign; None for more terms than `most`, as where a residual stream is read."""
    waiting = [(1.0, node)]
    terms: list[tuple[float, Node]] = []
    for _ in range(4 * most):  # signs that cancel each other may be many too
        sign, node = waiting.pop()
        if isinstance(node.op, Neg):
            waiting.append((-sign, node.inputs[0]))
        elif isinstance(node.op, Add | Sub):
            a, b = node.inputs
            waiting += [(-sign if isinstance(node.op, Sub) else sign, b), (sign, a)]
        else:
            terms.append((sign, node))
        if not waiting:
            return terms
        if len(terms) + len(waiting) > most:
            break
    return None


def _factors(node: Node, sign: float) -> tuple[float, list[Node], list[Node]]:
    """Return a product's sign, its factors, and what it is divided by the roots of."""
    waiting: list[Node] = [node]
    plain: list[Node] = []
    roots: list[Node] = []
    while waiting:
        factor = waiting.pop()
        root = inverse_root_of(factor)
        if root is not None:
            roots.append(root)
        elif isinstance(factor.op, Neg):
            sign = -sign
            waiting.append(factor.inputs[0])
        elif isinstance(factor.op, Mul) and len(plain) + len(waiting) < _FACTORS_MAX:
            waiting += factor.inputs
        elif isinstance(factor.op, Div) and (under := root_of(factor.inputs[1])) is not None:
            roots.append(under)
            waiting.append(factor.inputs[0])
        else:
            plain.append(factor)
    return sign, plain, roots


def _product(factors: list[Node], axis: int, width: int) -> Array | None:
    result: Array = np.ones(width, np.float32)
    for factor in sorted(factors, key=lambda f: f.origin):
        vector = vector_along(factor, axis, width)
        if vector is None:
            return None
        result = result * vector
    return result
