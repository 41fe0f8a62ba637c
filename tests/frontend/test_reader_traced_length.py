"""Lengths that an export wrote into a model whose axis is declared open: one error that names the length."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import codes, refusal


def model(*nodes: onnx.NodeProto, second: bool = False, **constants: list[int] | list[list[float]]) -> onnx.ModelProto:
    inputs = ["x", "z"] if second else ["x"]
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("batch", "length", 6)) for name in inputs],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.array(value, np.float32 if name == "table" else np.int64), name)
            for name, value in constants.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


HEADS = helper.make_node("Reshape", ["x", "heads"], ["h"], name="to_heads")
BACK = helper.make_node("Reshape", ["h", "back"], ["y"])
TRACED = {
    "a reshape": lambda: model(HEADS, BACK, heads=[1, 20, 2, 3], back=[1, 20, 6]),
    "two reshapes": lambda: model(
        HEADS, BACK, helper.make_node("Reshape", ["x", "heads"], ["unused"]), heads=[20, 2, 3], back=[1, 20, 6]
    ),
    "positions": lambda: model(helper.make_node("Add", ["x", "table"], ["y"]), table=np.zeros((20, 6)).tolist()),
}


@pytest.mark.parametrize("name", TRACED)
def test_the_traced_length_is_named(name: str) -> None:
    proto = TRACED[name]()
    error = refusal(proto, {"x": (1, 12, 6)})
    assert codes(error) == ["N026"]
    assert "20" in error.diagnostics[0].message and "--shape x=1,20,6" in error.diagnostics[0].help
    assert read_model(proto, {"x": (1, 20, 6)}).inputs[0].shape == (1, 20, 6)


def test_every_input_of_that_length_is_named() -> None:
    proto = model(
        helper.make_node("Add", ["x", "z"], ["s"]), helper.make_node("Reshape", ["s", "to"], ["y"]), second=True, to=[20, 6]
    )
    error = refusal(proto, {"x": (1, 12, 6), "z": (1, 12, 6)})
    assert codes(error) == ["N026"]
    assert "--shape x=1,20,6 --shape z=1,20,6" in error.diagnostics[0].help


def test_what_no_length_mends_is_told_as_it_is() -> None:
    proto = model(helper.make_node("Reshape", ["x", "to"], ["y"]), to=[7, 11])
    assert codes(refusal(proto, {"x": (1, 12, 6)})) == ["N018"]
