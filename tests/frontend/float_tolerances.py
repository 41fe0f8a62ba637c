"""The one table of float tolerances: largest difference from onnxruntime, relative to the output's largest value.

Float results differ because sums run in another order (BLAS against onnxruntime's kernels) and because some of our
operators accumulate in float64.  Integers are never compared with a tolerance.
"""

from __future__ import annotations

import numpy as np
from edgewright.passes.ir import Array

TOLERANCES: dict[str, tuple[float, str]] = {
    "one block": (2e-5, "a few products of width up to 64; measured 7e-7"),
    "trained": (5e-5, "4 blocks of width 64 with trained, larger activations; measured 7e-7"),
    "network": (1e-4, "12 blocks of width 192, softmax over 197 tokens; measured 1e-6"),
}


def assert_close(found: Array, wanted: Array, row: str) -> None:
    """Within the row's tolerance, and not trivially so."""
    tolerance, reason = TOLERANCES[row]
    size = float(np.abs(wanted).max())
    assert size > 1e-3, "outputs near zero would hide errors"
    difference = float(np.abs(found - wanted).max()) / size
    assert difference < tolerance, f"relative difference {difference:.1e}, allowed {tolerance:.0e}: {reason}"
