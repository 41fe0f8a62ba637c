"""Bound how many elements an ONNX node computes of known operands, without computing them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from edgewright.passes.ir import Array


def result_elements(op_type: str, arrays: Sequence[Array | None]) -> int:
    """Return an upper bound; for operators that are not listed, the size to which their operands broadcast."""
    operands = [array for array in arrays if array is not None]
    first = operands[0] if operands else np.zeros(())
    last = [int(n) for n in operands[-1].reshape(-1)] if len(operands) > 1 and operands[-1].dtype.kind in "iu" else []
    if op_type == "ConstantOfShape":
        return math.prod(abs(int(n)) for n in first.reshape(-1))
    if op_type == "Range" and len(operands) == 3:
        start, stop, step = (float(array.reshape(())) for array in operands)
        return math.ceil(abs(stop - start) / abs(step)) if step and math.isfinite(stop - start) else 0
    if op_type in ("Tile", "Expand"):
        return first.size * math.prod(max(1, n) for n in last)
    if op_type == "Pad" and len(operands) > 1:
        pads = [max(0, int(n)) for n in operands[1].reshape(-1)]
        axes = len(pads) // 2
        sizes = list(first.shape) if axes == first.ndim else [*first.shape, *[1] * axes]
        more = pads if axes == first.ndim else [max(pads, default=0)] * 2 * len(sizes)
        return math.prod(n + more[i] + more[i + len(sizes)] for i, n in enumerate(sizes))
    if op_type == "OneHot" and len(operands) == 3:
        return first.size * max(1, abs(int(operands[1].reshape(-1)[0])))
    if op_type == "Resize" and len(operands) > 1:
        factors = operands[-1].reshape(-1)
        grown = math.prod(max(1.0, abs(float(n))) for n in factors)
        return int(grown if operands[-1].dtype.kind in "iu" else first.size * grown)
    if op_type == "GatherElements" and len(operands) > 1:
        return operands[1].size
    if op_type in ("Gather", "GatherND") and len(operands) > 1:  # a row is the size over the shortest axis, at most
        return operands[1].size * first.size // (min(first.shape, default=1) or 1)
    if op_type in ("MatMul", "Einsum"):
        return math.prod(array.size for array in operands)
    try:
        return math.prod(np.broadcast_shapes(*(array.shape for array in operands)))
    except ValueError:
        return sum(array.size for array in operands)
