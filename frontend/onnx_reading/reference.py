"""Compute one ONNX node of known operands by ONNX's own reference implementation."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import onnx
from edgewright.passes.ir import Array
from onnx.reference import ReferenceEvaluator


def standardised(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return the node under names that depend only on its form, so that equal nodes are equal."""
    standard = onnx.NodeProto()
    standard.CopyFrom(node)
    standard.name = ""
    for i, name in enumerate(node.input):
        standard.input[i] = f"x{i}" if name else ""
    for i in range(len(node.output)):
        standard.output[i] = f"y{i}"
    return standard


def evaluate(node: onnx.NodeProto, opset: int, operands: Sequence[Array | None]) -> list[Array]:
    """Return the node's results; an omitted operand is None or absent. Raises whatever the implementation raises."""
    arrays = [operand for operand in operands if operand is not None]
    standard = standardised(node)
    names = [name for name in standard.input if name]
    evaluator = _evaluator(standard.SerializeToString(deterministic=True), opset, tuple(str(a.dtype) for a in arrays))
    with np.errstate(all="ignore"):
        results = evaluator.run(None, dict(zip(names, arrays, strict=True)))
    return [np.asarray(array) for array in results]


@lru_cache(maxsize=256)
def _evaluator(proto: bytes, opset: int, dtypes: tuple[str, ...]) -> ReferenceEvaluator:
    node = onnx.NodeProto.FromString(proto)
    names = [name for name in node.input if name]
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)
        for name, dtype in zip(names, dtypes, strict=True)
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(name) for name in node.output]
    graph = onnx.helper.make_graph([node], "node", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9)
    return ReferenceEvaluator(model)
