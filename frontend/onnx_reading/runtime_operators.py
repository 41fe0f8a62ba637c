"""Normalisations that belong to onnxruntime, written out in standard operators before anything else looks at the model.

Its optimiser and its model builders leave SimplifiedLayerNormalization (in the default domain, or in com.microsoft) and
com.microsoft.SkipSimplifiedLayerNormalization behind: x / sqrt(mean(x^2) + epsilon) * scale over the last axis, the
latter of input + skip [+ bias], whose sum is its fourth output. Source: onnxruntime's documentation of its operators.
What cannot be written out (other axes, statistics that are read) stays, and is refused by name later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_PLAIN, _SKIP = "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"
_PLACES = {("", _PLAIN), ("ai.onnx", _PLAIN), ("com.microsoft", _PLAIN), ("com.microsoft", _SKIP)}


def expand_runtime_operators(model: onnx.ModelProto) -> None:
    """Replaces them in the main graph, in place."""
    if not any((node.domain, node.op_type) in _PLACES for node in model.graph.node):
        return
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    axes_are_input = bool(versions) and max(versions) >= 18
    read = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(model.graph.node):
        if (node.domain, node.op_type) in _PLACES and _can_expand(node, read):
            nodes += _expanded(node, f"{node.output[0]}/{index}", axes_are_input)
        else:
            nodes.append(node)
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    found = next((a for a in node.attribute if a.name == name), None)
    return default if found is None else float(helper.get_attribute_value(found))


def _can_expand(node: onnx.NodeProto, read: set[str]) -> bool:
    skip = node.op_type == _SKIP
    operands = [name for name in node.input if name]
    statistics = [name for i, name in enumerate(node.output) if i and name and not (skip and i == 3)]
    complete = len(operands) in ((3, 4) if skip else (2,)) and bool(node.output) and bool(node.output[0])
    return complete and read.isdisjoint(statistics) and _attribute(node, "axis", -1) == -1


def _expanded(node: onnx.NodeProto, prefix: str, axes_are_input: bool) -> Iterator[onnx.NodeProto]:
    operands = [name for name in node.input if name]
    name = node.name or node.output[0]

    def made(op_type: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(op_type, inputs, [output], name=name, **attributes)

    def constant(value: np.ndarray[tuple[int, ...], np.dtype[np.generic]], output: str) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [output], value=numpy_helper.from_array(value))

    x, scale = operands[0], operands[-1]
    if node.op_type == _SKIP:
        scale = operands[2]
        total = node.output[3] if len(node.output) > 3 and node.output[3] else f"{prefix}/sum"
        first = total if len(operands) == 3 else f"{prefix}/skip"
        yield made("Add", [x, operands[1]], first)
        if len(operands) == 4:
            yield made("Add", [first, operands[3]], total)
        x = total
    yield made("Mul", [x, x], f"{prefix}/square")
    if axes_are_input:
        yield constant(np.array([-1], np.int64), f"{prefix}/axes")
        yield made("ReduceMean", [f"{prefix}/square", f"{prefix}/axes"], f"{prefix}/mean", keepdims=1)
    else:
        yield made("ReduceMean", [f"{prefix}/square"], f"{prefix}/mean", axes=[-1], keepdims=1)
    epsilon = _attribute(node, "epsilon", 1e-5 if node.op_type == _PLAIN else 1e-12)
    yield constant(np.array(epsilon, np.float32), f"{prefix}/epsilon")
    yield made("Add", [f"{prefix}/mean", f"{prefix}/epsilon"], f"{prefix}/moved")
    yield made("Sqrt", [f"{prefix}/moved"], f"{prefix}/root")
    yield made("Div", [x, f"{prefix}/root"], f"{prefix}/normalised")
    yield made("Mul", [f"{prefix}/normalised", scale], node.output[0])
