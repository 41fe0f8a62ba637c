"""Find the role of a model's integer inputs: ids that pick rows of a table, masks of zeros and ones, or numbers.

The role follows from their use: ids reach an index of Gather, masks a comparison, a choice, or a number so large that it
can only mask something (a score of -10000). Everything else is a number.
"""

from __future__ import annotations

import enum

import numpy as np
import onnx_ir as ir

FORBIDDING = 1000.0
"""Scores of this size are masked: those of attention are some tens."""
# fmt: off
_LOGICAL = frozenset((
    "And", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "Equal", "Greater", "GreaterOrEqual", "IsInf", "Less", "LessOrEqual",
    "Not", "Or", "Xor",
))
_PASSES = frozenset((
    "Abs", "Add", "Cast", "CastLike", "Clip", "Concat", "CumSum", "Div", "Expand", "Flatten", "Identity", "Max", "Min", "Mod",
    "Mul", "Neg", "Pow", "Reshape", "Sign", "Slice", "Split", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
_PICKS = frozenset(("Gather", "GatherElements", "GatherND"))


class Role(enum.Enum):
    """The role of an integer input."""

    IDS = "ids"
    MASK = "mask"
    NUMBER = "number"


def role_of(value: ir.Value) -> Role:
    """Return the input's role by everything that uses it, through moves and arithmetic with constants."""
    if value.dtype == ir.DataType.BOOL:
        return Role.MASK
    logical = False
    seen: set[ir.Value] = {value}
    pending = [value]
    while pending:
        current = pending.pop()
        for use in current.uses():
            node, position = use.node, use.idx
            if node.op_type in _PICKS and position == 1:
                return Role.IDS
            if node.op_type in _LOGICAL or _decides(node, position):
                logical = True
                continue
            picked_from = node.op_type in _PICKS and position == 0
            if not picked_from and (node.op_type not in _PASSES or not _others_are_constant(node, current)):
                continue
            logical = logical or _forbids(node)
            new = [output for output in node.outputs if output not in seen]
            seen.update(new)
            pending += new
    return Role.MASK if logical else Role.NUMBER


def _decides(node: ir.Node, position: int) -> bool:
    """Return whether the operand chooses: the condition of Where, or a number cast to a boolean."""
    to_bool = node.op_type == "Cast" and node.attributes["to"].as_int() == ir.DataType.BOOL
    return (node.op_type == "Where" and position == 0) or to_bool


def _others_are_constant(node: ir.Node, value: ir.Value) -> bool:
    joined = node.op_type in ("Concat", "Where")
    return joined or all(v is None or v is value or v.const_value is not None for v in node.inputs)


def _forbids(node: ir.Node) -> bool:
    if node.op_type not in ("Add", "Sub", "Mul", "Div", "Where", "Max", "Min"):
        return False
    constants = [np.asarray(v.const_value.numpy()) for v in node.inputs if v is not None and v.const_value is not None]
    return any(c.dtype.kind == "f" and c.size and float(np.abs(c).max()) >= FORBIDDING for c in constants)
