"""How many elements an ONNX node makes of known operands, without computing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from edgewright.passes.ir import Array


def result_elements(op_type: str, arrays: Sequence[Array | None]) -> int:
    """An upper bound; for operators that are not listed, of what broadcasting their operands makes."""
    given = [array for array in arrays if array is not None]
    first = given[0] if given else np.zeros(())
    last = [int(n) for n in given[-1].reshape(-1)] if len(given) > 1 and given[-1].dtype.kind in "iu" else []
    if op_type == "ConstantOfShape":
        return math.prod(abs(int(n)) for n in first.reshape(-1))
    if op_type == "Range" and len(given) == 3:
        start, stop, step = (float(array.reshape(())) for array in given)
        return math.ceil(abs(stop - start) / abs(step)) if step and math.isfinite(stop - start) else 0
    if op_type == "Tile":
        return first.size * math.prod(max(1, n) for n in last)
    if op_type == "Expand":
        return first.size * math.prod(max(1, n) for n in last)
    if op_type == "Pad" and len(given) > 1:
        pads = [max(0, int(n)) for n in given[1].reshape(-1)]
        axes = len(pads) // 2
        sizes = list(first.shape) if axes == first.ndim else [*first.shape, *[1] * axes]
        more = pads if axes == first.ndim else [max(pads, default=0)] * 2 * len(sizes)
        return math.prod(n + more[i] + more[i + len(sizes)] for i, n in enumerate(sizes))
    if op_type == "OneHot" and len(given) == 3:
        return first.size * max(1, abs(int(given[1].reshape(-1)[0])))
    if op_type == "Resize" and len(given) > 1:
        factors = given[-1].reshape(-1)
        grown = math.prod(max(1.0, abs(float(n))) for n in factors)
        return int(grown if given[-1].dtype.kind in "iu" else first.size * grown)
    if op_type == "GatherElements" and len(given) > 1:
        return given[1].size
    if op_type in ("Gather", "GatherND") and len(given) > 1:  # rows are shorter than all of an axis
        return given[1].size * first.size // (min(first.shape, default=1) or 1)
    if op_type in ("MatMul", "Einsum"):
        return math.prod(array.size for array in given)
    try:
        return math.prod(np.broadcast_shapes(*(array.shape for array in given)))
    except ValueError:
        return sum(array.size for array in given)
