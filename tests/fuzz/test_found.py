"""The smallest models of each kind of fault that random and mutated models have shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.samples.data import random_samples
from edgewright.frontend.samples.scores import outputs_of
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.input_ranges import input_ranges
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ir.types import Array
from edgewright.passes.ops import Requantise
from edgewright.passes.pipeline import QuantiseOptions, quantise
from onnx import TensorProto, helper, numpy_helper

from tests.fuzz.mutation_checks import check

FLOAT, IDS, BYTES, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8, TensorProto.BOOL
WEIGHTS: dict[str, Array] = {
    "w": np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4),
    "t": np.linspace(-1, 1, 28, dtype=np.float32).reshape(7, 4),
    "four": np.arange(4),
    "twice": np.array([1, -4]),
    "two": np.array([2]),
}
Inputs = dict[str, tuple[int, tuple[int, ...]]]
X: Inputs = {"x": (FLOAT, (1, 3, 4))}
X_AND_IDS: Inputs = {**X, "ids": (IDS, (1, 5))}


def model(lines: str, inputs: Inputs, *outputs: str) -> bytes:
    """A node a line: result = Operator operands."""
    nodes = []
    for line in lines.strip().splitlines():
        name, _, op_type, *operands = line.split()
        nodes.append(helper.make_node(op_type, [o for o in operands if "=" not in o], [name], name=name))
        for key, value in (o.split("=") for o in operands if "=" in o):
            nodes[-1].attribute.append(helper.make_attribute(key, int(value)))
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in WEIGHTS.items() if name in read],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString())


REFUSED = {
    "an axis inserted twice": (model("y = MatMul x w\nz = Unsqueeze y twice", X, "z"), "read", "N018"),
    "ids and constants that do not broadcast": (
        model("i = Add ids four\ne = Gather t i\ny = MatMul e w", {"ids": (IDS, (1, 5))}, "y"),
        "read",
        "N018",
    ),
    "ids less offsets that do not broadcast": (
        model("i = Sub ids four\nj = Sub i two\ne = Gather t j\ny = MatMul e w", {"ids": (IDS, (1, 5))}, "y"),
        "read",
        "N018",
    ),
    "integers computed by a function": (
        model("y = MatMul x w\nz = Relu ids", {**X, "ids": (BYTES, (1, 5))}, "y", "z"),
        "read",
        "N018",
    ),
    "a mask of any size": (
        model("b = Cast mask to=9\nz = Where b x two", {**X, "mask": (IDS, (1, 400_000_000))}, "z"),
        "read",
        "N024",
    ),
    "an output of ids": (model("y = MatMul x w", X_AND_IDS, "y", "ids"), "quantise", "Q014"),
    "an output of moved ids": (model("y = MatMul x w\nz = Unsqueeze ids two", X_AND_IDS, "y", "z"), "quantise", "Q014"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_a_reason(kind: str) -> None:
    data, stage, code = REFUSED[kind]
    verdict = check(data)
    assert (verdict.kind, verdict.where) == (f"refused by {stage}", code)


def test_an_output_of_ids_is_what_was_given(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(model("y = MatMul x w", X_AND_IDS, "y", "ids"))
    graph = read_model(tmp_path / "m.onnx")
    samples = random_samples({"x": (1, 3, 4), "ids": (1, 5)}, 2, ranges=input_ranges(graph)).inputs
    assert np.array_equal(interpret(graph, samples)["ids"], samples["ids"])
    with pytest.raises(CompileError) as caught:
        quantise(graph, samples, QuantiseOptions(method="minmax"))
    assert "'ids'" in caught.value.diagnostics[0].message


def test_a_single_number_in_integers(tmp_path: Path) -> None:
    """The mean of everything, as what a Requantise gives."""
    data = model("y = MatMul x w\nz = ReduceMean y keepdims=0", X, "y", "z")
    verdict = check(data)
    assert verdict.kind == "refused by plan" and verdict.compared
    (tmp_path / "m.onnx").write_bytes(data)
    graph = read_model(tmp_path / "m.onnx")
    shapes = {node.name: node.shape for node in graph.inputs}
    samples = random_samples(shapes, 2).inputs
    whole = quantise(graph, samples, QuantiseOptions(method="minmax")).graph
    assert any(isinstance(node.op, Requantise) and node.shape == () for node in whole.nodes())
    quant = whole.outputs[1].quant
    assert quant is not None
    exact, found = interpret(graph, samples)["z"], interpret(whole, samples)["z"].astype(np.float64)
    assert np.allclose(found * quant.scales, exact, rtol=0.05, atol=0.05)


def test_an_output_that_depends_on_no_input_has_a_row_for_each_sample(tmp_path: Path) -> None:
    data = model("y = MatMul x w\nk = MatMul t w", X, "y", "k")
    (tmp_path / "m.onnx").write_bytes(data)
    graph = read_model(tmp_path / "m.onnx")
    samples = random_samples({"x": (1, 3, 4)}, 4).inputs
    found = interpret(graph, samples)
    for values in (found, outputs_of(graph, samples)):
        assert {name: len(value) for name, value in values.items()} == {"y": 4, "k": 4 * 7}
    one = interpret(graph, {"x": samples["x"][:1]})["k"]
    assert np.array_equal(found["k"], np.tile(one, (4, 1)))


def test_ranges_stay_within_the_type(tmp_path: Path) -> None:
    """A boolean input that picks rows of a table of 7."""
    data = model("i = Cast keep to=7\ne = Gather t i\ny = MatMul e w", {"keep": (BOOL, (1, 5))}, "y")
    (tmp_path / "m.onnx").write_bytes(data)
    assert input_ranges(read_model(tmp_path / "m.onnx")) == {"keep": (0, 1)}
    assert check(data).kind != "fault"
