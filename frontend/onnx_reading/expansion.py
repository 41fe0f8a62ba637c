"""Expand operators of onnxruntime into standard operators, before anything else reads the model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from edgewright.frontend.onnx_reading.checks import name_of, opset_of, replace_nodes
from onnx import helper, numpy_helper


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the values of the node's attributes by name; strings as bytes."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


class Expansion:
    """Append-only list of the nodes that replace `node`, all under its name; every call returns the name of its result."""

    def __init__(self, node: onnx.NodeProto, prefix: str, opset: int) -> None:
        self.node = node
        self.attributes = attributes_of(node)
        self.nodes: list[onnx.NodeProto] = []
        self._name, self._prefix, self._opset = name_of(node), prefix, opset

    def operand(self, index: int) -> str:
        """Return the name of an input of the replaced node; empty if it is omitted."""
        return str(self.node.input[index]) if index < len(self.node.input) else ""

    def __call__(self, op_type: str, *operands: str, to: str = "", **attributes: Any) -> str:
        """Append one node whose first result is called `to`, or gets a fresh name."""
        result = to or f"{self._prefix}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(operands), [result], name=self._name, **attributes))
        return result

    def ints(self, *values: int) -> str:
        """Append a vector of int64."""
        return self("Constant", value=numpy_helper.from_array(np.array(values, np.int64)))

    def real(self, number: float) -> str:
        """Append a float32 scalar."""
        return self("Constant", value=numpy_helper.from_array(np.array(number, np.float32)))

    def reduce(self, op_type: str, x: str, axis: int, keepdims: int) -> str:
        """Append ReduceSum or ReduceMean over one axis, which is an input or an attribute by the model's opset."""
        if self._opset >= {"ReduceSum": 13, "ReduceMean": 18}[op_type]:
            return self(op_type, x, self.ints(axis), keepdims=keepdims)
        return self(op_type, x, axes=[axis], keepdims=keepdims)


def expand(model: onnx.ModelProto, applies: Callable[[onnx.NodeProto], bool], write: Callable[[Expansion], object]) -> None:
    """Replace every node of the main graph that `applies` accepts by what `write` appends; in place."""
    if not any(map(applies, model.graph.node)):
        return
    nodes: list[onnx.NodeProto] = []
    for index, node in enumerate(model.graph.node):
        if not applies(node):
            nodes.append(node)
            continue
        expansion = Expansion(node, f"{name_of(node)}/{index}", opset_of(model))
        write(expansion)
        nodes += expansion.nodes
    replace_nodes(model.graph, nodes)
