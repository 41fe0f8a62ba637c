"""Expand onnxruntime's own normalisations into standard operators.

Its optimiser and its model builders produce SimplifiedLayerNormalization (in the default domain, or in com.microsoft) and
com.microsoft.SkipSimplifiedLayerNormalization: x / sqrt(mean(x^2) + epsilon) * scale over the last axis, the latter of
input + skip [+ bias], whose sum is its fourth output. Source: onnxruntime's documentation of its operators.
Nodes that cannot be expanded (other axes, statistics that are used) stay, and are refused by name later.
"""

from __future__ import annotations

import onnx
from edgewright.frontend.onnx_reading.expansion import Expansion, attributes_of, expand

_PLAIN, _SKIP = "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"
_NORMALISATIONS = {("", _PLAIN), ("ai.onnx", _PLAIN), ("com.microsoft", _PLAIN), ("com.microsoft", _SKIP)}


def expand_runtime_operators(model: onnx.ModelProto) -> None:
    """Expand the normalisations of the main graph, in place."""
    used = {name for node in model.graph.node for name in node.input} | {output.name for output in model.graph.output}

    def applies(node: onnx.NodeProto) -> bool:
        if (node.domain, node.op_type) not in _NORMALISATIONS:
            return False
        skip = node.op_type == _SKIP
        operands = [name for name in node.input if name]
        statistics = [name for i, name in enumerate(node.output) if i and name and not (skip and i == 3)]
        complete = len(operands) in ((3, 4) if skip else (2,)) and bool(node.output) and bool(node.output[0])
        return complete and used.isdisjoint(statistics) and attributes_of(node).get("axis", -1) == -1

    expand(model, applies, _write)


def _write(emit: Expansion) -> None:
    node = emit.node
    x, *operands = [name for name in node.input if name]
    scale = operands[-1]
    if node.op_type == _SKIP:
        skip, scale, *bias = operands
        total = node.output[3] if len(node.output) > 3 else ""
        x = emit("Add", x, skip, to="" if bias else total)
        x = emit("Add", x, *bias, to=total) if bias else x
    mean = emit.reduce("ReduceMean", emit("Mul", x, x), -1, 1)
    epsilon = emit.attributes.get("epsilon", 1e-5 if node.op_type == _PLAIN else 1e-12)
    root = emit("Sqrt", emit("Add", mean, emit.real(epsilon)))
    emit("Mul", emit("Div", x, root), scale, to=node.output[0])
