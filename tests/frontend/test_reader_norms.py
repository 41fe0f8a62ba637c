"""RMS normalisation in every spelling becomes RMSNormalization, and computes what onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped,unused-ignore]
import pytest
from edgewright.frontend.onnx_reading.reader import read_model
from edgewright.frontend.onnx_writing.writer import write_float
from edgewright.passes.diagnostics import CompileError
from edgewright.passes.ir.graph import Graph
from edgewright.passes.ir.interp import interpret
from edgewright.passes.ops import Constant, Input, RMSNormalization
from onnx import TensorProto, helper, numpy_helper

WIDTH, EPSILON = 24, 1e-3
Nodes = list[onnx.NodeProto]


def node(kind: str, *operands: str, to: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, list(operands), [to], **attributes)


def start(squared: str = "Mul") -> Nodes:
    square = node("Mul", "x", "x", to="s") if squared == "Mul" else node("Pow", "x", "two", to="s")
    return [square, node("ReduceMean", "s", "last", to="m", keepdims=1), node("Add", "eps", "m", to="v")]


SPELLINGS: dict[str, Callable[[], Nodes]] = {
    "div by sqrt": lambda: [
        *start(),
        node("Sqrt", "v", to="r"),
        node("Div", "x", "r", to="n"),
        node("Mul", "n", "g", to="y"),
    ],
    "rsqrt as 1 / sqrt": lambda: [
        *start("Pow"),
        node("Sqrt", "v", to="r"),
        node("Div", "one", "r", to="i"),
        node("Mul", "x", "i", to="n"),
        node("Mul", "g", "n", to="y"),
    ],
    "reciprocal of sqrt": lambda: [
        *start("Pow"),
        node("Sqrt", "v", to="r"),
        node("Reciprocal", "r", to="i"),
        node("Mul", "i", "x", to="n"),
        node("Mul", "g", "n", to="y"),
    ],
    "power -1/2": lambda: [
        *start(),
        node("Pow", "v", "minus_half", to="i"),
        node("Mul", "x", "i", to="n"),
        node("Mul", "n", "g", to="y"),
    ],
    "opset 23": lambda: [node("RMSNormalization", "x", "g", to="y", axis=-1, epsilon=EPSILON)],
    "onnxruntime's, default domain": lambda: [node("SimplifiedLayerNormalization", "x", "g", to="y", axis=-1, epsilon=EPSILON)],
    "onnxruntime's, own domain": lambda: [
        node("SimplifiedLayerNormalization", "x", "g", to="y", epsilon=EPSILON, domain="com.microsoft")
    ],
}


def model(nodes: Nodes, opset: int = 23, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    rng = np.random.default_rng(0)
    constants = {
        "g": rng.standard_normal(WIDTH),
        "b": rng.standard_normal(WIDTH),
        "eps": np.array(EPSILON),
        "one": np.array(1.0),
        "two": np.array(2.0),
        "minus_half": np.array(-0.5),
    }
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    weights.append(numpy_helper.from_array(np.array([-1]), "last"))
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 5, WIDTH)) for name in ("x", "skip")]
    used = {name for n in nodes for name in n.input}
    graph = helper.make_graph(
        nodes,
        "norm",
        [value for value in given if value.name in used],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 5, WIDTH)) for name in outputs],
        [weight for weight in weights if weight.name in used],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def kinds(graph: Graph) -> list[str]:
    return [n.op.kind for n in graph if not isinstance(n.op, (Constant, Input))]


def assert_like_onnxruntime(made: onnx.ModelProto, graph: Graph) -> None:
    rng = np.random.default_rng(1)
    given = {value.name: rng.standard_normal((1, 5, WIDTH)).astype(np.float32) for value in made.graph.input}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = dict(zip([output.name for output in made.graph.output], session.run(None, given), strict=True))
    for name, value in interpret(graph, given).items():
        assert np.abs(value - wanted[name]).max() < 3e-6 * np.abs(wanted[name]).max()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_one_operator(spelling: str) -> None:
    made = model(SPELLINGS[spelling]())
    graph = read_model(made)
    assert kinds(graph) == ["RMSNormalization"]
    (norm,) = (n for n in graph if isinstance(n.op, RMSNormalization))
    assert isinstance(norm.op, RMSNormalization) and abs(norm.op.epsilon - EPSILON) < 1e-9
    if spelling == "onnxruntime's, own domain":  # it reads the name in the default one only
        made = model(SPELLINGS["div by sqrt"]())
    assert_like_onnxruntime(made, graph)


@pytest.mark.parametrize("opset", [14, 18])
@pytest.mark.parametrize("bias", [False, True])
def test_a_skip_is_a_sum_in_front(opset: int, bias: bool) -> None:
    operands = ["x", "skip", "g", *(["b"] if bias else [])]
    skip = helper.make_node(
        "SkipSimplifiedLayerNormalization", operands, ["y", "", "", "sum"], epsilon=EPSILON, domain="com.microsoft"
    )
    made = model([skip], opset, ("y", "sum"))
    graph = read_model(made)
    assert kinds(graph).count("RMSNormalization") == 1 and set(kinds(graph)) == {"Add", "RMSNormalization"}
    assert_like_onnxruntime(made, graph)


def test_what_is_not_quite_one_stays_what_it_is() -> None:
    other = SPELLINGS["div by sqrt"]()
    other[-2].input[0] = "skip"  # another value is divided
    graph = read_model(model(other))
    assert "RMSNormalization" not in kinds(graph) and "Div" in kinds(graph)
    shifted = SPELLINGS["div by sqrt"]()
    shifted[-1] = node("Add", "n", "b", to="y")  # no multiplication follows, and there is no beta
    assert kinds(read_model(model(shifted))) == ["RMSNormalization", "Add"]


def test_other_axes_are_refused_where_the_operator_is_onnxruntime_s() -> None:
    with pytest.raises(CompileError) as caught:
        read_model(model([node("SimplifiedLayerNormalization", "x", "g", to="y", axis=1)]))
    assert {d.code for d in caught.value.diagnostics} <= {"N015", "N018"}


def test_statistics_that_are_read_are_refused() -> None:
    made = model([helper.make_node("SimplifiedLayerNormalization", ["x", "g"], ["n", "y"], axis=-1)])
    with pytest.raises(CompileError) as caught:
        read_model(made)
    assert [d.code for d in caught.value.diagnostics] == ["N015"]


def test_it_is_written_in_operators_of_opset_18_and_read_again() -> None:
    graph = read_model(model(SPELLINGS["opset 23"]()))
    written = write_float(graph)
    again = read_model(written)
    assert kinds(again) == kinds(graph) == ["RMSNormalization"]
    assert_like_onnxruntime(written, again)
