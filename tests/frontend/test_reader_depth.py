"""Files of many operators in a row or a lattice: read in about linear time, whatever looks for a pattern in them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.passes.ir.interp import interpret
from onnx import TensorProto, helper, numpy_helper

from tests.frontend.small_models import session

DEPTH = 1500


def lines(kind: str) -> list[tuple[str, list[str]]]:
    """(operator, inputs) in a row; "<" is the one before, "<<" the one before that."""
    if kind == "residual":
        return [("Tanh", ["<"]), ("Add", ["<", "<<"])] * (DEPTH // 2)
    if kind == "sums of sums":
        return [("Add", ["<", "<"])] * 40 + [("Softmax", ["<"])]
    if kind == "signs":
        return [("Neg", ["<"])] * DEPTH + [("Add", ["<", "x"])]
    if kind == "biases":
        return [("MatMul", ["<", "w"]), *[("Add", ["<", "b"])] * DEPTH, ("Softmax", ["<"]), ("MatMul", ["<", "w"])]
    if kind == "choices":
        return [("MatMul", ["<", "w"]), *[("Where", ["keep", "<", "never"])] * DEPTH, ("Softmax", ["<"])]
    return [("Exp", ["<"]), *[("Sub", ["<", "x"])] * DEPTH, ("Exp", ["<"]), ("MatMul", ["<", "w"]), ("Sign", ["<"])]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["residual", "sums of sums", "signs", "biases", "choices", "kernels"])
def test_many_operators(kind: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    nodes, before = [], ["x", "x"]
    for i, (op, inputs) in enumerate(lines(kind)):
        names = [{"<": before[-1], "<<": before[-2]}.get(name, name) for name in inputs]
        nodes.append(helper.make_node(op, names, [f"t{i}"], name=f"n{i}"))
        before = [before[-1], f"t{i}"]
    weights = [
        numpy_helper.from_array(draw.normal(0, 0.1, (4, 4)).astype(np.float32), "w"),
        numpy_helper.from_array(draw.normal(0, 0.001, (4,)).astype(np.float32), "b"),
        numpy_helper.from_array(np.tri(4, dtype=np.bool_), "keep"),
        numpy_helper.from_array(np.array(-1e30, np.float32), "never"),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4, 4)) for name in ("x", before[-1]))
    model = helper.make_model(
        helper.make_graph(nodes, "deep", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    onnx.save(model, tmp_path / "deep.onnx")
    started = time.process_time()
    graph = read_model(tmp_path / "deep.onnx")
    assert time.process_time() - started < 20
    image = draw.normal(0, 0.001, (1, 4, 4)).astype(np.float32)
    (wanted,) = session(model).run(None, {"x": image})
    (found,) = interpret(graph, {"x": image}).values()
    assert np.allclose(found, wanted, rtol=1e-4, atol=1e-5)
