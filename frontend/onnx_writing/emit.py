"""The nodes and constants of an ONNX graph under construction, with fresh names and shared constants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import onnx
from edgewright.passes.ir import Array, Node, Op

Kind = TypeVar("Kind", bound=Op)


def op_of(node: Node, kind: type[Kind]) -> Kind:
    """Return the operator of a node, which is one of this kind."""
    assert isinstance(node.op, kind), f"{node.name} is a {node.op.kind}"
    return node.op


class Emitter:
    """Append-only: every call returns the name of its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def __call__(self, op_type: str, *operands: str, **attributes: Any) -> str:
        """Append a node with one result."""
        name = f"v{len(self.nodes)}_{op_type}"
        self.nodes.append(onnx.helper.make_node(op_type, list(operands), [name], name=name, **attributes))
        return name

    def rename(self, value: str, name: str) -> None:
        """Rename the newest result, or give an older value a second name."""
        if self.nodes and self.nodes[-1].output[0] == value and not value.startswith("t"):
            self.nodes[-1].output[0] = self.nodes[-1].name = name
            return
        self.nodes.append(onnx.helper.make_node("Identity", [value], [name], name=f"{name}_is"))

    def constant_as(self, name: str, array: Array) -> None:
        """Store a constant under `name`: floats as float32, everything else as int64."""
        array = np.asarray(array, np.float32 if array.dtype.kind == "f" else np.int64)
        self.tensors.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))

    def exact(self, array: Array) -> str:
        """Return a constant of the array's dtype; equal ones are stored once."""
        array = np.asarray(array)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self._shared[key] = f"c{len(self._shared)}"
            self.tensors.append(onnx.numpy_helper.from_array(array, self._shared[key]))
        return self._shared[key]

    def ints(self, values: Any) -> str:
        """Return an int64 constant."""
        return self.exact(np.asarray(values, np.int64))

    def real(self, number: float) -> str:
        """Return a float32 constant."""
        return self.exact(np.asarray(number, np.float32))

    def sum(self, value: str, axis: int, keepdims: int = 1) -> str:
        """Append the sum over one axis."""
        return self("ReduceSum", value, self.ints([axis]), keepdims=keepdims)

    def cast(self, value: str, data_type: int) -> str:
        """Append a cast to another element type."""
        return self("Cast", value, to=int(data_type))

    def reshape(self, value: str, shape: Sequence[int]) -> str:
        """Append a reshape."""
        return self("Reshape", value, self.ints(list(shape)))

    def transpose(self, value: str, *perm: int) -> str:
        """Append a permutation of axes."""
        return self("Transpose", value, perm=list(perm))
