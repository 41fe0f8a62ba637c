"""Small models of every kind that is read, made by code, for `mutations` to change."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.onnx_networks import dino, efficient_vit, pyramid, text_encoder
from tests.frontend.onnx_vit import Sizes, Spelling, vit

_SMALL = Sizes(image=4, width=32, heads=2, hidden=32, classes=3)


Inputs = dict[str, tuple[int, tuple[int, ...]]]


def _model(nodes: list[onnx.NodeProto], inputs: Inputs, opset: int, seed: int) -> onnx.ModelProto:
    """Weights are made for the names w (4, 4), t (7, 4), k (3, 2, 3, 3) and single numbers."""
    rng = np.random.default_rng(seed)
    held = {
        "w": rng.standard_normal((4, 4)),
        "t": rng.standard_normal((7, 4)),
        "k": rng.standard_normal((3, 2, 3, 3)),
        "one": np.ones(()),
        "low": np.array(-10000.0),
        "ones": np.ones(4),
        "noughts": np.zeros(4),
    }
    integers = {"axis": [1], "last": [-1], "nought": [0], "two": [2], "sizes": [1, 2, 8, 8], "flat": [1, -1]}
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in held.items()]
    tensors += [numpy_helper.from_array(np.asarray(value, np.int64), name) for name, value in integers.items()]
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [tensor for tensor in tensors if tensor.name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _node(op_type: str, inputs: str, output: str, **attributes: object) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], name=output, **attributes)  # type: ignore[arg-type]


def elementwise() -> onnx.ModelProto:
    """Activations and sums in a row."""
    names = ["Relu", "Sigmoid", "Tanh", "Neg", "Erf", "HardSwish", "Softmax"]
    nodes = [_node("MatMul", "x w", "v0")]
    for i, op_type in enumerate(names):
        nodes += [_node(op_type, f"v{i}", f"a{i}"), _node("Add", f"a{i} v{i}", f"v{i + 1}")]
    nodes.append(_node("Clip", f"v{len(names)} one", "c"))
    nodes.append(_node("LayerNormalization", "c ones noughts", "y", axis=-1))
    return _model(nodes, {"x": (TensorProto.FLOAT, (1, 3, 4))}, 18, 1)


def embedding() -> onnx.ModelProto:
    """Ids less an offset pick rows; a mask forbids some."""
    nodes = [
        _node("Sub", "ids two", "index"),
        _node("Gather", "t index", "e"),
        _node("Cast", "mask", "f", to=1),
        _node("Sub", "one f", "g"),
        _node("Mul", "g low", "h"),
        _node("Unsqueeze", "h two", "u"),
        _node("Add", "e u", "s"),
        _node("Softmax", "s", "p", axis=1),
        _node("Mul", "p e", "q"),
        _node("ReduceSum", "q axis", "r", keepdims=0),
        _node("Gemm", "r w ones", "y"),
    ]
    return _model(nodes, {"ids": (TensorProto.INT64, (1, 5)), "mask": (TensorProto.INT64, (1, 5))}, 17, 2)


def images() -> onnx.ModelProto:
    """Bytes, convolution, interpolation, padding of a batch of two."""
    nodes = [
        _node("Cast", "x", "f", to=1),
        _node("Conv", "f k", "c", pads=[1, 1, 1, 1]),
        _node("Relu", "c", "r"),
        _node("GlobalAveragePool", "r", "g"),
        _node("Flatten", "g", "y"),
    ]
    return _model(nodes, {"x": (TensorProto.UINT8, (2, 2, 4, 4))}, 17, 3)


def upsample() -> onnx.ModelProto:
    """Resize to constant sizes, then slices and joins."""
    nodes = [
        helper.make_node("Resize", ["x", "", "", "sizes"], ["r"], name="r", mode="linear"),
        _node("Slice", "r nought two last", "s"),
        _node("Concat", "s s", "j", axis=1),
        _node("ReduceMean", "j last", "m", keepdims=1),
        _node("Reshape", "m flat", "y"),
    ]
    return _model(nodes, {"x": (TensorProto.FLOAT, (1, 2, 4, 4))}, 18, 4)


BASES: tuple[Callable[[], onnx.ModelProto], ...] = (
    elementwise,
    embedding,
    images,
    upsample,
    lambda: vit(Spelling(), _SMALL),
    lambda: vit(Spelling(opset=13, norm="div", qkv="gather", gelu="tanh", batch=3, pool="mean"), _SMALL),
    lambda: vit(Spelling(opset=23, attention="op4", gelu="op", mask=True), _SMALL),
    lambda: vit(Spelling(opset=11, norm="pow_half", qkv="slice", patch="reshapes", batch="n", nan_guard=True), _SMALL),
    lambda: text_encoder(sizes=Sizes(width=32, heads=2, hidden=32)),
    lambda: text_encoder("compared", sizes=Sizes(width=32, heads=2, hidden=32), types=False),
    dino,
    efficient_vit,
    pyramid,
)


@lru_cache(maxsize=len(BASES))
def base_bytes(index: int) -> bytes:
    """A base model, serialised."""
    return bytes(BASES[index % len(BASES)]().SerializeToString())
