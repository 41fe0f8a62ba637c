"""Whether float32 holds what a pass has computed in float64 for it."""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Array

SMALLEST = float(np.finfo(np.float32).tiny)  # below it float32 loses digits
LARGEST = 2.0**96  # beyond it, sums of products come near float32's largest, and their order decides what overflows
NEGLIGIBLE = 2.0**-24  # of the largest: what rounding that one to float32 loses


def fits_float32(*values: Array) -> bool:
    """Return whether each array can become float32: every number leaves room for products and sums, and those that lose digits
    because they are too small lose nothing that counts against the largest of their array."""
    return all(_fits(np.asarray(value, np.float64)) for value in values)


def _fits(wide: Array) -> bool:
    with np.errstate(all="ignore"):
        if not (np.abs(wide) <= LARGEST).all():
            return False
        narrow = wide.astype(np.float32)
        small = np.abs(wide) < SMALLEST
        if not small.any():
            return True
        lost = np.abs(wide[small] - narrow[small])
    return bool(lost.max() <= NEGLIGIBLE * np.abs(wide).max())
