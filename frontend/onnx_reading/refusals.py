"""What the reader says of nodes and values that it cannot use."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS
from edgewright.frontend.onnx_reading.fold import FOLDABLE
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import Array, Node
from edgewright.passes.ops import value_of

_LARGE = 1 << 16  # elements of constants: below, it is not their number that keeps a node from being folded


def refused(node: ir.Node, at: str) -> Diagnostic:
    """Why a node stays: it has no reader, or it makes more of constants than folding keeps."""
    arrays = [np.asarray(v.const_value.numpy()) for v in node.inputs if v is not None and v.const_value is not None]
    known = arrays and len(arrays) == len(node.inputs) and node.domain in STANDARD_DOMAINS and node.op_type in FOLDABLE
    elements = result_elements(node.op_type, arrays) if known else 0
    if elements < _LARGE:
        return no_reader(node.op_type, at)
    because = f"{elements:,} elements would be computed and kept"
    return Diagnostic("N024", f"{node.op_type} makes too much of constants", at, because, "make the constant smaller")


def sizes_in(operands: Sequence[Node | None]) -> list[int]:
    """Sizes of operands, and numbers in those that may be shapes."""
    found: list[int] = []
    for operand in operands:
        if operand is not None:
            found += operand.shape
            value = value_of(operand)
            if value is not None and value.dtype.kind in "iu" and value.ndim == 1 and value.size <= 8:
                found += [int(n) for n in value]
    return found


def no_numbers(value: ir.Value, array: Array) -> Diagnostic:
    return Diagnostic(
        "N006",
        f"element type {'string' if array.dtype.kind in 'OSU' else array.dtype} is not supported",
        at=f"tensor {value.name!r}",
        because="weights are float32, and shapes and indices are integers",
        help="export the model in float32",
    )


_REASONS = {
    "Loop": "control flow that depends on data cannot be planned for hardware",
    "If": "control flow that depends on data cannot be planned for hardware",
    "NonZero": "the size of its result depends on data",
    "TopK": "sorting has no operator in the graph",
    "LSTM": "recurrence has no operator in the graph",
}


def no_reader(op_type: str, at: str) -> Diagnostic:
    return Diagnostic(
        "N017",
        f"operator {op_type} is not supported",
        at=at,
        because=_REASONS.get(op_type, "the graph has no operator for it, and no rule rewrites it into others"),
        help="replace it in the model, or add a reader for it (CONTRIBUTING, 'Add an operator')",
    )
