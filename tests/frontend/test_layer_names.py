"""Layers are called as the model's author calls them, each by a name of its own, whatever a file says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from edgewright.frontend.onnx_reading.layer_names import SCOPES
from edgewright.frontend.onnx_reading.reader import read_model
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

WIDTH = 4


def perceptron(scopes: Sequence[str | None]) -> onnx.ModelProto:
    """MatMul, Add, Relu, MatMul, Add, Relu; `scopes`: what the exporter wrote into each node, if anything."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.normal(size=(WIDTH, WIDTH)).astype(np.float32), f"w{i}") for i in range(2)]
    biases = [numpy_helper.from_array(rng.normal(size=WIDTH).astype(np.float32), f"b{i}") for i in range(2)]
    nodes, value = [], "x"
    for i, (kind, operand) in enumerate(
        [("MatMul", "w0"), ("Add", "b0"), ("Relu", None), ("MatMul", "w1"), ("Add", "b1"), ("Relu", None)]
    ):
        nodes.append(helper.make_node(kind, [value, *([operand] if operand else [])], [f"v{i}"], name=f"node_{i}"))
        value = f"v{i}"
    for node, text in zip(nodes, scopes, strict=True):
        if text is not None:
            node.metadata_props.add(key=SCOPES, value=text)
    shape = [1, 3, WIDTH]
    entry, end = ([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in ("x", value))
    graph = helper.make_graph(nodes, "g", entry, end, [*weights, *biases])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def layers(scopes: Sequence[str | None]) -> list[tuple[str, str]]:
    graph = read_model(perceptron(scopes))
    return [(node.op.kind, node.name) for node in graph.nodes() if node.op.kind not in ("Constant", "Input")]


def scope(*modules: str) -> str:
    return repr(["", *modules])


def test_layers_are_called_after_their_modules() -> None:
    first, second = (scope("mlp", f"mlp.fc{i}", f"linear_{i}") for i in (1, 2))
    found = layers([first, first, scope("mlp", "act", "relu"), second, second, scope("relu_1")])
    assert found == [("Linear", "mlp.fc1"), ("Relu", "act"), ("Linear", "mlp.fc2"), ("Relu", "relu_1")]


def test_calls_of_one_module_are_told_apart() -> None:
    same = [scope("mlp", "mlp.fc", f"linear{i}") for i in ("", "", "_1", "_1")]
    found = layers([same[0], same[1], scope("mlp", "relu"), same[2], same[3], scope("mlp", "relu_1")])
    assert [name for _, name in found] == ["mlp.fc.linear", "mlp.relu", "mlp.fc.linear_1", "mlp.relu_1"]


def test_files_without_modules_keep_their_own_names() -> None:
    assert [name for _, name in layers([None] * 6)] == ["node_0", "node_2", "node_3", "node_5"]
    mixed = layers([scope("node_2", "linear"), None, None, None, None, None])  # a module that is called like a node
    assert mixed[0][1] == "node_2_2" and mixed[1][1] == "node_2"


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "[]", "['a', 3]", "[''] * 9", "__import__('os')", "(" * 4000, "['" + "a" * 9999, "['a', '']"]
)
def test_what_no_exporter_writes_is_ignored(text: str) -> None:
    assert [name for _, name in layers([text] * 6)] == ["node_0", "node_2", "node_3", "node_5"]


@given(
    st.lists(
        st.sampled_from([None, scope("a", "f"), scope("a", "a.b", "g"), scope("f"), scope("node_1")]), min_size=6, max_size=6
    )
)
def test_every_node_has_a_name_of_its_own(scopes: list[str | None]) -> None:
    names = [name for _, name in layers(scopes)]
    assert len(set(names)) == len(names) and all(names)
