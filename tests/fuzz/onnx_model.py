"""A random ONNX model in the making: nodes, constants, layouts, inputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from edgewright.passes.ir.types import Array
from onnx import TensorProto, helper, numpy_helper

SIDE, CHANNELS = 4, 8
TOKENS = SIDE * SIDE
MASK_LEVELS = (-1e4, -65504.0, -1e9, -1e30, float(np.finfo(np.float32).min), -math.inf)


@dataclass(frozen=True)
class Value:
    """A float tensor: (1, N, C) tokens or (1, C, H, W) maps."""

    name: str
    shape: tuple[int, ...]


Step = Callable[["Model", Value], Value]


class Model:
    """A model in the making."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = int(self.rng.choice([13, 17, 18, 20, 21]))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.inputs: dict[str, tuple[int, tuple[int, ...]]] = {"x": (TensorProto.FLOAT, (1, TOKENS, CHANNELS))}
        self.known: dict[tuple[int, ...], str] = {}

    # ---- parts

    def __call__(self, kind: str, *inputs: Value | str, shape: tuple[int, ...] | None = None, **attributes: Any) -> Value:
        """One node; its result has the first operand's shape unless another is given."""
        name = f"v{len(self.nodes)}"
        names = [value if isinstance(value, str) else value.name for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [name], name=f"{kind}_{len(self.nodes)}", **attributes))
        first = inputs[0]
        return Value(name, shape if shape is not None else first.shape if isinstance(first, Value) else ())

    def given(self, value: Array | float) -> str:
        """A constant."""
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def ints(self, *values: int) -> str:
        return self.given(np.asarray(values, np.int64))

    def real(self, *shape: int, middle: float = 0.0, spread: float = 0.5) -> str:
        return self.given(middle + spread * self.rng.standard_normal(shape))

    def weight(self, *shape: int, ins: int) -> str:
        """Sometimes one that another product has."""
        if shape not in self.known or self.rng.random() > 0.2:
            self.known[shape] = self.real(*shape, middle=0.1, spread=1 / math.sqrt(ins))
        return self.known[shape]

    def pick(self, *choices: str) -> str:
        return choices[self.rng.integers(len(choices))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def input(self, name: str, kind: int, *shape: int) -> str:
        self.inputs[name] = kind, shape
        return name

    # ---- moves

    def reshape(self, x: Value, *shape: int) -> Value:
        written = list(shape)
        if self.chance(0.3) and 0 not in shape:
            written[int(self.rng.integers(len(shape)))] = -1
        return self("Reshape", x, self.ints(*written), shape=shape)

    def transpose(self, x: Value, *perm: int) -> Value:
        return self("Transpose", x, shape=tuple(x.shape[i] for i in perm), perm=perm)

    def tokens(self, x: Value) -> Value:
        if len(x.shape) == 3:
            return x
        _, channels, height, width = x.shape
        if self.chance(0.5):
            return self.reshape(self.transpose(x, 0, 2, 3, 1), 1, height * width, channels)
        return self.transpose(self.reshape(x, 1, channels, height * width), 0, 2, 1)

    def maps(self, x: Value) -> Value:
        if len(x.shape) == 4:
            return x
        _, count, channels = x.shape
        height = max(n for n in range(1, math.isqrt(count) + 1) if count % n == 0)
        if self.chance(0.5):
            return self.transpose(self.reshape(x, 1, height, count // height, channels), 0, 3, 1, 2)
        return self.reshape(self.transpose(x, 0, 2, 1), 1, channels, height, count // height)

    def either(self, x: Value) -> Value:
        return self.maps(x) if self.chance(0.4) else self.tokens(x)

    def axes(self, kind: str, x: Value, axes: tuple[int, ...], keep: bool = True) -> Value:
        """A reduction; axes are an input from opset 18 on (ReduceSum: 13)."""
        at = {a % len(x.shape) for a in axes}
        shape = tuple(1 if i in at else n for i, n in enumerate(x.shape) if keep or i not in at)
        if self.opset >= 18 or kind == "ReduceSum":
            return self(kind, x, self.ints(*axes), shape=shape, keepdims=int(keep))
        return self(kind, x, shape=shape, axes=axes, keepdims=int(keep))

    # ---- whole

    def proto(self, *outputs: Value) -> onnx.ModelProto:
        inputs = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in self.inputs.items()]
        results = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape) for v in outputs]
        graph = helper.make_graph(self.nodes, "random", inputs, results, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=9)

    def samples(self, count: int, rng: np.random.Generator) -> dict[str, Array]:
        """Inputs, so many samples along axis 0."""
        found: dict[str, Array] = {}
        for name, (kind, shape) in self.inputs.items():
            whole = (count * shape[0], *shape[1:])
            if kind == TensorProto.FLOAT:
                found[name] = rng.standard_normal(whole).astype(np.float32)
            elif name == "lengths":
                found[name] = rng.integers(1, TOKENS + 1, whole)
            elif name == "ids":
                found[name] = rng.integers(0, 11, whole)
            else:
                bits = rng.integers(0, 2, whole)
                bits[..., 0] = 1  # a row without any key is nan, or depends on the size of the mask
                found[name] = bits.astype(helper.tensor_dtype_to_np_dtype(kind))
        return found
