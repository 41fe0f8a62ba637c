"""Refusals of nodes and values that the reader cannot convert."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from edgewright.frontend.onnx_reading.checks import STANDARD_DOMAINS, place_of
from edgewright.frontend.onnx_reading.fold import FOLDABLE
from edgewright.frontend.onnx_reading.result_size import result_elements
from edgewright.passes.diagnostics import Diagnostic
from edgewright.passes.ir import Node
from edgewright.passes.ops import value_of

_LARGE = 1 << 16  # elements: a node that computes fewer of constants is not kept from being folded by its size


def not_readable(node: ir.Node) -> Diagnostic:
    """Return why a node cannot be converted: it has no reader, or its result of constants is too large to be folded."""
    arrays = [np.asarray(v.const_value.numpy()) for v in node.inputs if v is not None and v.const_value is not None]
    known = arrays and len(arrays) == len(node.inputs) and node.domain in STANDARD_DOMAINS and node.op_type in FOLDABLE
    elements = result_elements(node.op_type, arrays) if known else 0
    if elements < _LARGE:
        return no_reader(node)
    message, because = f"the result of {node.op_type} is too large", f"{elements:,} elements of constants would be stored"
    return Diagnostic("N024", message, place_of(node), because, "make the constant smaller")


def unsupported_use(node: ir.Node, because: str, help_text: str) -> Diagnostic:
    """Return the refusal of an operator that is read, but not in this form."""
    return Diagnostic("N018", f"this use of {node.op_type} is not supported", place_of(node), because, help_text)


def sizes_in(operands: Sequence[Node | None]) -> list[int]:
    """Return the sizes of operands, and numbers in those that may be shapes."""
    sizes: list[int] = []
    for operand in operands:
        if operand is not None:
            sizes += operand.shape
            value = value_of(operand)
            if value is not None and value.dtype.kind in "iu" and value.ndim == 1 and value.size <= 8:
                sizes += [int(n) for n in value]
    return sizes


_REASONS = {
    "NonZero": "the size of its result depends on data",
    "TopK": "sorting has no operator in the graph",
    "LSTM": "recurrence has no operator in the graph",
}


def no_reader(node: ir.Node | onnx.NodeProto) -> Diagnostic:
    """Return the refusal of an operator that is not read."""
    because = _REASONS.get(node.op_type, "the graph has no operator for it, and no rule rewrites it into others")
    help_text = "replace it in the model, or add a reader for it (CONTRIBUTING, 'Add an operator')"
    return Diagnostic("N017", f"operator {node.op_type} is not supported", place_of(node), because, help_text)
