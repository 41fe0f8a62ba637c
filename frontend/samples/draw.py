"""Which samples calibrate and which are measured on: drawn over the classes, never the same for both."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Array


def drawn(count: int, wanted: int, labels: Array | None, seed: int) -> Array:
    """Return `wanted` of `count` positions (all if there are fewer), drawn by the seed: from each class of `labels` as many as
    from any other, as far as it has them. The first few are of different classes."""
    order = np.random.default_rng(seed).permutation(count)
    if labels is None:
        return order[:wanted] if wanted < count else np.arange(count)
    classes = labels[order]
    turns = np.empty(count, np.int64)
    for label in np.unique(classes):
        mine = np.flatnonzero(classes == label)
        turns[mine] = np.arange(len(mine))
    return order[np.argsort(turns, kind="stable")][:wanted]  # the first of each class, then the second of each ...


def divided(count: int, wanted: int, labels: Array | None, seed: int) -> tuple[Array, Array]:
    """Return (positions to calibrate on, positions to measure on), which share none: at most half calibrate."""
    chosen = drawn(count, min(wanted, max(1, count // 2)), labels, seed)
    return chosen, np.setdiff1d(np.arange(count), chosen)
