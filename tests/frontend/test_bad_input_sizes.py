"""A few bytes that ask for gigabytes: refused by size, before anything of that size is allocated."""

from __future__ import annotations

import resource
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.bad_models import codes, refusal

HUGE = 400_000_000


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def reals(name: str, values: object) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


def model(*nodes: onnx.NodeProto, constants: list[onnx.TensorProto], shape: tuple[int, ...] = (1, 4)) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    inputs = [value("x", TensorProto.FLOAT, shape), value("m", TensorProto.INT64, (1, 8))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(list(nodes), "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def added(op_type: str, operands: list[str], *constants: onnx.TensorProto, **attributes: Any) -> onnx.ModelProto:
    """x + the operator's result."""
    nodes = [helper.make_node(op_type, operands, ["r"], **attributes), helper.make_node("Add", ["x", "r"], ["y"])]
    return model(*nodes, constants=list(constants))


ROW = reals("k", [[1, 2, 3, 4]])
LARGE = {
    "resize the input": added("Resize", ["x", "", "", "s"], ints("s", HUGE, 4)),
    "resize a constant": added("Resize", ["k", "", "", "s"], ROW, ints("s", HUGE, 4)),
    "resize linearly": added("Resize", ["x", "", "", "s"], ints("s", HUGE, 4), mode="linear"),
    "resize by factors": added("Resize", ["x", "", "s"], reals("s", [1e8, 1])),
    "constant of shape": added("ConstantOfShape", ["s"], ints("s", HUGE, 4)),
    "constant of a shape beyond 64 bits": added("ConstantOfShape", ["s"], ints("s", HUGE, HUGE, HUGE)),
    "range": added("Range", ["a", "b", "c"], reals("a", 0), reals("b", 4e9), reals("c", 1)),
    "tile a constant": added("Tile", ["k", "s"], ROW, ints("s", HUGE, 1)),
    "tile the input": added("Tile", ["x", "s"], ints("s", HUGE, 1)),
    "tile a mask": added("Tile", ["m", "s"], ints("s", HUGE, 1)),
    "expand a constant": added("Expand", ["k", "s"], ROW, ints("s", HUGE, 4)),
    "expand the input": added("Expand", ["x", "s"], ints("s", HUGE, 4)),
    "pad the input": added("Pad", ["x", "s"], ints("s", HUGE, 0, 0, 0)),
    "pad a constant": added("Pad", ["k", "s"], ROW, ints("s", HUGE, 0, 0, 0)),
    "one hot": added("OneHot", ["k", "d", "v"], ints("k", 1, 2), ints("d", HUGE), reals("v", [0, 1])),
    "a sum of a column and a row": added(
        "Add", ["p", "q"], reals("p", np.zeros((30_000, 1))), reals("q", np.zeros((1, 30_000)))
    ),
    "doubled 40 times": model(
        *(helper.make_node("Concat", [f"x{i}" if i else "x"] * 2, [f"x{i + 1}" if i < 39 else "y"], axis=1) for i in range(40)),
        constants=[],
    ),
    "doubled 27 times": model(
        *(helper.make_node("Concat", [f"x{i}" if i else "x"] * 2, [f"x{i + 1}" if i < 26 else "y"], axis=1) for i in range(27)),
        constants=[],
    ),
    "pad a convolution": model(
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[100_000] * 4),
        constants=[reals("w", np.zeros((1, 1, 3, 3)))],
        shape=(1, 1, 8, 8),
    ),
}


@pytest.mark.parametrize("name", LARGE)
def test_size_is_looked_at_first(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refusal(LARGE[name])
    assert codes(error)[0] in ("N017", "N018", "N024")
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mib < 400
