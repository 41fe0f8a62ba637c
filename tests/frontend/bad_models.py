"""Small wrong models, and what a refusal has to look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes import error_texts
from edgewright.passes.diagnostics import CompileError
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.onnx_vit import Sizes

SMALL = Sizes(image=4, width=4, heads=2, hidden=4)


def refusal(source: onnx.ModelProto | Path, shapes: dict[str, tuple[int, ...]] | None = None) -> CompileError:
    """The error; each diagnostic is complete and its code is documented."""
    with pytest.raises(CompileError) as caught:
        read_model(source, shapes)
    for diagnostic in caught.value.diagnostics:
        assert diagnostic.message and diagnostic.at and diagnostic.because and diagnostic.help, diagnostic
        assert diagnostic.code in error_texts.codes() and diagnostic.code[0] in "NED"
    return caught.value


def codes(error: CompileError) -> list[str]:
    return [diagnostic.code for diagnostic in error.diagnostics]


def chain(*nodes: onnx.NodeProto, opset: int = 17, shape: tuple[int | str, ...] = (1, 4)) -> onnx.ModelProto:
    """A model from x to y with one weight w (4, 4)."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def product(name: str = "product") -> onnx.NodeProto:
    return helper.make_node("MatMul", ["x", "w"], ["y"], name=name)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def external(model: onnx.ModelProto, location: str, offset: int = 0, length: int = 64) -> onnx.ModelProto:
    """The weight's bytes in another file."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return model


def with_tensor(change: Callable[[onnx.TensorProto], object]) -> onnx.ModelProto:
    model = chain(product())
    change(model.graph.initializer[0])
    return model


def set_values(value: float) -> Callable[[onnx.TensorProto], object]:
    def change(tensor: onnx.TensorProto) -> None:
        array = np.eye(4, dtype=np.float32)
        array[1, 2] = value
        tensor.raw_data = array.tobytes()

    return change
